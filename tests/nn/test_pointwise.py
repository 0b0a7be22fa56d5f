"""Admissible activations: the table of the theorem, agreement with brute force, and words that help."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch.nn import functional as F

from grids import exp, seeded
from intertwine import nn
from intertwine.audit import assert_equivariant
from intertwine.groups import SO, Cyclic, Dihedral, GLPlus, Lorentz, O, S
from intertwine.nn import Law
from intertwine.reps import Factor, Product, Rep, pull
from intertwine.so3 import Irreps

S4, D4 = S(4), Dihedral(4)


@dataclass(frozen=True, eq=False, repr=False)
class Images(Factor):
    """A factor of Cyclic(2) given by the matrix of its generator."""

    name: str
    rows: tuple[tuple[float, ...], ...]
    is_orthogonal: ClassVar[bool] = False
    group: ClassVar = Cyclic(2)

    def __str__(self):
        return self.name

    @property
    def dim(self):
        return len(self.rows)

    def matrix(self, g, dtype=torch.float64):
        M = torch.tensor([torch.eye(self.dim).tolist(), self.rows], dtype=dtype)
        return M[g]


@dataclass(frozen=True, eq=False, repr=False)
class Turned(Factor):
    """V of S(4) in a random orthonormal basis: the same representation, no longer a permutation of entries."""

    group: ClassVar = S4
    dim: ClassVar[int] = 4
    is_orthogonal: ClassVar[bool] = True

    def __str__(self):
        return "turned"

    def matrix(self, g, dtype=torch.float64):
        Q = torch.linalg.qr(torch.randn(4, 4, generator=seeded(), dtype=torch.float64))[0]
        return (Q @ S4.matrix(g) @ Q.T).to(dtype)


def rep_of(factor):
    return Rep(factor.group, [(Product((factor,)), 1)])


SCALED = rep_of(Images("scaled", ((0.0, 2.0), (0.5, 0.0))))
THIRDS = rep_of(Images("thirds", ((0.0, 3.0), (1 / 3, 0.0))))
SUMS = rep_of(Images("sums", ((1.5, -0.5), (2.5, -1.5))))  # rows sum to one, entries mix
quotient = Dihedral(1).trivial.induce(D4)
signs = Cyclic(2).irrep(1).induce(Cyclic(4))

REPS = {
    "S(4) V": (S4.V, "linear affine generic odd semilinear"),
    "S(4) V^2": (S4.V**2, "linear affine generic odd semilinear"),
    "S(4) mixed": (2 * S4.V + 3 * S4.trivial + S4.V**2, "linear affine generic odd semilinear"),
    "S(4) det": (S4.det, "linear odd"),
    "S(4) V + det": (S4.V + S4.det, "linear odd"),
    "S(4) det V": (S4.det * S4.V, "linear odd"),
    "S(4) det det": (S4.det * S4.det, "linear affine generic odd semilinear"),
    "S(4) V turned": (rep_of(Turned()), "linear"),
    "S(3) regular": (S(3).regular, "linear affine generic odd semilinear"),
    "D4 quotient": (quotient, "linear affine generic odd semilinear"),
    "C4 induced sign": (signs, "linear odd"),
    "D4 plane": (D4.irrep(1, 1), "linear odd"),
    "C4 plane": (Cyclic(4).irrep(1), "linear odd"),
    "D3 plane": (Dihedral(3).irrep(1, 1), "linear"),
    "D5 plane": (Dihedral(5).irrep(1, 2), "linear"),
    "C3 plane": (Cyclic(3).irrep(1), "linear"),
    "O(1) V": (O(1).V, "linear odd"),
    "O(3) V": (O(3).V, "linear"),
    "SO(3) V": (SO(3).V, "linear"),
    "SO(2) irrep": (SO(2).irrep(1), "linear"),
    "O(3) 0o": (Irreps("2x0o"), "linear odd"),
    "O(3) 0e": (Irreps("2x0e"), "linear affine generic odd semilinear"),
    "O(3) 0e + 1o": (Irreps("2x0e + 1o"), "linear"),
    "GL+(1) V": (GLPlus(1).V, "linear semilinear"),
    "GL+(1) V V'": (GLPlus(1).V * GLPlus(1).V.dual, "linear affine generic odd semilinear"),
    "GL+(2) det": (GLPlus(2).det, "linear semilinear"),
    "Lorentz(1,1)": (Lorentz(1, 1).V, "linear"),
    "scaled by 2": (SCALED, "linear semilinear"),
    "rows sum to one": (SUMS, "linear affine"),
    "S(3) on the left of a product": (pull(S(3) * SO(2), 0, S(3).V), "linear affine generic odd semilinear"),
    "SO(2) on the right": (pull(S(3) * SO(2), 1, SO(2).irrep(1)), "linear"),
}
FUNCTIONS = [
    *(lambda x: -0.7 * x, lambda x: x + 1, torch.sigmoid, F.gelu, F.softplus, torch.tanh, F.softsign, lambda x: x**3),
    *(F.relu, F.leaky_relu, torch.abs, torch.square, torch.cos),
]


def some_matrices(rep):
    """Of the generators, and of paths into the directions of the Lie algebra."""
    group = rep.group
    g, X = group.generators(), group.lie_algebra()
    found = [rep.matrix(g)]
    if group.algebra_batch_shape(X)[0] and not group.is_finite:
        step = tuple(0.7 * part for part in X) if isinstance(X, tuple) else 0.7 * X
        found.append(rep.matrix(exp(group, step)))
    return torch.cat(found)


def error(M, N, fn, x):
    """The largest |f(Mx) - N f(x)|, relative to the largest |f(Mx)|."""
    moved, after = fn(x @ M.mT), fn(x) @ N.mT
    return ((moved - after).abs().max() / moved.abs().max().clamp(min=1)).item() if len(M) else 0.0


def test_the_table_of_the_theorem():
    found = {name: {str(law) for law in nn.admissible_laws(rep)} for name, (rep, _) in REPS.items()}
    assert found == {name: set(laws.split()) for name, (_, laws) in REPS.items()}


def test_verdicts_agree_with_brute_force():
    """On every pair of a representation and a function, also where the output may transform in another way."""
    counted, laws = {True: 0, False: 0}, {fn: nn.law(fn) for fn in FUNCTIONS}
    for name, (rep, _) in REPS.items():
        x = 2 * torch.randn(16, 1, rep.dim, generator=seeded(3), dtype=torch.float64).transpose(0, 1)
        M = some_matrices(rep)
        for fn in FUNCTIONS:
            verdict = nn.admissible(rep, fn, law=laws[fn])
            measured = error(M, M, fn, x)
            assert verdict.ok == (measured < 1e-10), (name, fn, verdict, measured)
            assert verdict.ok or measured > 1e-4, (name, fn, measured)
            counted[verdict.ok] += 1
            changed = nn.admissible(rep, fn, law=laws[fn], allow_type_change=True)
            assert changed.ok >= verdict.ok
            if changed.ok and changed.rep_out != rep:
                assert error(M, some_matrices(changed.rep_out), fn, x) < 1e-10, (name, fn, changed)
    assert min(counted.values()) >= 60, counted


def test_changes_of_type():
    plane = nn.admissible(D4.irrep(1, 1), torch.abs, allow_type_change=True)
    assert (str(plane.rep_out), plane.rep_out.is_permutation) == ("abs(irrep(1, 1))", True)
    assert nn.admissible(plane.rep_out, F.gelu).ok  # it permutes now
    assert not nn.admissible(D4.irrep(1, 1), F.relu, allow_type_change=True).ok
    assert nn.admissible(Irreps("3x0o"), torch.abs, allow_type_change=True).rep_out == Irreps("3x0e")
    assert nn.admissible(S4.det * S4.V, torch.cos, allow_type_change=True).rep_out == S4.V
    squared = nn.admissible(GLPlus(1).V, torch.square, allow_type_change=True).rep_out
    assert str(squared) == "abs(V, 2)"
    assert not nn.admissible(GLPlus(1).V, torch.tanh, allow_type_change=True).ok
    assert nn.admissible(Dihedral(3).irrep(1, 1), torch.abs, allow_type_change=True).rep_out is None
    mixed = nn.admissible(2 * S4.V + 3 * S4.det, torch.abs, allow_type_change=True).rep_out
    assert mixed == 2 * S4.V + 3 * S4.trivial


def test_a_law_that_is_stated():
    base = Law("log-periodic", 2.0)
    assert nn.admissible(SCALED, torch.tanh, law=base).ok
    assert not nn.admissible(THIRDS, torch.tanh, law=base).ok
    assert nn.admissible(S4.det, torch.tanh, law=Law("odd log-periodic", 3.0)).ok
    assert not nn.admissible(S4.det, torch.tanh, law=Law("log-periodic", 3.0)).ok
    assert not nn.admissible(GLPlus(1).V, torch.tanh, law=base).ok


def test_a_constant_needs_rows_that_sum_to_one():
    assert nn.admissible(S4.V, lambda x: x + 1).ok
    assert not nn.admissible(S4.det, lambda x: x + 1).ok
    assert nn.admissible(SUMS, lambda x: x + 1).ok
    assert not nn.admissible(SUMS, F.relu).ok


# --- the layer


@pytest.mark.parametrize(
    ("rep", "fn"),
    [
        (3 * S4.V + 2 * S4.V**2, F.gelu),
        (2 * D4.irrep(1, 1) + D4.trivial, torch.tanh),
        (2 * GLPlus(1).V, F.relu),
        (2 * Irreps("4x0e + 2x0o"), torch.sin),
        (2 * S(3).regular, torch.nn.PReLU()),
    ],
)
def test_the_layer_is_equivariant_and_the_function_itself(rep, fn, generator):
    layer = nn.Activation(rep, fn).double()
    assert_equivariant(layer, generator=generator)
    for batch in ((), (1,), (0,), (5, 2)):
        x = rep.randn(*batch, generator=generator, dtype=torch.float64)
        assert torch.equal(layer(x), fn(x))
    assert layer.rep_in == layer.rep_out == rep


def test_a_layer_that_changes_the_type(generator):
    layer = nn.Activation(2 * D4.irrep(1, 1) + Dihedral(4).det, torch.abs, allow_type_change=True)
    assert str(layer.rep_out) == "2*abs(irrep(1, 1)) + 1"
    assert_equivariant(layer.double(), generator=generator)
    assert "abs(irrep(1, 1)) + 1, abs" in repr(layer)


def test_refusals_name_everything():
    says = (
        r"Activation: relu \(semilinear\) is not equivariant on V of SO\(3\): SO\(3\) is connected and turns its "
        r"entries into each other; use nn.Gate, nn.NormActivation, a tensor product, or values on a grid \(a perm"
    )
    with pytest.raises(ValueError, match=says):
        nn.Activation(SO(3).V, torch.relu)
    with pytest.raises(
        ValueError, match=r"gelu \(generic\) .* det of S\(4\): .* turns an entry x into -x, and f\(-x\)"
    ):
        nn.Activation(2 * S4.V + S4.det, F.gelu)
    with pytest.raises(ValueError, match=r"tanh \(odd\) .* irrep\(1, 1\) of Dihedral\(3\): an element mixes"):
        nn.Activation(Dihedral(3).irrep(1, 1), torch.tanh)
    with pytest.raises(ValueError, match="scales its entries by all positive numbers"):
        nn.Activation(GLPlus(1).V, torch.tanh)
    with pytest.raises(ValueError, match="rows do not sum to one"):
        nn.Activation(S4.det, lambda x: x + 1)
    with pytest.raises(ValueError, match=r"with allow_type_change=True it gives abs\(irrep\(1, 1\)\)"):
        nn.Activation(D4.irrep(1, 1), torch.abs)
    with pytest.raises(ValueError, match="Softmax is not point-wise"):
        nn.Activation(S4.V, torch.nn.Softmax(-1))
    with pytest.raises(ValueError, match="has dimension 4, the data has trailing dimension 3"):
        nn.Activation(S4.V, torch.relu)(torch.zeros(3))


def test_a_function_in_place_spares_the_input(generator):
    x = S4.V.randn(3, generator=generator)
    kept = x.clone()
    nn.Activation(S4.V, torch.nn.ReLU(inplace=True))(x)
    assert torch.equal(x, kept)


def test_a_module_keeps_its_parameters():
    layer = nn.Activation(S4.V, torch.nn.PReLU())
    assert [name for name, _ in layer.named_parameters()] == ["fn.weight"]
