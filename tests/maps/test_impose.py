"""Groups that the solver knows by generators or samples alone, and what it says about them."""

import numpy as np
import pytest
import torch

from intertwine import maps
from intertwine.groups import SE, SO, SU, Affine, Cyclic, E, GLPlus, MatrixGroup, O, S, Sp, U
from intertwine.groups.matrix import haar_orthogonal, haar_special_orthogonal
from intertwine.groups.unitary import haar_unitary, real_form
from intertwine.maps import impose, solver
from intertwine.maps.constraints import complete, constraints
from intertwine.reps import Factor, Product, Rep


def power(group, m) -> Product:
    return Product(group.V.terms[0][0].factors * m)


SAMPLED = [
    (MatrixGroup(sampler=lambda k, generator: haar_special_orthogonal(k, 3, generator)), SO(3), 6),
    (MatrixGroup(sampler=lambda k, generator: haar_orthogonal(k, 3, generator)), O(3), 5),
    (MatrixGroup(sampler=lambda k, generator: real_form(haar_unitary(k, 2, generator))), U(2), 4),
    (MatrixGroup(sampler=lambda k, generator: Sp(2).sample(k, generator=generator)), Sp(2), 6),
]


@pytest.mark.parametrize(("sampled", "known", "top"), SAMPLED, ids=str)
def test_a_sampler_is_enough(sampled, known, top):
    for m in range(top + 1):
        ours, theirs = solver.solve(sampled, power(sampled, m)), solver.solve(known, power(known, m))
        assert ours.dim == theirs.dim
        assert np.abs(ours.Q @ (ours.Q.T @ theirs.Q) - theirs.Q).max(initial=0.0) < 1e-9
    space = maps.between(sampled.V**2, sampled.V**2, method="solver")
    assert space.dim == maps.dimension(known.V**2, known.V**2)
    assert "complete for the listed generators" in space.explain()


def test_a_sampler_of_too_many_pieces_is_found_out():
    """Every draw flips one of 40 axes: eight of them do not show all, and the check on others says so."""

    def sampler(k, generator):
        g = torch.eye(40, dtype=torch.float64).repeat(k, 1, 1)
        which = torch.randint(40, (k,), generator=generator)
        g[torch.arange(k), which, which] = -1
        return g

    with pytest.raises(maps.SolverError, match="residual"):
        solver.solve(MatrixGroup(sampler=sampler), power(MatrixGroup(sampler=sampler), 1))


MODULAR = MatrixGroup(generators=torch.tensor([[[1.0, 1.0], [0.0, 1.0]], [[0.0, -1.0], [1.0, 0.0]]]))  # SL(2, Z)
SHEARS = MatrixGroup(generators=torch.tensor([[[1.0, 1.0], [0.0, 1.0]]]))


@pytest.mark.parametrize("direct", [0, 1500])
def test_infinite_discrete_groups(direct, monkeypatch):
    """SL(2, Z) is dense in SL(2) for polynomials, one shear in all of them: the Catalan numbers, one map of a flag."""
    monkeypatch.setattr(solver, "DIRECT", direct)
    monkeypatch.setattr("intertwine.maps.casimir.DENSE", 0 if direct == 0 else 400)
    dims = [solver._solve(MODULAR, power(MODULAR, m).factors, 1e-9, None).dim for m in (2, 4, 6)]
    assert dims == [1, 2, 5]
    assert [solver._solve(SHEARS, power(SHEARS, m).factors, 1e-9, None).dim for m in (1, 2, 3)] == [1, 2, 3]


def test_a_lie_algebra_and_generators_together():
    """so(3) and -1 are O(3) without a name."""
    group = MatrixGroup(lie_algebra=SO(3).lie_algebra(), generators=-torch.eye(3)[None])
    assert [solver.solve(group, power(group, m)).dim for m in range(5)] == [1, 0, 1, 0, 3]
    assert complete(group)
    assert "complete for" not in maps.between(group.V**2, group.V**2, method="solver").explain()


@pytest.mark.parametrize("group", [SE(2), E(2), Affine(2), SE(3)], ids=str)
def test_groups_with_translations_say_what_they_rest_on(group):
    text = maps.between(group.V**2, group.V**2).explain()
    assert "generators; complete for the listed generators)" in text


def test_affine_maps():
    """Homogeneous R³ of the plane: the last coordinate of V' is invariant; maps V² to V² are the two permutations."""
    V = Affine(2).V
    found = {kl: maps.dimension(V ** kl[0], V ** kl[1]) for kl in [(0, 1), (1, 0), (1, 1), (2, 1), (2, 2)]}
    assert found == {(0, 1): 0, (1, 0): 1, (1, 1): 1, (2, 1): 2, (2, 2): 2}


def test_groups_that_are_known_to_be_generated():
    assert all(map(complete, [SO(3), Sp(4), GLPlus(2), U(2), SU(2), S(3), S(3) * SO(3), O(1)]))
    assert not any(map(complete, [SE(2), Affine(1), MODULAR, SE(2) * S(2)]))


@pytest.mark.parametrize("group", [MODULAR, SE(2)], ids=str)
def test_all_constraints_as_one_operator(group):
    given = constraints(group, power(group, 2).factors)
    C = impose.Together(given)
    M = C.toarray()
    V = group.V**2
    rows = [V.matrix(g) - torch.eye(V.dim) for g in group.generators()] + list(V.algebra_matrix(group.lie_algebra()))
    expected = sum(K.T @ K for K in rows).numpy()
    assert np.abs(M - expected).max() < 1e-12
    assert np.linalg.eigvalsh(M)[-1] <= C.top
    x = np.random.default_rng(0).standard_normal(len(M))
    assert np.abs(C @ x - M @ x).max() < 1e-12


def test_a_group_that_does_nothing_in_a_large_space_says_how_large(monkeypatch):
    still = MatrixGroup(generators=torch.zeros(0, 8, 8))
    monkeypatch.setattr(solver, "DIRECT", 10)
    assert solver._solve(still, power(still, 2).factors, 1e-9, None).dim == 64
    monkeypatch.setattr(solver, "MAX_BYTES", 10**4)
    with pytest.raises(ValueError, match="64 vectors of N=64 components"):
        solver._solve(still, power(still, 2).factors, 1e-9, None)


# --- the basis


@pytest.mark.parametrize(("group", "m"), [(SO(3), 5), (SU(2), 4), (Sp(2), 6), (MODULAR, 4), (SE(2), 2)], ids=str)
def test_a_basis_in_fractions(group, m):
    term = power(group, m) if group != SE(2) else Product((*power(group, 2).factors, *power(group, 2).dual.factors))
    plain, sparse = solver.solve(group, term), solver.solve(group, term, rational=True)
    E = sparse.vectors
    assert sparse.method.endswith("echelon form")
    assert sparse.dim == plain.dim
    assert np.abs(E * 24 * 23 - np.round(E * 24 * 23)).max() < 1e-9  # small denominators
    assert (E != 0).sum() < (np.abs(plain.vectors) > 1e-12).sum()
    assert np.abs(plain.Q @ (plain.Q.T @ E) - E).max() < 1e-12
    assert np.abs(sparse.Q.T @ sparse.Q - np.eye(sparse.dim)).max() < 1e-12


def test_a_basis_without_fractions_stays_as_it_is():
    """Turned by an odd angle, the invariant of reflections has no small fraction."""
    c, s = np.cos(0.3), np.sin(0.3)
    turned = MatrixGroup(generators=torch.tensor([[[c, s], [s, -c]]]))
    basis = solver.solve(turned, power(turned, 1), rational=True)
    assert basis.vectors[:, 0] == pytest.approx([1, np.tan(0.15)], abs=1e-12)


def test_orbits_are_exact_already():
    basis = solver.solve(S(3), power(S(3), 2), rational=True)
    assert (basis.method, basis.exact) == ("orbits", True)


def test_a_fixed_generator_gives_the_same_numbers():
    first, second = (
        solver._solve(SU(2), power(SU(2), 4).factors, 1e-9, torch.Generator().manual_seed(3)).vectors for _ in range(2)
    )
    assert np.array_equal(first, second)


class Single(Factor):
    """A quarter turn in single precision."""

    is_orthogonal = True
    group = Cyclic(4)
    dim = 2

    def __str__(self):
        return "single"

    def matrix(self, g, dtype=torch.float64):
        angle = (torch.pi / 2 * g).double()
        rows = torch.stack(
            [torch.stack([angle.cos(), -angle.sin()], -1), torch.stack([angle.sin(), angle.cos()], -1)], -2
        )
        return rows.round().float()


def test_single_precision_is_promoted():
    rep = Rep(Cyclic(4), [(Product((Single(),)), 1)])
    space = maps.between(rep, rep)
    assert space.dim == 2
    assert space.basis().dtype == torch.float64
    assert solver.solve(Cyclic(4), Product((Single(),) * 2)).vectors.dtype == np.float64


# --- large sides


@pytest.mark.parametrize("group", [SO(3), U(1), S(4)], ids=str)
def test_sides_too_large_together_are_decomposed(group):
    U_, W = power(group, 3), power(group, 2) if group != U(1) else power(group, 3)
    small, large = solver.hom(group, U_, W), solver.hom(group, U_, W, max_dim=50)
    assert large.route == "solver (irreps of both sides)"
    ours, theirs = (kernel.dense().reshape(kernel.N, -1) for kernel in (large, small))
    assert large.N == small.N == maps.dimension(group.V**3, group.V ** len(W.factors))
    assert np.linalg.matrix_rank(np.vstack([ours, theirs]), tol=1e-8) == large.N


def test_large_sides_of_groups_without_an_average_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="the solver would need N=64"):
        solver.hom(Sp(2), power(Sp(2), 3), power(Sp(2), 3), max_dim=50)
    monkeypatch.setattr(solver, "LARGEST_SIDE", 20)
    with pytest.raises(ValueError, match="the solver would need N=729"):
        solver.hom(SO(3), power(SO(3), 3), power(SO(3), 3), max_dim=50)
