import math

import pytest
import torch

from intertwine.audit.svg import Scale, colour, contrast, fmt, luminance, number, path, tag, text, tick, value_scale


def test_markup_is_escaped():
    assert tag("a", {"title": '<"&'}, text("<b>")) == '<a title="&lt;&quot;&amp;">&lt;b&gt;</a>'
    assert tag("circle", {"r": 1.23456, "cx": 3, "class": None}) == '<circle r="1.23" cx="3"/>'


def test_numbers():
    assert [fmt(v) for v in (1.0, -0.001, 2.50, 1e-9)] == ["1", "0", "2.5", "0"]
    assert [number(v) for v in (None, math.nan, math.inf, 0.12345)] == ["no value"] * 3 + ["0.123"]
    assert [tick(v) for v in (1e-12, 5e-7, 0.05, 0, 100, 1e6)] == ["10⁻¹²", "5·10⁻⁷", "0.05", "0", "100", "10⁶"]


def test_scales_and_ticks():
    linear, log = Scale(0, 10, 0, 100), Scale(1e-4, 1, 0, 100, log=True)
    assert (linear(5), linear(-3), linear(30)) == (50, 0, 100)
    assert (log(1e-2), log(0), log(5)) == (pytest.approx(50), 0, 100)
    assert linear.ticks(5) == [0, 2, 4, 6, 8, 10]
    assert log.ticks(5) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert Scale(3, 3, 0, 1).ticks() == [3]
    assert Scale(0.13, 0.47, 0, 1).ticks(4) == pytest.approx([0.2, 0.3, 0.4])


def test_an_exact_model_is_drawn_flat_and_two_models_share_a_scale():
    exact, twin = [1e-15, 3e-15], [0.1, 0.3]
    assert value_scale([exact], at_least=1e-5).high == 1e-5
    shared = value_scale([exact, twin], at_least=1e-5)
    assert not shared.log
    assert shared.share(3e-15) < 1e-10
    assert value_scale([[1e-3] * 9, [2.0] * 9], at_least=1e-5).log, "both matter and are far apart"
    assert value_scale([[-1.0, 2.0]]).low < -1
    assert value_scale([[math.nan]]) == Scale(0, 1, 0, 1)


def test_colours_rise_evenly_in_lightness():
    light = torch.tensor([luminance(colour(i / 50)) for i in range(51)])
    assert (light.diff() > 0).all()
    assert colour(-1) == colour(0)
    assert colour(2) == colour(1)
    assert contrast("#777777", "#777777") == 1


def test_paths():
    assert path([(0.0, 0.0), (1.0, 2.0), None, (3.0, 4.0)]) == "M0 0L1 2M3 4"
    assert path([(0.0, 0.0), (1.0, 2.0)], closed=True) == "M0 0L1 2Z"
    assert path([]) == ""
