"""Cartesian tensors as irreps: exact both ways, equivariant, known decompositions, and e3nn's where it is unique."""

import time
import warnings

import numpy as np
import pytest
import torch

from intertwine import so3
from intertwine.groups import SO, O
from intertwine.so3 import CartesianTensor, P

KNOWN = {
    "i": "1x1o",
    "ij": "1x0e + 1x1e + 1x2e",
    "ij=ji": "1x0e + 1x2e",
    "ij=-ji": "1x1e",
    "ijk=-jik=-ikj": "1x0o",
    "ijk=ikj": "2x1o + 1x2o + 1x3o",  # piezoelectricity, 18 components
    "ijk=jik=jki": "1x1o + 1x3o",
    "ijkl=jikl=klij": "2x0e + 2x2e + 1x4e",  # elasticity, 21 components
    "ijkl=jikl=ijlk": "2x0e + 1x1e + 3x2e + 1x3e + 1x4e",  # photoelasticity, 36 components
    "ijkl": "3x0e + 6x1e + 6x2e + 3x3e + 1x4e",
    "ijklmn=jiklmn=jklmni": "1x0e + 1x2e + 1x4e + 1x6e",
}


def turned(R: torch.Tensor, t: torch.Tensor, rank: int) -> torch.Tensor:
    """Every index of a batch of tensors by one matrix."""
    for axis in range(t.ndim - rank, t.ndim):
        t = torch.tensordot(t.movedim(axis, -1), R, ([-1], [1])).movedim(-1, axis)
    return t


@pytest.mark.parametrize("formula", KNOWN)
def test_irreps_of_an_index_symmetry_both_ways(formula, generator):
    start = time.perf_counter()
    tensor = CartesianTensor(formula)
    assert time.perf_counter() - start < 1
    assert str(tensor.irreps) == KNOWN[formula]
    assert len(tensor.components) == tensor.irreps.dim
    x = tensor.irreps.randn(5, generator=generator, dtype=torch.float64)
    t = tensor.from_irreps(x)
    assert torch.allclose(tensor.to_irreps(t), x, atol=1e-12)
    assert torch.allclose(t.flatten(1).norm(dim=1), x.norm(dim=1))
    first, terms = formula.split("=")[0], formula.split("=")[1:]
    for term in terms:
        letters = term.removeprefix("-")
        swapped = torch.einsum(f"z{letters}->z{first}", t) * (-1 if term != letters else 1)
        assert torch.allclose(swapped, t, atol=1e-12)
    for g in [*O(3).sample(2, generator=generator), -torch.eye(3, dtype=torch.float64)]:
        assert torch.allclose(tensor.to_irreps(turned(g, t, tensor.rank)), tensor.irreps.act(g, x), atol=1e-10)


@pytest.mark.parametrize("formula", ["i", "ij=-ji", "ijk=ikj", "ijkl=jikl=klij"])
def test_independent_components(formula, generator):
    tensor = CartesianTensor(formula)
    x = tensor.irreps.randn(2, 3, generator=generator, dtype=torch.float64)
    t = tensor.from_irreps(x)
    c = tensor.pack(t)
    assert torch.equal(c[..., -1], t[(..., *tensor.components[-1])])
    assert torch.allclose(tensor.unpack(c), t, atol=1e-12)
    assert torch.allclose(tensor.irreps_from_packed(c), x, atol=1e-12)
    assert torch.allclose(tensor.packed_from_irreps(x), c, atol=1e-12)


@pytest.mark.parametrize("formula", ["ij", "ij=ji", "ijk=ikj", "ijkl=jikl=klij"])
def test_spans_what_e3nn_finds(formula, generator):
    """Equal up to a sign where a degree occurs once, up to an orthogonal change of the copies otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        io = pytest.importorskip("e3nn.io")
        theirs = io.CartesianTensor(formula)
        basis = theirs.reduced_tensor_products().double().change_of_basis.flatten(1).numpy()
    ours = CartesianTensor(formula)
    assert str(ours.irreps).replace(" ", "") == str(theirs)
    start = 0
    for irrep, count in ours.irreps.blocks:
        rows = slice(start, start + irrep.dim * count)
        start = rows.stop
        mine = ours.basis.reshape(len(basis), -1)[rows].reshape(irrep.dim, count, -1)
        other = basis[rows].reshape(count, irrep.dim, -1).swapaxes(0, 1)
        mixes = np.einsum("mct,mdt->mcd", mine, other)
        assert np.abs(mixes - mixes[0]).max() < 1e-6, "one change of copies for all orders"  # e3nn computes in float32
        assert np.abs(mixes[0] @ mixes[0].T - np.eye(count)).max() < 1e-6
        assert np.abs(np.einsum("cd,mdt->mct", mixes[0], other) - mine).max() < 1e-6


@pytest.mark.parametrize("l", range(7))
def test_P_is_an_isometry_with_the_sign_of_the_harmonics(l, generator):
    p = P(l).reshape(-1, 2 * l + 1)
    assert np.abs(p.T @ p - np.eye(2 * l + 1)).max() < 1e-12
    assert np.trace(p @ p.T) == pytest.approx(2 * l + 1)
    r = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    power = torch.ones(3, 1, dtype=torch.float64)
    for _ in range(l):
        power = (power[:, :, None] * r[:, None]).flatten(1)
    Y = so3.spherical_harmonics(r, l, normalize=False)[:, l * l :]
    ours = power @ torch.tensor(p)
    assert torch.allclose(ours / ours.norm(dim=1, keepdim=True), Y / Y.norm(dim=1, keepdim=True), atol=1e-12)
    if l >= 2:
        assert np.abs(np.trace(P(l))).max() < 1e-12
        assert np.abs(P(l) - P(l).swapaxes(0, l - 1)).max() < 1e-12
        letters = "ijklmn"[:l]
        top = CartesianTensor(f"{letters}={letters[1]}{letters[0]}{letters[2:]}={letters[1:]}{letters[0]}").basis
        assert np.abs(top[-2 * l - 1 :].reshape(2 * l + 1, -1).T - p).max() < 1e-12


def test_axial_vectors_pseudo_tensors_and_rotations_alone(generator):
    a, b = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    axial = CartesianTensor("ij=-ji").to_irreps(torch.outer(a, b) - torch.outer(b, a))
    assert torch.allclose(axial, torch.linalg.cross(a, b) * 2**0.5)
    assert str(CartesianTensor("ij=ji", pseudo=True).irreps) == "1x0o + 1x2o"
    assert str(CartesianTensor("ijk=-jik=-ikj", pseudo=True).irreps) == "1x0e"
    only = CartesianTensor("ijk=ikj", group=SO(3)).irreps
    assert (str(only), only.group) == ("2x1 + 1x2 + 1x3", SO(3))


def test_projects_and_follows_the_dtype():
    tensor = CartesianTensor("ij=ji")
    t = torch.arange(9.0).view(3, 3)
    assert torch.allclose(tensor.from_irreps(tensor.to_irreps(t)), (t + t.T) / 2, atol=1e-5)
    assert tensor.to_irreps(t).dtype == torch.float32
    assert tensor.to_irreps(torch.zeros(0, 3, 3)).shape == (0, 6)
    assert torch.autograd.gradcheck(tensor.from_irreps, torch.randn(2, 6, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize(
    "formula, message",
    [
        ("iij", "different letters"),
        ("ij=jk", "'jk' is no reordering of the letters of 'ij'"),
        ("-ij=ji", "different letters"),
        ("ij=ji=-ji", "only the zero tensor"),
        ("ijkl=-jikl=-ikjl=-ijlk", "only the zero tensor"),
        ("ijklmnp", "2187 independent components"),
    ],
)
def test_formulas_that_make_no_sense(formula, message):
    with pytest.raises(ValueError, match=message):
        CartesianTensor(formula)


def test_wrong_shapes_and_groups():
    tensor = CartesianTensor("ij=ji")
    with pytest.raises(ValueError, match="last 2 axes must be 3"):
        tensor.to_irreps(torch.zeros(3, 6))
    with pytest.raises(ValueError, match="dimension"):
        tensor.from_irreps(torch.zeros(3, 5))
    with pytest.raises(ValueError, match=r"not O\(2\)"):
        CartesianTensor("ij", group=O(2))
    with pytest.raises(ValueError, match="at least 0"):
        P(-1)
