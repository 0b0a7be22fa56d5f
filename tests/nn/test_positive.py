"""Functions of symmetric matrices: positive whatever comes in, and turning with it."""

import pytest
import torch

from intertwine.nn import PositiveMatrix
from intertwine.nn.positive import ROOTS

EXACT = {
    "square": lambda x: x**2,
    "fourth": lambda x: x**4,
    "exp": torch.exp,
    "trunc_exp_2": lambda x: (1 + x / 2) ** 2,
    "trunc_exp_4": lambda x: (1 + x / 4) ** 4,
}


def symmetric(*shape, generator, dtype=torch.float64):
    M = torch.randn(*shape, shape[-1], generator=generator, dtype=dtype)
    return M + M.mT


@pytest.mark.parametrize("kind", ROOTS)
@pytest.mark.parametrize("batch", [(), (0,), (1,), (2, 3)])
def test_the_function_of_the_eigenvalues(kind, batch, generator):
    M = symmetric(*batch, 6, generator=generator)
    values, vectors = torch.linalg.eigh(M)
    expected = vectors @ torch.diag_embed(EXACT[kind](values)) @ vectors.mT
    found = PositiveMatrix(kind)(M)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12 * (float(expected.max()) if M.numel() else 1))
    assert torch.equal(found, found.mT)


@pytest.mark.parametrize("kind", ROOTS)
def test_turns_forward_and_gradient(kind, generator):
    function = PositiveMatrix(kind)
    M, v = symmetric(6, generator=generator).requires_grad_(), symmetric(6, generator=generator)
    Q = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    turned = (Q @ M.detach() @ Q.T).requires_grad_()
    out, moved = function(M), function(turned)
    assert (moved - Q @ out @ Q.T).abs().max() < 1e-10 * float(out.detach().max())
    (a,) = torch.autograd.grad((out * v).sum(), M)
    (b,) = torch.autograd.grad((moved * (Q @ v @ Q.T)).sum(), turned)
    assert (b - Q @ a @ Q.T).abs().max() < 1e-10 * float(a.abs().max())


@pytest.mark.parametrize("kind", ROOTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_nothing_makes_an_eigenvalue_negative(kind, dtype, generator):
    """Huge, tiny, singular, equal and opposite eigenvalues."""
    M = symmetric(8, 6, generator=generator, dtype=dtype)
    M[1] *= 1e4 if kind != "fourth" else 1e2
    M[2] *= 1e-8
    M[3] = 0
    M[4] = torch.ones(6, 6)
    M[5] = -2 * torch.eye(6)
    M[6] = -4 * torch.eye(6)
    M[7] = torch.diag(torch.tensor([1e3, -1e3, 1, -1, 1e-3, 0]))
    C = PositiveMatrix(kind)(M)
    assert bool(torch.isfinite(C).all())
    smallest, largest = torch.linalg.eigvalsh(C.double()).unbind(-1)[::5]
    assert bool((smallest >= -(1e-12 if dtype == torch.float64 else 1e-6) * largest).all())


@pytest.mark.parametrize("kind", ROOTS)
def test_derivatives_at_zero_and_at_equal_eigenvalues(kind, generator):
    for M in (torch.zeros(6, 6, dtype=torch.float64), torch.eye(6, dtype=torch.float64)):
        M.requires_grad_()
        (gradient,) = torch.autograd.grad(PositiveMatrix(kind)(M).square().sum(), M, create_graph=True)
        (second,) = torch.autograd.grad(gradient.sum(), M)
        assert bool(torch.isfinite(gradient).all()) and bool(torch.isfinite(second).all())
    M = symmetric(3, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(PositiveMatrix(kind), M)
    assert torch.autograd.gradgradcheck(PositiveMatrix(kind), M)


def test_exp_of_a_large_matrix_is_guarded():
    M = 1e3 * torch.eye(2, requires_grad=True)
    C = PositiveMatrix("exp")(M)
    assert torch.allclose(C, torch.eye(2) * torch.exp(torch.tensor(50 / 2**0.5)), rtol=1e-4)
    C.sum().backward()
    below = 35 * torch.eye(2)
    assert torch.allclose(PositiveMatrix("exp")(below), torch.eye(2) * torch.exp(torch.tensor(35.0)), rtol=1e-4)


def test_wrong_input():
    with pytest.raises(ValueError, match="kind must be one of square, fourth, exp"):
        PositiveMatrix("relu")
    for shape in ((3,), (2, 3)):
        with pytest.raises(ValueError, match="square matrices"):
            PositiveMatrix()(torch.zeros(shape))
