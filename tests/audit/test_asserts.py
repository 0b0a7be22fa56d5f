import pytest
import torch
from torch import nn

from intertwine.audit import assert_equivariant
from intertwine.groups import SO, E, O, S
from intertwine.reps import Action


class Centred(nn.Module):
    """An equivariant map on S(5): a mixture of x and its mean."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.rep_in = self.rep_out = S(5).V
        self.weight = nn.Parameter(torch.tensor([0.7, -0.4], dtype=dtype))

    def forward(self, x):
        return self.weight[0] * x + self.weight[1] * x.mean(-1, keepdim=True) + x.square()


class Biased(Centred):
    """Equivariant in value at the start only: the bias is zero until it is trained."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(5, dtype=torch.float64))

    def forward(self, x):
        return super().forward(x) + self.bias


class Drifting(Centred):
    """Equivariant until it has seen training data: then it subtracts running statistics of single entries."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(5, dtype=torch.float64))

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return super().forward(x - self.mean)


class WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad * torch.arange(1.0, 6.0, dtype=grad.dtype)


class WrongGradient(Centred):
    def forward(self, x):
        return self.weight[0] * WrongBackward.apply(x)


def test_an_equivariant_model_passes_and_the_errors_come_back():
    found = assert_equivariant(Centred(), elements=6, steps=3)
    assert max(found.forward, found.gradient) < 1e-12 < 0.1 < found.scale
    assert found.elements == 8  # six samples and two generators
    assert assert_equivariant(Centred(torch.float32)).forward < 1e-5


def test_a_parameter_that_will_break_the_symmetry_shows_in_its_gradient():
    assert_equivariant(Biased(), gradient=False)
    with pytest.raises(AssertionError, match=r"gradient error .* at d/d parameter 1"):
        assert_equivariant(Biased())


def test_a_defect_that_training_brings_is_found_only_after_steps():
    model = Drifting()
    assert_equivariant(model)
    with pytest.raises(AssertionError, match=r"Drifting is not equivariant under S\(5\) after 3 optimiser steps"):
        assert_equivariant(model, steps=3)
    assert model.mean.abs().max() == 0, "the caller's model must stay as it was"


def test_a_wrong_backward_is_found_where_the_values_are_right():
    model = WrongGradient()
    assert_equivariant(model, gradient=False)
    with pytest.raises(AssertionError, match="gradient error"):
        assert_equivariant(model)


def test_the_message_names_error_element_and_term(generator):
    rep = S(3).V + 2 * S(3).trivial

    def broken(x):
        return x * torch.tensor([1.0, 1.0, 1.01, 1.0, 1.0], dtype=x.dtype)

    with pytest.raises(
        AssertionError, match=r"forward error 1\.\d+e-02 at output\[\d, \d\].*\n.*element.*\n.*\n.*per term"
    ):
        assert_equivariant(broken, rep_in=rep, rep_out=rep, data=torch.ones(2, 5, dtype=torch.float64))


def test_several_arguments_explicit_elements_and_samples(generator):
    V = O(3).V

    def cross(a, b):
        return torch.linalg.cross(a, b)

    assert_equivariant(cross, rep_in=(SO(3).V, SO(3).V), rep_out=SO(3).V)
    with pytest.raises(AssertionError, match=r"O\(3\)"):  # a cross product is a pseudovector
        assert_equivariant(cross, rep_in=(V, V), rep_out=V)
    turns = SO(3).sample(5, generator=generator)
    samples = [torch.randn(3, generator=generator, dtype=torch.float64) for _ in range(7)]
    assert assert_equivariant(torch.tanh, rep_in=V, rep_out=V, elements=turns[:0], data=samples).elements == 0
    with pytest.raises(AssertionError):
        assert_equivariant(torch.tanh, rep_in=V, rep_out=V, elements=turns, data=samples)


def test_nan_fails():
    with pytest.raises(AssertionError, match="nan"):
        assert_equivariant(lambda x: x / 0.0 * 0.0, rep_in=O(2).V, rep_out=O(2).V)


def test_modes_are_restored_and_dropout_is_off():
    model = nn.Sequential(nn.Dropout(0.5), Centred())
    model[0].train(False)
    model.train()
    model[1].eval()
    assert_equivariant(model, rep_in=S(5).V, rep_out=S(5).V)
    assert [module.training for module in model.modules()] == [True, True, False]
    with pytest.raises(AssertionError):
        assert_equivariant(model, rep_in=S(5).V, rep_out=S(5).V, training=True)


def test_errors_at_the_call():
    with pytest.raises(ValueError, match="declares no rep_in"):
        assert_equivariant(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"rep_in belongs to S\(5\), rep_out to S\(4\)"):
        assert_equivariant(Centred(), rep_out=S(4).V)
    with pytest.raises(ValueError, match="gradient=False"):
        assert_equivariant(lambda x: x.detach(), rep_in=S(5).V, rep_out=S(5).V)

    class Motion(Action):
        group = E(3)

        def act(self, g, x):
            return x

    with pytest.raises(ValueError, match="pass data="):
        assert_equivariant(lambda x: x, rep_in=Motion(), rep_out=Motion())
