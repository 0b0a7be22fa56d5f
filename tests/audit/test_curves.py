"""Errors by image size and by checkpoint."""

import copy
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from intertwine import audit
from intertwine.groups import SO, Cyclic
from intertwine.reps import Images, Invariant

TURNS = Images(Cyclic(4))


class Strided(nn.Module):
    """Filters that quarter turns leave alone, applied every second pixel: symmetric about the centre of odd images."""

    def __init__(self):
        super().__init__()
        k = torch.randn(4, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        self.kernel = nn.Parameter(sum(torch.rot90(k, i, (2, 3)) for i in range(4)))

    def forward(self, x):
        return nn.functional.conv2d(x, self.kernel, stride=2).relu().mean((2, 3))


@pytest.fixture
def images(generator):
    return torch.randn(12, 1, 12, 12, generator=generator, dtype=torch.float64)


def test_a_stride_fits_odd_sizes_only(images, generator):
    curve = audit.by_resolution(Strided(), TURNS, Invariant(TURNS.group), images, [9, 10, 11, 12], generator=generator)
    assert curve.words[0] == curve.words[2] == "exact"
    assert not {"exact", "undecided"} & {curve.words[1], curve.words[3]}
    assert max(curve.errors[0::2]) < 1e-12 < 1e-3 < min(curve.errors[1::2])
    assert curve.to_dict()["values"] == [9, 10, 11, 12]
    assert "image size  relative error  verdict" in repr(curve)
    again = audit.by_resolution(
        Strided(), TURNS, Invariant(TURNS.group), images, [12], generator=generator, resize=lambda x, size: x
    )
    assert again.errors == pytest.approx(curve.errors[3:], rel=1e-9)


def test_training_may_break_what_a_model_starts_with(generator):
    rep = SO(3).V
    model = nn.Linear(3, 3, bias=False).double()
    states = {}
    for step in range(3):
        weight = torch.eye(3, dtype=torch.float64)
        weight[0, 1] = 0.2 * step
        states[step] = {"weight": weight}
    before = copy.deepcopy(model.state_dict())
    x = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    curve = audit.by_checkpoint(model, states, rep, rep, x, generator=generator)
    assert curve.words[0] == "exact"
    assert curve.errors[0] < 1e-12 < curve.errors[1]
    assert curve.errors[2] == pytest.approx(2 * curve.errors[1], rel=0.05)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    again = audit.by_checkpoint(model, iter(states.items()), rep, rep, x, generator=generator)
    assert again.errors == pytest.approx(curve.errors, abs=1e-12)


def test_a_curve_is_drawn_and_goes_into_a_page(generator, tmp_path):
    rep = SO(3).V
    x = torch.randn(12, 3, generator=generator)
    results = [audit.measure(lambda v, k=k: v + k * v.abs(), rep, rep, x, generator=generator) for k in (0, 0.1)]
    curve = audit.Curve("step", ["<a>", 1000], results)
    root = ElementTree.fromstring(curve.plot())
    assert sum(node.tag.endswith("circle") for node in root.iter() if node.get("r") == "4") == 2
    assert "highest at 1000" in curve.section().caption
    page = audit.write_html(results, tmp_path / "a.html", title="curve", sections=[curve.section()]).read_text()
    assert "Error by step" in page
    assert "&lt;a&gt;" in page


def test_nothing_to_measure_is_said(images, generator):
    with pytest.raises(ValueError, match="at least one size"):
        audit.by_resolution(Strided(), TURNS, Invariant(TURNS.group), images, [], generator=generator)
    with pytest.raises(ValueError, match="no checkpoints"):
        audit.by_checkpoint(Strided(), {}, TURNS, Invariant(TURNS.group), images, generator=generator)
