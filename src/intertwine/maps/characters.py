"""How many invariants there are, from characters alone: the number is known before any basis is computed."""

from fractions import Fraction
from math import factorial, prod

import numpy as np
import torch

from ..groups import A, DirectProduct, Group, S
from ..groups.finite import parity
from ..groups.group import Element
from ..reps import Factor
from ..reps.pullback import Pulled
from .diagrams.tableaux import shapes
from .torus import weyl_integral

MOST_LISTED = 20_000  # groups without a formula for their classes are listed up to this order


def count_invariants(group: Group, factors: tuple[Factor, ...]) -> int | None:
    """Dimension of the invariants of a tensor product of factors of `group`; None where no formula is known.

    Finite groups: the mean of the character over conjugacy classes. Reductive Lie groups: Weyl's integral formula over
    a maximal torus. Products: member by member.
    """
    if not factors:
        return 1
    if isinstance(group, DirectProduct) and all(isinstance(factor, Pulled) for factor in factors):
        counts = [
            count_invariants(member, tuple(f.base for f in factors if f.index == i))
            for i, member in enumerate(group.factors)
        ]
        return 0 if 0 in counts else None if None in counts else prod(counts)
    if group.is_finite:
        classes = weighted_elements(group)
        if classes is None:
            return None
        g, weights = classes
        total = np.ones(len(weights))
        for factor in factors:
            total = total * traces(factor, g)
        return _whole(float(weights @ total))
    mean = weyl_integral(group, factors)
    return None if mean is None else _whole(mean)


def _whole(value: float) -> int | None:
    """The integer that a mean of characters must be; None where rounding hides it."""
    nearest = round(value)
    return nearest if abs(value - nearest) < 1e-3 else None


def traces(factor: Factor, g: Element) -> np.ndarray:
    """The character of a factor on elements g, float64 [k]."""
    if factor.is_permutation:
        return (factor.permutation(g) == torch.arange(factor.dim)).sum(-1).double().numpy()
    return factor.matrix(g).diagonal(dim1=-2, dim2=-1).sum(-1).numpy()


def weighted_elements(group: Group) -> tuple[Element, np.ndarray] | None:
    """Elements and weights of sum 1 that average class functions exactly; None for a large group without a formula."""
    if isinstance(group, A):
        even, sizes = weighted_elements(S(group.n))
        keep = (parity(even) > 0).numpy()
        g, sizes = even[torch.from_numpy(keep)], sizes[keep]
        if group.n < 2:
            return g, sizes
        # a class of S(n) may be two classes of A(n): an odd permutation carries one to the other
        swap = torch.arange(group.n)
        swap[:2] = torch.tensor([1, 0])
        mirrored = group.compose(group.compose(swap, g), swap)
        return torch.cat([g, mirrored]), np.concatenate([sizes, sizes])
    if isinstance(group, S):
        types = list(shapes(group.n, group.n))
        return torch.stack([_with_cycles(cycles) for cycles in types]), np.array([_share(cycles) for cycles in types])
    if group.order > MOST_LISTED:
        return None
    return group.elements(), np.full(group.order, 1 / group.order)


def _with_cycles(lengths: tuple[int, ...]) -> torch.Tensor:
    """A permutation with cycles of the given lengths."""
    images, start = [], 0
    for length in lengths:
        images += [start + (i + 1) % length for i in range(length)]
        start += length
    return torch.tensor(images)


def _share(lengths: tuple[int, ...]) -> float:
    """The fraction of all permutations that have cycles of the given lengths."""
    share = Fraction(1)
    for length in set(lengths):
        times = lengths.count(length)
        share /= length**times * factorial(times)
    return float(share)
