"""What is called an Action and is none does not get an audit."""

import pytest
import torch
from torch import nn

from intertwine import audit
from intertwine.audit.action_laws import check_action
from intertwine.groups import SO, Cyclic, E, S
from intertwine.reps import Action, Images, Invariant, Nested, Permute, Points, Tensors

V = SO(3).V


class Wrong(Action):
    """Not an Action, in the way that `how` says."""

    def __init__(self, how, group=None):
        self.how, self.group = how, group or SO(3)

    def act(self, g, x):
        match self.how:
            case "moves under the identity":
                return x @ g.mT.to(x) + 1
            case "acts from the right":
                return x @ g.to(x)
            case "grows":
                return 2 * x @ g.mT.to(x) - x @ torch.eye(3).to(x) * (g.diagonal(dim1=-2, dim2=-1).sum(-1) == 3)
            case "forgets the entries":
                return x.index_select(-1, g)  # the entry at i goes to g⁻¹(i)

    def __repr__(self):
        return f"Wrong({self.how!r})"


@pytest.mark.parametrize(
    "how, says",
    [
        ("moves under the identity", "the identity changes the data"),
        ("acts from the right", "acts from the right, so act with g⁻¹"),
        ("grows", "differs from g·(h·x)"),
    ],
)
@pytest.mark.parametrize("role", ["rep_in", "rep_out"])
def test_no_audit_with_what_is_no_action(how, says, role, generator):
    actions = {"rep_in": V, "rep_out": V, role: Wrong(how)}
    with pytest.raises(ValueError, match=f"{role} Wrong") as caught:
        audit.measure(lambda x: x, **actions, data=torch.randn(12, 3, generator=generator), generator=generator)
    assert says in str(caught.value)


def test_permutations_the_wrong_way_round_are_found(generator):
    """The most common mistake of all: x[p] is the action of the inverse."""
    group, x = S(5), torch.randn(6, 5, generator=generator, dtype=torch.float64)
    with pytest.raises(ValueError, match="acts from the right"):
        check_action("rep_in", Wrong("forgets the entries", group), x, group.sample(6, generator=generator))


@pytest.mark.parametrize(
    "action, shape",
    [
        (Points(E(3)), (4, 3)),
        (Tensors(SO(3)), (3, 3)),
        (Permute(S(6)), (6, 2)),
        (Images(SO(2)), (1, 9, 9)),
        (Images(Cyclic(8)), (1, 8, 12)),
        (Images(Cyclic(4)), (1, 8, 8)),
        (Nested({"": Invariant(SO(3))}), (2,)),
    ],
    ids=["points", "tensors", "sets", "images", "eighth turns", "quarter turns", "invariant"],
)
def test_actions_pass_those_that_interpolate_too(action, shape, generator):
    """White noise is the worst that interpolation can get."""
    x = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
    data = {"": x} if isinstance(action, Nested) else x
    laws = check_action("rep_in", action, data, action.group.sample(5, generator=generator))
    assert laws.identity < 1e-6
    assert (laws.composition < 1e-12) == (not isinstance(action, Images) or action.group == Cyclic(4))


# --- models that do not do what an audit asks of them


def test_a_shape_that_depends_on_the_pose_is_named(generator):
    def crop(x):
        return x[:, : 2 if x[0, 0] > 0.5 else 1]

    with pytest.raises(ValueError, match="changes its shape when inputs move"):
        audit.measure(crop, V, Invariant(SO(3)), torch.ones(3, 3), generator=generator, chunk=1)


def test_outputs_that_come_and_go_are_named(generator):
    def moody(x):
        return {"a": x} if x[0, 0] > 0.9 else {"b": x}

    with pytest.raises(ValueError, match="fn returns"):
        audit.measure(moody, V, Invariant(SO(3)), torch.eye(3)[:1].expand(12, 3), generator=generator)


@pytest.mark.parametrize("how", ["function", "stays in training", "own generator"])
def test_noise_has_a_cause(how, generator):
    class Stubborn(nn.Dropout):
        def train(self, mode=True):
            return super().train(True)

    own = torch.Generator().manual_seed(0)
    model = {
        "function": lambda x: nn.functional.dropout(x, 0.5),
        "stays in training": nn.Sequential(nn.Identity(), Stubborn()),
        "own generator": lambda x: x + torch.randn(x.shape, generator=own),
    }[how]
    said = audit.measure(model, V, V, torch.randn(12, 3, generator=generator), generator=generator).verdict.reason
    assert {
        "function": "draws random numbers in every call",
        "stays in training": "dropout is on in 1, although eval() was called",
        "own generator": "not drawn from the random generator of torch",
    }[how] in said
