"""What a symmetric contraction computes and in which order: shared lower couplings, weights before the last product."""

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np

from .irreps import Irrep
from .symmetric_power import Coupling, Inputs, all_couplings, gram, symmetric_bases
from .wigner import _frozen, clebsch_gordan


@dataclass(frozen=True, eq=False)
class Step:
    """Value `left` ⊗ input block `right`, through `table`, are the next values, one after the other."""

    left: int
    right: int
    sizes: tuple[int, ...]  # components of each new value
    table: np.ndarray  # [Σ over made of 2l+1, (2l'+1)(2l+1)]


@dataclass(frozen=True, eq=False)
class Last:
    """The last product into one output: Σ over `terms` of weight · value, ⊗ input block `right`, through `table`."""

    right: int
    terms: tuple[tuple[int, int], ...]  # (value, column of the weights)
    table: np.ndarray  # [2L+1, (2l'+1)(2l+1)]


@dataclass(frozen=True, eq=False)
class Output:
    """One irrep of the output: products that end here, values that are added as they are, and the weights of both."""

    last: tuple[Last, ...]
    direct: tuple[tuple[int, int], ...]  # (value, column of the weights)
    counts: tuple[int, ...]  # weights of degree 1, 2, ..
    mix: np.ndarray  # [columns, weights]: from the weights of the basis to those of the couplings that are computed


@dataclass(frozen=True, eq=False)
class ContractionPlan:
    """Values are numbered: first the input blocks, then what each step makes."""

    steps: tuple[Step, ...]
    outputs: tuple[Output, ...]


@lru_cache(maxsize=16)
def contraction_plan(inputs: Inputs, outputs: Inputs, correlation: int, symmetric: bool) -> ContractionPlan:
    """The plan for powers 1..`correlation` of features with input blocks `inputs` (one channel at a time)."""
    bases = symmetric_bases(inputs, tuple(dict.fromkeys(outputs)), correlation)
    ends = {k: [list(basis.get(k, [])) for basis in bases] for k in outputs}
    needed: dict[Coupling, None] = {}  # in order of need, lower degrees found first below
    for k in ends:
        for n, couplings in enumerate(ends[k], 1):
            for one in couplings:
                need = one if n < correlation else one.before
                while need is not None:
                    needed[need] = None
                    need = need.before
    number = {one: one.last for some in bases[0].values() for one in some}
    steps = []
    for n in range(2, correlation):
        pairs: dict[tuple[int, int], list[Coupling]] = {}
        for one in needed:
            if one.degree == n:
                pairs.setdefault((number[one.before], one.last), []).append(one)
        for (left, right), made in pairs.items():
            for one in made:
                number[one] = len(number)
            steps.append(Step(left, right, tuple(one.irrep.dim for one in made), _table(inputs, made)))
    return ContractionPlan(tuple(steps), tuple(_output(inputs, k, ends[k], number, symmetric) for k in outputs))


def _table(inputs: Inputs, made: list[Coupling]) -> np.ndarray:
    a, b = made[0].before.irrep, inputs[made[0].last]
    parts = [sqrt(c.irrep.dim) * clebsch_gordan(a.l, b.l, c.irrep.l).reshape(a.dim * b.dim, -1).T for c in made]
    return _frozen(np.concatenate(parts))


def _output(
    inputs: Inputs, irrep: Irrep, ends: list[list[Coupling]], number: dict[Coupling, int], symmetric: bool
) -> Output:
    columns = [one for couplings in ends for one in couplings]
    direct, groups = [], {}
    for column, one in enumerate(columns):
        if one.degree == len(ends) > 1:
            groups.setdefault((one.before.irrep, one.last), []).append((column, one))
        else:
            direct.append((number[one], column))
    last = tuple(
        Last(right, tuple((number[one.before], column) for column, one in some), _table(inputs, [some[0][1]]))
        for (_, right), some in groups.items()
    )
    mixes = [_mix(inputs, irrep, some, n, symmetric) for n, some in enumerate(ends, 1)]
    mix = np.zeros((len(columns), sum(m.shape[1] for m in mixes)))
    row = column = 0
    for m in mixes:
        mix[row : row + m.shape[0], column : column + m.shape[1]] = m
        row, column = row + m.shape[0], column + m.shape[1]
    return Output(last, tuple(direct), tuple(m.shape[1] for m in mixes), _frozen(mix))


def _mix(inputs: Inputs, irrep: Irrep, kept: list[Coupling], degree: int, symmetric: bool) -> np.ndarray:
    """Weights of the couplings in `kept` from those of an orthonormal basis, or of all couplings one by one."""
    if not kept:
        return np.zeros((0, len(all_couplings(inputs, irrep, degree)) if not symmetric else 0))
    G = gram(inputs, kept, kept)
    if symmetric:
        return np.linalg.inv(np.linalg.cholesky(G)).T
    # Left to right and back: what a coupling keeps under exchange of its factors, in terms of those in `kept`.
    return np.linalg.solve(G, gram(inputs, kept, all_couplings(inputs, irrep, degree)))
