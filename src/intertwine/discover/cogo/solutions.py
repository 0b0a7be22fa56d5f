"""Weights that add exactly: composed frequency by frequency, with no training."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .addition import Abelian, addition_table, characters, cyclic_orders, frequencies
from .ring import Partial, order4, order6

KINDS = ("6", "4/6", "memorise")
LARGEST = 2**27  # numbers in all weights together, a gigabyte

Weights = tuple[Float[Tensor, "nodes d"], Float[Tensor, "nodes d"], Float[Tensor, "nodes d"]]


def construct(group: Abelian, kind: str = "6", *, generator: torch.Generator | None = None) -> Weights:
    """Weights A, B, C of a `QuadraticNet` of loss 0, float64: each frequency solved on its own, then put together.

    group: Cyclic(n), a product of such, or the orders of its cyclic factors; the order d of the group is their product.
    kind: "6": order6 at each frequency, 3 (d - 1) nodes for odd d. "4/6": order4 at all frequencies but one, order6
    there, where the constant that order4 leaves is taken away; 2 d nodes for odd d. "memorise": one node for each pair
    of elements, d². A real character takes two nodes in the first two.
    generator: draws the free parameters of order4 and order6 from the unit circle; without one they are 1.
    Raises ValueError for another group or kind, and where "memorise" would take more than a gigabyte.
    Source: arXiv:2410.01779, section 5.
    """
    if kind not in KINDS:
        raise ValueError(f"construct: kind must be one of {KINDS}, got {kind!r}")
    orders = cyclic_orders("construct", group)
    d = math.prod(orders)
    if 3 * d * d**2 > LARGEST and kind == "memorise":
        size = 3 * 8 * d**3 / 2**30
        raise ValueError(f"construct: memorising {d}² sums takes {size:.0f} GiB; kinds '6' and '4/6' take d² numbers")
    if kind == "memorise":
        return _memorise(orders)
    k = frequencies(orders)
    real = ((2 * k) % orders == 0).all(1)
    chi = characters(orders, k)
    complex_parts = _partials(int((~real).sum()), kind, generator)
    nodes = [_nodes(part, wave, d) for part, wave in zip(complex_parts, chi[~real])]
    if kind == "4/6" and len(nodes) > 1:
        _absorb_the_constant(nodes)
    nodes += [_real_nodes(wave.real, d) for wave in chi[real]]
    A, B, C = torch.from_numpy(np.concatenate(nodes, axis=1))
    return A, B, C


def _memorise(orders: tuple[int, ...]) -> Weights:
    x, y, total = (torch.nn.functional.one_hot(part).to(torch.float64) for part in addition_table(orders))
    # The squares count x alone and y alone too; over all nodes they add the same to every s.
    return x, y, total / 2


def _partials(count: int, kind: str, generator: torch.Generator | None) -> list[Partial]:
    """A solution for each frequency, the first of order six."""
    if generator is None:
        unit, sign = np.ones(count), np.full(count, 1j)
    else:
        unit = np.exp(2j * np.pi * torch.rand(count, generator=generator, dtype=torch.float64).numpy())
        sign = 1j * (2 * torch.randint(2, (count,), generator=generator).numpy() - 1)
    return [order4(u, s) if kind == "4/6" and j else order6(u) for j, (u, s) in enumerate(zip(unit, sign))]


def _nodes(part: Partial, wave: np.ndarray, d: int) -> Float[np.ndarray, "3 nodes d"]:
    """Real weights of the nodes at one frequency, C with the conjugate character."""
    scaled = 2 * (2 * d * part.nodes) ** (-1 / 3) * part.z[..., None]
    return np.stack([(scaled[0] * wave).real, (scaled[1] * wave).real, (scaled[2] * wave.conj()).real])


def _real_nodes(wave: np.ndarray, d: int) -> Float[np.ndarray, "3 2 d"]:
    """(x + y)² - (x - y)² = 4 x y, for a character of values 1 and -1."""
    t = (4 * d) ** (-1 / 3)
    return t * np.array([[1, 1], [1, -1], [1, -1]])[..., None] * wave


def _absorb_the_constant(nodes: list[np.ndarray]) -> None:
    """Change C of the first frequency, where the squares sum to a constant, against the constants of the others."""
    squares = [np.square(part[:2]).mean(-1).sum(0) for part in nodes]  # mean over x and y of (A + B)², no mixed term
    constant = sum(size @ part[2] for size, part in zip(squares, nodes))
    nodes[0][2] -= constant / squares[0].sum()
