"""The task and the network: addition in a finite abelian group by one layer of squares."""

import math
from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from ...groups import Cyclic, Group
from ...groups.product import DirectProduct

Abelian = Group | Sequence[int]


def cyclic_orders(name: str, group: Abelian) -> tuple[int, ...]:
    """The orders of the cyclic factors. ValueError for another group, for none, and for an order below 2."""
    if isinstance(group, Group):
        factors = group.factors if isinstance(group, DirectProduct) else (group,)
        if not all(isinstance(factor, Cyclic) for factor in factors):
            raise ValueError(f"{name}: the group must be a Cyclic(n) or a product of such, got {group}")
        group = [factor.n for factor in factors]
    orders = tuple(group)
    if not orders or not all(isinstance(n, Integral) and n >= 2 for n in orders):
        raise ValueError(f"{name}: give the order of each cyclic factor, 2 or more, got {list(orders)}")
    return tuple(int(n) for n in orders)


def elements(orders: tuple[int, ...]) -> Int[np.ndarray, "d factors"]:
    """All elements, the last factor fastest, as `Group.elements()` lists them."""
    return np.stack(np.unravel_index(np.arange(math.prod(orders)), orders), -1)


def frequencies(orders: tuple[int, ...]) -> Int[np.ndarray, "half factors"]:
    """One of each pair of conjugate characters, the trivial one left out: the one listed first."""
    k = elements(orders)
    opposite = np.ravel_multi_index(tuple(((-k) % orders).T), orders)
    return k[1:][(np.arange(len(k)) <= opposite)[1:]]


def characters(orders: tuple[int, ...], k: Int[np.ndarray, "half factors"]) -> Complex[np.ndarray, "half d"]:
    """exp(2πi Σ k x / n) of every element x, for each frequency."""
    # Whole turns are dropped before the division, so that a character is as exact for large groups as for small ones.
    turns = (k[:, None, :] * elements(orders) % orders / orders).sum(-1)
    return np.exp(2j * np.pi * turns)


def addition_table(group: Abelian) -> tuple[Int[Tensor, " d²"], Int[Tensor, " d²"], Int[Tensor, " d²"]]:
    """All pairs x, y of elements and their sums, as numbers of elements in the order of `Group.elements()`.

    group: Cyclic(n), a product of such, or the orders of its cyclic factors.
    Raises ValueError for any other group.
    """
    orders = cyclic_orders("addition_table", group)
    d = math.prod(orders)
    x, y = np.divmod(np.arange(d * d), d)
    all_elements = elements(orders)
    total = np.ravel_multi_index(tuple(((all_elements[x] + all_elements[y]) % orders).T), orders)
    return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(total)


def quadratic(
    A: Float[Tensor, "nodes d"],
    B: Float[Tensor, "nodes d"],
    C: Float[Tensor, "nodes d"],
    x: Int[Tensor, "*batch"],
    y: Int[Tensor, "*batch"],
) -> Float[Tensor, "*batch d"]:
    """The network as a function: Σ_j C_j[s] (A_j[x] + B_j[y])² for every s. Source: arXiv:2410.01779, section 3."""
    return (A.T[x] + B.T[y]).square() @ C


def addition_loss(output: Float[Tensor, "*batch d"], total: Int[Tensor, "*batch"]) -> Float[Tensor, ""]:
    """The mean over the batch of |P o - P e|², e one at the sum, P taking the mean over s away.

    Source: arXiv:2410.01779, section 3.
    """
    error = output - torch.nn.functional.one_hot(total, output.shape[-1])
    return (error - error.mean(-1, keepdim=True)).square().sum(-1).mean()


class QuadraticNet(torch.nn.Module):
    """One hidden layer of squares: o(x, y)[s] = Σ_j C_j[s] (A_j[x] + B_j[y])², for x, y, s among `order` elements.

    Parameters A, B and C are [hidden, order]. Raises ValueError unless both sizes are positive.
    Source: arXiv:2410.01779, section 3.
    """

    def __init__(self, order: int, hidden: int, *, generator: torch.Generator | None = None):
        super().__init__()
        if order < 1 or hidden < 1:
            raise ValueError(f"QuadraticNet: order and hidden must be positive, got {order} and {hidden}")

        def weight(bound: float) -> torch.nn.Parameter:
            return torch.nn.Parameter((2 * torch.rand(hidden, order, generator=generator) - 1) * bound)

        self.A, self.B = weight((2 * order) ** -0.5), weight((2 * order) ** -0.5)
        self.C = weight(hidden**-0.5)

    def forward(self, x: Int[Tensor, "*batch"], y: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch order"]:
        """Numbers of two elements to a score for every element; the largest is the network's answer."""
        return quadratic(self.A, self.B, self.C, x, y)
