"""Which of the known solutions a trained network holds, frequency by frequency."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float
from torch import Tensor

from .addition import Abelian, characters, cyclic_orders, frequencies

ACTIVE = 0.1  # a node weaker than this part of the strongest is counted as unused

Nodes = Complex[np.ndarray, "*orders 3 nodes"]


@dataclass(frozen=True)
class Part:
    """What a network holds at one frequency.

    frequency: one number for each cyclic factor; the conjugate frequency is not listed. nodes: the hidden nodes that
    use it more than any other. kind: "order6" (syn * nu(v)), "order4" (nu(i) * xi(x, sign)), "order6ab"
    (syn(alpha, beta) * nu(i)), "real" (two nodes of a character that is its own conjugate) or "other"; "order6" where
    it could be either. error: distance to the nearest solution of that kind (for "other": of any kind of as many nodes,
    else infinite), as the root mean square over the coefficients, which are 1 in size.
    parameter: v of order6 or x of order4 (of sign i), with the angle in [0, π/6] and in [0, π/2), among all values that
    give the same function; else None.
    purity: the smallest, over the nodes, of the part of A and B at this frequency (the mean apart), in squares.
    """

    frequency: tuple[int, ...]
    nodes: tuple[int, ...]
    kind: str
    error: float
    parameter: complex | None
    purity: float


def decompose(
    A: Float[Tensor, "nodes d"],
    B: Float[Tensor, "nodes d"],
    C: Float[Tensor, "nodes d"],
    group: Abelian | None = None,
    *,
    tol: float = 0.1,
) -> list[Part]:
    """One `Part` for each frequency of the group, also for those that the network does not use.

    group: Cyclic(n), a product of such, or the orders of its cyclic factors; None for Cyclic(d).
    tol: a frequency whose error is larger is "other". Nodes of a tenth of the strongest or less are left out.
    A solution counts as the same after a change of phase of a, b and c by factors of product 1, after scaling a node by
    (r, r, 1/r²), in any order of nodes, and as the conjugate.
    Raises ValueError where the weights differ in shape, are not finite, or their second axis is not the order of the
    group.
    Source: arXiv:2410.01779, section 7 and appendix; errors here are distances to the nearest solution.
    """
    if not A.shape == B.shape == C.shape or A.ndim != 2:
        shapes = ", ".join(str(list(part.shape)) for part in (A, B, C))
        raise ValueError(f"decompose: A, B and C must be [nodes, d] alike, got {shapes}")
    orders = cyclic_orders("decompose", [A.shape[1]] if group is None else group)
    if math.prod(orders) != A.shape[1]:
        raise ValueError(f"decompose: the group has {math.prod(orders)} elements, the weights are of {A.shape[1]}")
    weights = [part.detach().double().cpu().numpy() for part in (A, B, C)]
    if not all(np.isfinite(part).all() for part in weights):
        raise ValueError("decompose: the weights must be finite")
    k = frequencies(orders)
    z, share = _coefficients(weights, characters(orders, k))
    strength = np.abs(z).prod(0) ** (1 / 3)
    mine = share.argmax(0)
    at_mine = np.take_along_axis(strength, mine[None], 0)[0]
    active = at_mine > ACTIVE * at_mine.max(initial=0)
    real = ((2 * k) % orders == 0).all(1)
    parts = []
    for j, frequency in enumerate(k):
        nodes = np.flatnonzero(active & (mine == j))
        kind, error, parameter = _nearest(_normal(z[:, j, nodes]), bool(real[j]))
        if error > tol:
            kind, parameter = "other", None
        purity = float(share[j, nodes].min(initial=1))
        parts.append(Part(tuple(map(int, frequency)), tuple(map(int, nodes)), kind, error, parameter, purity))
    return parts


def _coefficients(weights: list[np.ndarray], chi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fourier coefficients [3, frequencies, nodes], and the part of A and B at each frequency [frequencies, nodes]."""
    d = chi.shape[1]
    z = np.stack([wave @ part.T / d for wave, part in zip((chi.conj(), chi.conj(), chi), weights)])
    pair = 2 - np.isclose(chi.imag, 0).all(1)  # a frequency and its conjugate, but for a real character
    power = pair[:, None] * np.square(np.abs(z[:2])).sum(0)
    return z, power / np.maximum(power.sum(0), np.finfo(float).tiny)


def _normal(z: np.ndarray) -> np.ndarray:
    """Scale each node by (r, r, 1/r²) until |c|³ = |abc|, and all of them to 1 on average."""
    size = np.abs(z).prod(0) ** (1 / 3)
    r = np.sqrt(np.abs(z[2]) / size)
    return z * np.stack([r, r, r**-2]) / size.mean() if z.shape[1] else z


def _nearest(z: np.ndarray, real: bool) -> tuple[str, float, complex | None]:
    """Kind, error and parameter of the nearest solution with as many nodes."""
    q = z.shape[1]
    if real and q == 2:
        signs = np.array([[1, 1], [1, -1], [1, -1]])
        return "real", float(_distance(_arranged(z), signs).min()), None
    if real or q not in (4, 6):
        return "other", math.inf, None
    z = _arranged(z)
    if q == 4:
        error, phase = _pairs(z, 1j)
        best = error.argmin()
        # i x is as good as x: it swaps the two nodes of nu(i). Of the two signs, i can be had by the order of nodes.
        return "order4", float(error[best]), _on_circle(np.angle(phase[best, 1] / phase[best, 0]) / 2 % (np.pi / 2))
    error6, v = _order6(z)
    error6ab, _ = _pairs(z, np.exp(2j * np.pi / 3))
    if error6ab.min() < error6.min() - 1e-9:
        return "order6ab", float(error6ab.min()), None
    best = error6.argmin()
    turn = np.angle(v[best]) % (np.pi / 3)  # ω v, -v and 1/v (with other phases of a, b, c) are as good as v
    return "order6", float(error6[best]), _on_circle(min(turn, np.pi / 3 - turn))


def _arranged(z: np.ndarray) -> np.ndarray:
    """The nodes in every order, [orders, 3, nodes]."""
    return np.stack([z[:, list(order)] for order in itertools.permutations(range(z.shape[1]))])


# In each of these solutions abc = 1 at every node, so c and a² say all but the sign that a and b share, which the
# function does not depend on. Below, m = 0, 1 counts the nodes of nu, i those of syn or xi.


def _order6(z: Nodes) -> tuple[np.ndarray, np.ndarray]:
    """Distances to syn * nu(v), and v: c = γ_m ω^i and a² = (-1)^m K / c, phases γ_0, γ_1 and K free."""
    z = z.reshape(-1, 3, 2, 3)
    step = np.exp(2j * np.pi / 3 * np.arange(3))
    sign = np.array([[1], [-1]])
    gamma = _phase((z[:, 2] * step.conj()).sum(-1))
    c = gamma[..., None] * step
    K = _phase((sign * (z[:, 0] ** 2 * c + (z[:, 1] ** 2 * c).conj())).sum((-1, -2)))
    return _distance(z, _model(c, sign * K[:, None, None] / c)), np.sqrt(-gamma[:, 0] / gamma[:, 1])


def _pairs(z: Nodes, step: complex) -> tuple[np.ndarray, np.ndarray]:
    """Distances to solutions with the factor nu(i), and A: c = γ step^i and a² = (-1)^m A_i, phases γ and A_i free."""
    z = z.reshape(len(z), 3, -1, 2)
    steps = step ** np.arange(z.shape[2])[:, None]
    sign = np.array([1, -1])
    c = _phase((z[:, 2] * steps.conj()).sum((-1, -2)))[:, None, None] * steps * np.ones(2)
    A = _phase((sign * (z[:, 0] ** 2 + (z[:, 1] ** 2 * c**2).conj())).sum(-1))
    return _distance(z, _model(c, sign * A[..., None])), A


def _model(c: np.ndarray, a_squared: np.ndarray) -> np.ndarray:
    a = np.sqrt(a_squared)
    return np.stack([a, 1 / (a * c), c], 1)


def _distance(z: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Root mean square difference for each order of the nodes, the better sign of a and b at every node."""
    flipped = model * np.array([-1, -1, 1]).reshape(3, *[1] * (z.ndim - 2))
    square = np.minimum(*(np.square(np.abs(z - one)).sum(1) for one in (model, flipped)))
    return np.sqrt(square.reshape(len(z), -1).mean(-1) / 3)


def _phase(z: np.ndarray) -> np.ndarray:
    size = np.abs(z)
    return np.where(size > 0, z, 1) / np.where(size > 0, size, 1)


def _on_circle(angle: float) -> complex:
    return complex(np.exp(1j * angle))
