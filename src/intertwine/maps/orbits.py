"""When a group only permutes components (up to sign), its invariants are sums over orbits: exact, no linear algebra."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..groups import Group
from ..groups.group import Element
from ..reps import Factor


def signed_images(factor: Factor, g: Element) -> tuple[np.ndarray, np.ndarray]:
    """Where elements g send each component of a signed permutation factor, and with which sign: two arrays [k, dim]."""
    if factor.is_permutation:
        images = factor.permutation(g).numpy()
        return images, np.ones_like(images)
    matrices = factor.matrix(g).numpy()
    images = np.abs(matrices).argmax(-2)
    signs = np.take_along_axis(matrices, images[..., None, :], -2)[..., 0, :]
    return images, np.sign(signs).astype(np.int64)


def product_images(
    group: Group, factors: tuple[Factor, ...], g: Element, index: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The same for a tensor product of factors and the element number `index` of a batch; no signs where all are +1."""
    images, signs = np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64)
    for factor in factors:
        p, s = signed_images(factor, group.take(g, index))
        images = (images[:, None] * factor.dim + p).reshape(-1)
        if not factor.is_permutation:
            signs = (signs[:, None] * s).reshape(-1)
        elif len(signs) > 1 or signs[0] < 0:
            signs = np.repeat(signs, factor.dim)
    plain = len(signs) == 1 and signs[0] > 0
    return images, None if plain else np.broadcast_to(signs, images.shape)


def orbits(images: list[np.ndarray], N: int) -> np.ndarray:
    """Orbit of each of N points under permutations given by their images, numbered by first appearance: int64 [N]."""
    points = np.arange(N)
    ends = np.concatenate([points, *images])
    starts = np.tile(points, len(images) + 1)
    graph = coo_array((np.ones(len(ends), dtype=np.int8), (starts, ends)), shape=(N, N))
    return by_first_appearance(connected_components(graph, directed=False)[1])


def signed_orbits(images: list[np.ndarray], signs: list[np.ndarray], N: int) -> tuple[np.ndarray, np.ndarray]:
    """Orbit and sign of each of N points under signed permutations, relative to the first point of the orbit.

    A point that some element sends to its own negative carries no invariant: orbit -1, sign 0.
    """
    doubled = []
    for image, sign in zip(images, signs):
        flipped = np.where(sign > 0, 0, N)
        doubled.append(np.concatenate([image + flipped, image + (N - flipped)]))
    both = orbits(doubled, 2 * N)
    plus, minus = both[:N], both[N:]
    alive = plus != minus
    label = np.where(alive, by_first_appearance(np.minimum(plus, minus), alive), -1)
    # an orbit met first at a point i has plus[i] < minus[i], so the smaller number marks the first point's sign
    return label, np.where(alive, np.where(plus < minus, 1, -1), 0)


def by_first_appearance(label: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
    """Number the values of `label` 0, 1, ... in the order in which they first appear; only where `keep` is true."""
    chosen = label if keep is None else label[keep]
    _, first, inverse = np.unique(chosen, return_index=True, return_inverse=True)
    numbered = first.argsort().argsort()[inverse]
    if keep is None:
        return numbered
    out = np.full(label.shape, -1, dtype=np.int64)
    out[keep] = numbered
    return out
