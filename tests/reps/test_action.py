"""What every Action shares: being called, batches, printing."""

import pytest
import torch

from intertwine.groups import Cyclic, S
from intertwine.reps import Action
from intertwine.reps.action import check_batch


class Roll(Action):
    """Periodic signals [batch, n], shifted."""

    def __init__(self, n: int):
        self.group = Cyclic(n)

    def act(self, g, x):
        return torch.stack([row.roll(int(k)) for k, row in zip(g.expand(len(x)), x)])


def test_calling_is_acting():
    x = torch.arange(6).reshape(2, 3)
    assert Roll(3)(torch.tensor(1), x).tolist() == [[2, 0, 1], [5, 3, 4]]
    assert Roll(3).act(torch.tensor([0, 1]), x).tolist() == [[0, 1, 2], [5, 3, 4]]


def test_samples_become_a_batch_and_come_back():
    samples = [torch.zeros(3), torch.ones(3)]
    batch = Roll(3).collate(samples)
    assert batch.shape == (2, 3)
    assert all(torch.equal(a, b) for a, b in zip(Roll(3).uncollate(batch), samples, strict=True))
    rep = 2 * S(3).V
    assert rep.collate([torch.zeros(6)] * 4).shape == (4, 6)
    assert len(rep.uncollate(torch.zeros(4, 6))) == 4


def test_actions_print_their_group():
    assert repr(Roll(3)) == "Roll(Cyclic(3))"


@pytest.mark.parametrize("batch, leading", [((), (2, 3)), ((2,), (2, 3)), ((2, 3), (2, 3)), ((), ()), ((0,), (0, 5))])
def test_batches_that_fit(batch, leading):
    check_batch("any", torch.Size(batch), torch.Size(leading))


@pytest.mark.parametrize(
    "batch, leading", [((3,), (2, 3)), ((2,), ()), ((2, 3, 1), (2, 3)), ((1,), (2,)), ((0,), (1,))]
)
def test_batches_that_do_not_fit(batch, leading):
    with pytest.raises(ValueError) as error:
        check_batch(Roll(4), torch.Size(batch), torch.Size(leading))
    assert f"Roll(Cyclic(4)): the group element has batch shape {batch}, the data {leading}" in str(error.value)


def test_an_action_must_act():
    with pytest.raises(TypeError, match="abstract"):
        Action()
