"""Models and Actions that an audit has to survive: every bad input of the issue, for measure, nero and assert."""

import pytest
import torch
from torch import nn

from intertwine import audit
from intertwine.audit import OrbitGrid
from intertwine.groups import SO, Cyclic
from intertwine.reps import Action, Images, Invariant, Nested

V, V2 = SO(3).V, SO(2).V


def measured(fn, x, rep_in=V, rep_out=V, **options):
    return audit.measure(fn, rep_in, rep_out, x, generator=torch.Generator().manual_seed(0), **options)


def orbited(fn, x, rep_in=V2, rep_out=V2, **options):
    grid = OrbitGrid.circle(8)
    return audit.nero(fn, rep_in, rep_out, x, orbit=grid, generator=torch.Generator().manual_seed(0), **options)


def test_a_shape_that_changes_is_refused_everywhere(generator):
    """An output that is longer for inputs that point up."""

    def crop(x):
        return x[:, : 2 if bool((x[:, 1] > 0.5).any()) else 1]

    x = torch.tensor([[1.0, 0.0]]).expand(12, 2)
    invariant = Invariant(SO(2))
    with pytest.raises(ValueError, match="changes its shape when inputs move"):
        measured(crop, x, V2, invariant, chunk=1)
    with pytest.raises(ValueError, match=r"shape \(\d+, \d\), its target"):
        orbited(crop, x, V2, invariant)
    with pytest.raises(ValueError, match="output has shape"):
        audit.assert_equivariant(lambda x: x[:, : 1 + int(x[0, 1] > 0)], rep_in=V2, rep_out=invariant)


def test_rows_that_get_lost_are_refused(generator):
    x = torch.randn(12, 3, generator=generator)
    with pytest.raises(ValueError, match="rows for a batch"):
        measured(lambda x: x[::2], x)
    with pytest.raises(ValueError, match="a single number for a batch of 1"):
        measured(lambda x: x.sum(), x)


def test_tuples_and_dicts_need_an_action_for_each_part(generator):
    x = torch.randn(12, 3, generator=generator)

    def pair(x):
        return 2 * x, x.square().sum(1)

    def named(x):
        return {"vector": 2 * x, "size": x.square().sum(1)}

    both = Nested([V, Invariant()])
    assert set(measured(pair, x, rep_out=both).outputs) == {"0", "1"}
    result = measured(named, x, rep_out=Nested({"vector": V, "size": Invariant()}))
    assert {name: o.verdict.word for name, o in result.outputs.items()} == {"vector": "exact", "size": "exact"}
    for fn, said in ((pair, "a tuple with '0'"), (named, "a dict with 'vector'")):
        with pytest.raises(ValueError, match=f"{said}.*give Nested with one Action for each"):
            measured(fn, x)
    with pytest.raises(ValueError, match=r"not named: ..size"):
        measured(named, x, rep_out=Nested({"vector": V}))
    grid = OrbitGrid.circle(8, group=SO(3))
    r = audit.nero(pair, V, both, x, orbit=grid, metric="1:rmse", generator=generator)
    assert r.values.max() < 1e-5


class Noisy(nn.Dropout):
    """Dropout that eval() does not switch off."""

    def train(self, mode=True):
        return super().train(True)


def test_dropout_is_noise_not_asymmetry(generator):
    x = torch.randn(12, 3, generator=generator)
    result = measured(nn.Sequential(nn.Identity(), Noisy(0.5)), x)
    assert result.verdict.word == "stochastic"
    assert "dropout is on in 1" in result.verdict.reason
    assert result.verdict.fails("approximate")
    with pytest.raises(AssertionError):
        audit.assert_equivariant(nn.Sequential(nn.Identity(), Noisy(0.5)), rep_in=V, rep_out=V)


class NotAnAction(Action):
    """Turns by half of the angle that it is told, plus a shift."""

    group = SO(2)

    def act(self, g, x):
        return x @ g.mT.to(x) + 0.1

    def __repr__(self):
        return "NotAnAction()"


@pytest.mark.parametrize("role", ["rep_in", "rep_out"])
def test_what_is_no_action_gets_no_number(role, generator):
    x = torch.randn(12, 2, generator=generator)
    with pytest.raises(ValueError, match=rf"{role} NotAnAction\(\) is no Action"):
        measured(lambda x: x, x, **{"rep_in": V2, "rep_out": V2, role: NotAnAction()})
    with pytest.raises(ValueError, match=rf"{role} NotAnAction\(\) is no Action"):
        orbited(lambda x: x, x, **{"rep_in": V2, "rep_out": V2, role: NotAnAction()})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nan_is_counted_never_dropped(dtype, generator):
    x = torch.randn(12, 2, generator=generator, dtype=dtype)

    def undefined(x):
        return torch.where(x[:, :1] > 1, torch.nan, x)

    result = measured(undefined, x, V2, V2)
    assert result.missing_pairs > 0
    assert result.missing
    assert all("pair_error" in w.snippet for w in result.missing)
    assert orbited(undefined, x).missing > 0
    with pytest.raises(AssertionError, match=r"NaN|nan|no value"):
        audit.assert_equivariant(lambda x: x * torch.nan, rep_in=V2, rep_out=V2)


def test_a_model_that_builds_its_filters_in_eval_can_be_copied(generator):
    """As escnn does: behind such a buffer stands a graph, and a copy in the other precision would fail."""

    class Expanding(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([0.5, 1.0, 0.5]))
            self.register_buffer("filter", torch.zeros(1, 1, 3, 3), persistent=False)

        def expand(self):
            return (self.weight[:, None] * self.weight)[None, None]

        def train(self, mode=True):
            self.filter = torch.zeros(1, 1, 3, 3) if mode else self.expand()
            return super().train(mode)

        def forward(self, x):
            return nn.functional.conv2d(x, self.expand() if self.training else self.filter).relu().mean((2, 3))

    model = Expanding()
    turns = Cyclic(4)
    result = measured(model, torch.randn(12, 1, 8, 8, generator=generator), Images(turns), Invariant(turns))
    assert result.verdict.word == "exact"
    assert result.dtype == "float64"
    assert model.training
