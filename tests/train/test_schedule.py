"""Learning rates: warm-up, cosine over whichever budget is spent first, and options that make no sense."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import Timer

from intertwine.train import Optimizer
from intertwine.train.schedule import parameter_groups, progress


def test_cosine_from_warm_up_to_floor():
    options = Optimizer(lr=2.0, warmup=4, floor=0.1)
    assert [options.rate(step, 0.0) for step in (0, 1, 3, 9)] == pytest.approx([0.5, 1.0, 2.0, 2.0])
    assert options.rate(100, 0.5) == pytest.approx(2.0 * 0.55)
    assert options.rate(100, 1.0) == options.rate(100, 1.7) == pytest.approx(0.2)
    assert Optimizer(lr=2.0, warmup=0, schedule="constant").rate(0, 0.9) == 2.0


class Clock(Timer):
    def __init__(self, duration, spent):
        super().__init__(duration={"seconds": duration})
        self.spent = spent

    def time_elapsed(self, stage="train"):
        return self.spent


def trainer(**options):
    defaults = {"max_epochs": -1, "max_steps": -1, "global_step": 0, "num_training_batches": 10, "callbacks": []}
    return SimpleNamespace(accumulate_grad_batches=1, **(defaults | options))


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({}, 0.0),
        ({"max_epochs": 4, "global_step": 10}, 0.25),
        ({"max_steps": 50, "global_step": 10}, 0.2),
        ({"callbacks": [Clock(8, 2)]}, 0.25),
        ({"callbacks": [Clock(8, 2)], "max_epochs": 2, "global_step": 10}, 0.5),
        ({"callbacks": [Clock(8, 9)]}, 1.0),
    ],
)
def test_progress_is_the_largest_share(options, share):
    assert progress(trainer(**options)) == pytest.approx(share)


def test_matrices_decay_and_vectors_do_not():
    model = torch.nn.Linear(3, 2)
    groups = parameter_groups(model, 0.1)
    assert [(g["weight_decay"], [tuple(p.shape) for p in g["params"]]) for g in groups] == [
        (0.1, [(2, 3)]),
        (0.0, [(2,)]),
    ]


@pytest.mark.parametrize(
    "options", [{"lr": 0.0}, {"clip": 0.0}, {"floor": 2.0}, {"schedule": "step"}, {"warmup": -1}, {"factor": 1.0}]
)
def test_bad_options(options):
    with pytest.raises(ValueError, match="Optimizer"):
        Optimizer(**options)
