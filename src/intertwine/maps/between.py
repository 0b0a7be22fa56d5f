"""Find the space of maps between two representations: the best rule for every pair of terms."""

from pathlib import Path

from ..reps import Product, Rep
from . import schur, solver
from .block import Block
from .characters import count_invariants
from .diagrams import kernel as diagrams
from .kernel import Kernel
from .map import Map
from .routes import Options, find


def between(
    rep_in: Rep,
    rep_out: Rep,
    *,
    method: str = "auto",
    basis: str = "independent",
    max_dim: int = solver.MAX_DIM,
    tol: float = solver.TOL,
    cache: str | Path | None = None,
    allow_zero: bool = False,
) -> Map:
    """All linear maps from rep_in to rep_out that commute with their group.

    method: "auto" takes the first rule that applies to each pair of terms: "diagrams" for tensor powers of V where they
    are known in closed form, "schur" between irreps, "product" member by member, "solver" for anything.
    basis: "independent"; "orthonormal"; "spanning", all diagrams also where they are dependent; "orbit" for
    permutations; "graphs", bilabelled graphs for Automorphism(graph). The solver refuses products of more than
    `max_dim` components, works to `tol`, and keeps its results in the folder `cache` if there is one.
    Raises ValueError when the groups differ, or when the only map is zero and `allow_zero` is false.
    """
    for name, rep in (("rep_in", rep_in), ("rep_out", rep_out)):
        if not isinstance(rep, Rep):
            raise TypeError(f"between: {name} must be a Rep, such as S(5).V, got {rep!r}")
    if rep_in.group != rep_out.group:
        raise ValueError(f"between: rep_in belongs to {rep_in.group}, rep_out to {rep_out.group}")
    options = Options(method, basis, max_dim, tol, None if cache is None else Path(cache))
    found: dict[tuple[Product, Product], Kernel] = {}
    blocks, start = [], 0
    for j, (W, c_out) in enumerate(rep_out.terms):
        for i, (U, c_in) in enumerate(rep_in.terms):
            pair = schur.simplified(U), schur.simplified(W)
            if pair not in found:
                found[pair] = find(rep_in.group, *pair, options)
            if found[pair].N:
                blocks.append(Block(found[pair], U, W, i, j, c_in, c_out, start))
                start = blocks[-1].stop
    if not blocks and not allow_zero:
        raise ValueError(
            f"between: the only equivariant map from {rep_in!r} to {rep_out} is zero (allow_zero=True keeps it)"
        )
    return Map(rep_in, rep_out, tuple(blocks), options)


def invariants(rep: Rep, **options) -> Map:
    """The invariant vectors of a Rep, as the maps to it from the trivial representation; options as in `between`."""
    return between(rep.group.trivial, rep, **options)


def dimension(rep_in: Rep, rep_out: Rep) -> int:
    """The number of weights of `between(rep_in, rep_out)`, from characters where they are known: no basis is built."""
    if rep_in.group != rep_out.group:
        raise ValueError(f"dimension: rep_in belongs to {rep_in.group}, rep_out to {rep_out.group}")
    group, total = rep_in.group, 0
    counted: dict[tuple[Product, Product], int] = {}
    for W, c_out in rep_out.terms:
        for U, c_in in rep_in.terms:
            pair = schur.simplified(U), schur.simplified(W)
            if pair not in counted:
                count = diagrams.dimension(group, *pair)
                if count is None:
                    known = schur.kernel(group, *pair)
                    count = known.N if known else count_invariants(group, (pair[1] * pair[0].dual).factors)
                counted[pair] = find(group, *pair, Options()).N if count is None else count
            total += counted[pair] * c_in * c_out
    return total
