"""Which functions of single entries commute with a group: decided before training, with the reason (arXiv:2401.09235).

A continuous f commutes entry by entry with a matrix in these cases only. Two non-zero numbers in a row make f affine;
a single one, λ, asks for f(λx) = λ f(x).

    f(x) = cx                                     every matrix
    f(x) = cx + b                                 rows that sum to one
    generic: f(λx) = λ f(x) for λ = 1 only        permutations
    odd                                           permutations up to sign
    semilinear: f(x) = a x above 0, b x below     one entry in each row, positive
    log-periodic: f(λx) = λ f(x), λ a power of b  one entry in each row, such a power
"""

from dataclasses import dataclass

import numpy as np

from ..groups import Group
from ..reps import Factor, Product, Rep
from ..reps.entrywise import Entrywise
from ..so3 import Irrep, Irreps
from .law import Function, Law, name_of
from .law import law as law_of

TOL = 1e-8  # on entries of matrices, which are exact to rounding
INSTEAD = "use nn.Gate, nn.NormActivation, a tensor product, or values on a grid (a permutation representation)"


@dataclass(frozen=True)
class Verdict:
    """Whether a function may act on the entries of a representation, what it gives (None if it may not), and why."""

    ok: bool
    rep_out: Rep | None
    reason: str


def admissible(rep: Rep, fn: Function, *, law: Law | None = None, allow_type_change: bool = False) -> Verdict:
    """Whether fn, applied to every entry of a feature of `rep`, commutes with the group, exactly.

    Tests the generators and the Lie algebra on each factor of each term; nothing large is built. allow_type_change:
    also f(λx) = χ(λ) f(x), where the output transforms differently (|x| of something that changes sign is a
    permutation). law: the law of fn, where it is known; else told from values, with the errors of `nn.law`.
    Source: arXiv:2401.09235; the cases in `intertwine.nn.pointwise`.
    """
    return _judge(rep, law_of(fn) if law is None else law, name_of(fn), allow_type_change)


def _judge(rep: Rep, f: Law, name: str, allow_type_change: bool) -> Verdict:
    axes: dict[Factor, _Axis] = {}
    outs = []
    for W, c in rep.terms:
        axes |= {factor: _Axis.of(factor) for factor in W.factors if factor not in axes}
        term = _Term([axes[factor] for factor in W.factors])
        refusal = term.refusal(f, rep.group)
        changed = _changed(W, term, f, rep) if refusal else None
        if refusal and (changed is None or not allow_type_change):
            hint = f"; with allow_type_change=True it gives {changed}" if changed is not None else ""
            reason = f"{name} ({f}) is not equivariant on {W} of {rep.group}: {refusal}; {INSTEAD}{hint}"
            return Verdict(False, None, reason)
        outs.append((changed if refusal else W, c))
    rep_out = rep if all(new == W for (new, _), (W, _) in zip(outs, rep.terms)) else rep._with(rep.group, outs)
    into = "" if rep_out is rep else f", and gives {rep_out}"
    return Verdict(True, rep_out, f"{name} ({f}) commutes with {rep.group} on {rep}{into}")


def admissible_laws(rep: Rep) -> set[Law]:
    """The laws whose functions all commute with the group on `rep`, out of linear, affine, generic, odd, semilinear.

    Log-periodic laws are infinitely many: ask `admissible(rep, fn, law=...)` for one of them.
    """
    named = (Law(name) for name in ("linear", "affine", "generic", "odd", "semilinear"))
    return {f for f in named if _judge(rep, f, "f", False).ok}


def invariants(rep: Rep, channels: int) -> Rep:
    """Channels that no element of the group of `rep` changes, written in the notation of `rep`."""
    if isinstance(rep, Irreps):
        return Irreps([(channels, Irrep(0, 1 if str(rep.group) == "O(3)" else None))])
    return channels * rep.group.trivial


@dataclass(frozen=True)
class _Axis:
    """What a factor's matrices look like: for each generator, and for each direction of the Lie algebra."""

    is_monomial: bool  # one entry in every row of the generators, and a diagonal Lie algebra
    turns: bool  # the Lie algebra mixes entries
    entries: list[np.ndarray]  # the different non-zero entries of each generator
    sums: list[np.ndarray]  # the different row sums
    rates: list[np.ndarray]  # the different diagonal entries of each direction
    drifts: list[np.ndarray]  # the different row sums

    @classmethod
    def of(cls, factor: Factor) -> "_Axis":
        group = factor.group
        generators, directions = group.generators(), group.lie_algebra()
        (many,), (flows,) = group.batch_shape(generators), group.algebra_batch_shape(directions)
        one, zero = np.ones(1), np.zeros(1)
        if factor.is_permutation:
            return cls(True, False, [one] * many, [one] * many, [zero] * flows, [zero] * flows)
        M = factor.matrix(generators).numpy() if many else np.zeros((0, factor.dim, factor.dim))
        X = factor.algebra(directions).numpy() if flows else np.zeros((0, factor.dim, factor.dim))
        diagonal = np.diagonal(X, axis1=1, axis2=2)
        turns = bool((np.abs(X - diagonal[..., None] * np.eye(factor.dim)) > TOL).any())
        single = bool(((np.abs(M) > TOL).sum(-1) == 1).all())
        return cls(
            is_monomial=single and not turns,
            turns=turns,
            entries=[_distinct(m[np.abs(m) > TOL]) for m in M],
            sums=[_distinct(m.sum(-1)) for m in M],
            rates=[_distinct(d) for d in diagonal],
            drifts=[_distinct(x.sum(-1)) for x in X],
        )


def _distinct(values: np.ndarray) -> np.ndarray:
    return np.unique(values.round(10))


class _Term:
    """A tensor product of axes. Its rows have as many entries as the axes' rows multiplied, so it mixes if one does."""

    def __init__(self, axes: list[_Axis]):
        self.is_monomial = all(axis.is_monomial for axis in axes)
        self.turns = any(axis.turns for axis in axes)
        self.entries = _combined([axis.entries for axis in axes], np.multiply)
        self.sums = _combined([axis.sums for axis in axes], np.multiply)
        self.rates = _combined([axis.rates for axis in axes], np.add)
        self.drifts = _combined([axis.drifts for axis in axes], np.add)

    def refusal(self, f: Law, group: Group) -> str | None:
        """Why functions of this law do not commute with the term, or None if they do."""
        if f.name == "linear":
            return None
        if f.name == "affine":
            kept = (np.abs(self.sums - 1) < TOL).all() and (np.abs(self.drifts) < TOL).all()
            return None if kept else "an element changes the constant, its rows do not sum to one"
        if self.turns:
            state = "is connected and turns its entries" if group.is_connected else "turns its entries continuously"
            return f"{group} {state} into each other"
        if not self.is_monomial:
            return "an element mixes its entries, two of them in a row of its matrix"
        if not f.allows_flow and (np.abs(self.rates) > TOL).any():
            return f"{group} scales its entries by all positive numbers"
        wrong = ["-" if value == -1 else f"{value:g}" for value in self.entries if not f.allows(value)]
        return f"an element turns an entry x into {wrong[0]}x, and f({wrong[0]}x) ≠ {wrong[0]}f(x)" if wrong else None


def _combined(lists: list[list[np.ndarray]], operation: np.ufunc) -> np.ndarray:
    """For each generator, what products (or sums) of one number from each axis can be; all generators together."""
    found = [np.zeros(0)]
    for choices in zip(*lists):
        value = choices[0]
        for other in choices[1:]:
            value = _distinct(operation.outer(value, other))
        found.append(value)
    return _distinct(np.concatenate(found))


def _changed(W: Product, term: _Term, f: Law, rep: Rep) -> Product | None:
    """The term as which f(entries) transforms, or None if it transforms as nothing linear."""
    if not term.is_monomial:
        return None
    signed, scaled = bool((term.entries < 0).any()), bool((np.abs(np.abs(term.entries) - 1) > TOL).any())
    scaled = scaled or bool((np.abs(term.rates) > TOL).any())
    if (signed and f.parity is None) or (scaled and f.degree is None):
        return None
    power = f.degree if scaled else 1.0
    factors = [
        factor if factor.is_permutation else Entrywise(factor, power, odd=signed and f.parity == -1)
        for factor in W.factors
    ]
    left = [factor for factor in factors if not (factor.dim == 1 and factor.is_permutation)]
    return Product(tuple(left)) if left else invariants(rep, 1).terms[0][0]
