"""How tensor networks are computed: pair by pair, each sub-network once however many networks hold it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .diagrams.independence import PRIME
from .tensor_types import BUILT_IN, EPSILON, ONE, TensorType

Leg = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """One tensor: a leaf, the trace of a pair of indices of one, a product of two over shared indices, or a reordering.

    perm_a puts the indices of a that stay first, then those summed over; perm_b the other way round.
    """

    kind: str  # "leaf" | "trace" | "product" | "permute"
    name: str = ""
    a: int = -1
    perm_a: tuple[int, ...] = ()
    b: int = -1
    perm_b: tuple[int, ...] = ()
    shared: int = 0


@dataclass
class Factor:
    """A tensor on the way: its step and what each of its indices is tied to."""

    step: int
    labels: list[int]


class Contraction:
    """A growing list of steps that computes tensor networks; equal sub-networks share one step.

    Indices that are known to be interchangeable are used in one fixed order, so that sharing is found.
    """

    def __init__(self, types: Mapping[str, TensorType]):
        self.types = dict(types) | BUILT_IN
        self.steps: list[Step] = []
        self.ranks: list[int] = []
        self._alike: list[tuple[int, ...]] = []  # indices with equal numbers may be swapped
        self._known: dict[Step, int] = {}

    def add(self, nodes: Sequence[str], edges: Iterable[tuple[Leg, Leg]], open_legs: Sequence[Leg] = ()) -> int:
        """The step that holds a network's value, its indices in the order of `open_legs`."""
        tied = {leg: -1 - k for k, leg in enumerate(open_legs)}
        for label, pair in enumerate(edges):
            tied.update(dict.fromkeys(pair, label))
        factors = [] if nodes else [Factor(self._leaf(ONE), [])]
        for node, name in enumerate(nodes):
            labels = [tied[node, leg] for leg in range(self.types[name].rank)]
            factors.append(self._traced(Factor(self._leaf(name), labels)))
        factors = self._contracted(factors)
        factors.sort(key=lambda factor: (self.ranks[factor.step], factor.step))
        value = factors[0]
        for factor in factors[1:]:
            value = self._product(value, factor)
        wanted = [-1 - k for k in range(len(open_legs))]
        value.labels = self._arrange(value, wanted)
        if value.labels != wanted:
            perm = tuple(value.labels.index(label) for label in wanted)
            value = Factor(self._step(Step("permute", a=value.step, perm_a=perm), range(len(perm))), wanted)
        return value.step

    # --- building

    def _step(self, step: Step, alike: Iterable[int]) -> int:
        if step not in self._known:
            self._known[step] = len(self.steps)
            self.steps.append(step)
            self._alike.append(tuple(alike))
            self.ranks.append(len(self._alike[-1]))
        return self._known[step]

    def _leaf(self, name: str) -> int:
        kind = self.types[name]
        symmetric = kind.symmetric and name != EPSILON
        return self._step(Step("leaf", name), [0] * kind.rank if symmetric else range(kind.rank))

    def _arrange(self, factor: Factor, last: Sequence[int]) -> list[int]:
        """The labels with interchangeable indices in a fixed order: those not in `last`, then those in its order."""
        alike, labels = self._alike[factor.step], list(factor.labels)
        place = {label: k for k, label in enumerate(last)}
        for group in set(alike):
            where = [k for k, g in enumerate(alike) if g == group]
            if len(where) > 1:
                held = sorted(
                    (labels[k] for k in where), key=lambda label: (label in place, place.get(label, 0), label)
                )
                for k, label in zip(where, held):
                    labels[k] = label
        return labels

    def _traced(self, factor: Factor) -> Factor:
        """Sum over the pairs of indices of one tensor that are tied to each other."""
        while twice := [label for label in factor.labels if factor.labels.count(label) == 2]:
            labels = self._arrange(factor, [twice[0]])
            pair = [k for k, label in enumerate(labels) if label == twice[0]]
            rest = [k for k in range(len(labels)) if k not in pair]
            alike = [self._alike[factor.step][k] for k in rest]
            step = self._step(Step("trace", a=factor.step, perm_a=(*rest, *pair)), alike)
            factor = Factor(step, [labels[k] for k in rest])
        return factor

    def _contracted(self, factors: list[Factor]) -> list[Factor]:
        """Join tied tensors until none are: least rank first, then what is known already, then the least work."""
        while True:
            best = None
            for i, a in enumerate(factors):
                for j in range(i + 1, len(factors)):
                    b = factors[j]
                    shared = len(set(a.labels) & set(b.labels))
                    if not shared:
                        continue
                    rank = len(a.labels) + len(b.labels) - 2 * shared
                    if best is not None and rank > best[0][0]:
                        continue
                    step = self._planned(a, b)[0]
                    cost = rank, self._known.get(step, len(self.steps)), rank + shared, i, j
                    if best is None or cost < best[0]:
                        best = cost, i, j
            if best is None:
                return factors
            _, i, j = best
            joined = self._product(factors[i], factors[j])
            factors = [factor for k, factor in enumerate(factors) if k not in (i, j)] + [joined]

    def _planned(self, a: Factor, b: Factor) -> tuple[Step, list[int], list[int]]:
        """The step of a product, its labels, and which of its indices may be swapped."""
        if b.step < a.step:
            a, b = b, a
        shared = set(a.labels) & set(b.labels)
        of_b = self._arrange(b, sorted(shared))
        summed = [label for label in of_b if label in shared]
        of_a = self._arrange(a, summed)
        stay_a = [k for k, label in enumerate(of_a) if label not in shared]
        stay_b = [k for k, label in enumerate(of_b) if label not in shared]
        sum_a, sum_b = [of_a.index(label) for label in summed], [of_b.index(label) for label in summed]
        step = Step("product", "", a.step, (*stay_a, *sum_a), b.step, (*sum_b, *stay_b), len(summed))
        alike_a, alike_b = self._alike[a.step], self._alike[b.step]
        first = [alike_a[k] for k in stay_a]
        offset = len(alike_a)
        alike = [*first, *(offset + alike_b[k] for k in stay_b)]
        if a.step == b.step and len(stay_a) == len(stay_b) == 1 and sum_a == sum_b and stay_a == stay_b:
            alike = [0, 0]  # A Aᵀ is symmetric
        return step, [*(of_a[k] for k in stay_a), *(of_b[k] for k in stay_b)], alike

    def _product(self, a: Factor, b: Factor) -> Factor:
        step, labels, alike = self._planned(a, b)
        return Factor(self._step(step, alike), labels)

    # --- running

    def run(self, leaves: Callable[[str], Tensor], wanted: Sequence[int]) -> list[Tensor]:
        """Values [batch, 3^rank] of the wanted steps; `leaves` gives the tensors by name, [batch or 1, 3^rank]."""
        values: dict[int, Tensor] = {}
        for k in self.needed(wanted):
            step = self.steps[k]
            if step.kind == "leaf":
                values[k] = leaves(step.name)
            elif step.kind == "permute":
                values[k] = self._permuted(values[step.a], step.perm_a)
            elif step.kind == "trace":
                x = self._permuted(values[step.a], step.perm_a)
                values[k] = x.unflatten(-1, (-1, 9))[..., ::4].sum(-1)
            else:
                rows, columns = len(step.perm_a) - step.shared, len(step.perm_b) - step.shared
                a, b = self._permuted(values[step.a], step.perm_a), self._permuted(values[step.b], step.perm_b)
                if rows == columns == 0:
                    values[k] = (a * b).sum(-1, keepdim=True)
                else:
                    a, b = a.unflatten(-1, (3**rows, 3**step.shared)), b.unflatten(-1, (3**step.shared, 3**columns))
                    values[k] = (a * b if step.shared == 0 else a @ b).flatten(-2)
        return [values[k] for k in wanted]

    def needed(self, wanted: Iterable[int]) -> list[int]:
        """The steps that the wanted ones rest on, in order."""
        seen, stack = set(), list(wanted)
        while stack:
            k = stack.pop()
            if k not in seen:
                seen.add(k)
                stack += [j for j in (self.steps[k].a, self.steps[k].b) if j >= 0]
        return sorted(seen)

    def _permuted(self, x: Tensor, perm: tuple[int, ...]) -> Tensor:
        if perm == tuple(range(len(perm))):
            return x
        y = x.unflatten(-1, (3,) * len(perm)).permute(0, *(1 + k for k in perm))
        return y.flatten(1)


class Exact:
    """The same steps at random points of the field of 2^31 - 1 elements, each computed once."""

    def __init__(self, contraction: Contraction, leaves: Mapping[str, np.ndarray]):
        self.contraction, self.leaves = contraction, leaves
        self.values: dict[int, np.ndarray] = {}

    def __call__(self, wanted: int) -> np.ndarray:
        """The value of a step, int64 [samples, 3^rank]."""
        for k in self.contraction.needed([wanted]):
            if k not in self.values:
                self.values[k] = self._value(self.contraction.steps[k])
        return self.values[wanted]

    def _value(self, step: Step) -> np.ndarray:
        if step.kind == "leaf":
            return self.leaves[step.name]
        a = _permuted(self.values[step.a], step.perm_a)
        if step.kind == "permute":
            return a
        if step.kind == "trace":
            return a.reshape(len(a), -1, 9)[..., ::4].sum(-1) % PRIME
        b = _permuted(self.values[step.b], step.perm_b)
        a, b = a.reshape(len(a), -1, 3**step.shared), b.reshape(len(b), 3**step.shared, -1)
        total = np.zeros((max(len(a), len(b)), a.shape[1], b.shape[2]), dtype=np.int64)
        for k in range(a.shape[2]):
            total += a[:, :, k, None] * b[:, None, k] % PRIME
        return (total % PRIME).reshape(len(total), -1)


def _permuted(x: np.ndarray, perm: tuple[int, ...]) -> np.ndarray:
    if perm == tuple(range(len(perm))):
        return x
    return x.reshape(-1, *(3,) * len(perm)).transpose(0, *(1 + k for k in perm)).reshape(len(x), -1)
