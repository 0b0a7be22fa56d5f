"""Stabiliser chains: a permutation group as a tower of orbits, so that order, membership and samples need no list."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

QUIET = 16  # random elements in a row that a chain must know before it is verified


@dataclass(frozen=True, eq=False)
class Chain:
    """The chain of a permutation group of n points along the base 0, 1, .., n-1, points that do not move left out.

    Level i: `carriers[i]` int64 [k, n] are elements that fix every point below `base[i]` and send base[i] to each point
    of its orbit `orbits[i]`, ascending, the identity first; each is the lexicographically least such element. So equal
    groups have equal chains, and every element is one product t_0 t_1 .. of carriers, one from each level.
    """

    n: int
    base: tuple[int, ...]
    orbits: tuple[np.ndarray, ...]
    carriers: tuple[np.ndarray, ...]

    @cached_property
    def order(self) -> int:
        """Number of elements."""
        return math.prod(len(orbit) for orbit in self.orbits)

    @cached_property
    def generators(self) -> np.ndarray:
        """Strong generators, int64 [r, n], r < n: carriers, from the last level up, to points not reached before."""
        chosen: list[np.ndarray] = []
        for point, orbit, carriers in zip(self.base[::-1], self.orbits[::-1], self.carriers[::-1]):
            reached = _reached(point, chosen, self.n)
            level: list[np.ndarray] = []
            for j, carrier in zip(orbit, carriers):
                if not reached[j]:
                    level.append(carrier)
                    reached = _reached(point, [*level, *chosen], self.n)
            chosen = [*level, *chosen]
        return np.array(chosen, dtype=np.int64).reshape(-1, self.n)


def strong_chain(n: int, strong: np.ndarray) -> Chain:
    """The chain of a strong generating set: those that fix 0..i-1 generate the stabiliser of 0..i-1, for every i."""
    levels = _Levels(n, strong)
    base = tuple(sorted(levels.orbits))
    carriers: list[np.ndarray] = []
    for i in reversed(range(len(base))):
        least = levels.rows[base[i]][levels.orbits[base[i]]]
        for deeper, below in zip(base[i + 1 :], reversed(carriers)):
            # among the elements that agree so far, the one with the least image of the next point
            images = least[:, levels.orbits[deeper]]
            least = np.take_along_axis(least, below[images.argmin(1)], 1)
        carriers.append(least)
    return Chain(n, base, tuple(levels.orbits[b] for b in base), tuple(reversed(carriers)))


def schreier_sims(images: np.ndarray) -> Chain:
    """The chain of the group that permutations int64 [r, n] generate: a random search, then verified exactly.

    A chain is complete when every Schreier generator of every level is a product of carriers of the levels below, or
    when it has as many elements as there are permutations (even ones) that keep the orbits.
    """
    n, most = images.shape[1], _most(images)
    draw = _random_products(images, np.random.default_rng(0))
    levels = _Levels(n, images)
    while True:
        quiet = 0
        while levels.order < most and quiet < QUIET:
            residue = levels.sift(next(draw)[None])
            quiet = 0 if len(residue) else quiet + 1
            levels.add(residue)
        found = strong_chain(n, levels.strong)
        if found.order == most:
            return found
        # the random strong generators are many; the canonical ones are few, and must give back what was asked for
        levels = _Levels(n, found.generators)
        missing = levels.sift(images)
        missing = missing if len(missing) else levels.gap()
        if not len(missing):
            return found
        levels.add(missing)


class _Levels:
    """A chain under construction: for each base point its orbit, and some element for each point of it."""

    def __init__(self, n: int, strong: np.ndarray):
        self.n = n
        self.strong = np.zeros((0, n), dtype=np.int64)
        self.orbits: dict[int, np.ndarray] = {}
        self.rows: dict[int, np.ndarray] = {}  # row j is a carrier to j
        self.inverses: dict[int, np.ndarray] = {}
        self.add(strong)

    @property
    def order(self) -> int:
        return math.prod(len(orbit) for orbit in self.orbits.values())

    def add(self, images: np.ndarray) -> None:
        """More strong generators; orbits grow where they must."""
        images = images[(images != np.arange(self.n)).any(1)]
        if not len(images):
            return
        self.strong = np.concatenate([self.strong, images])
        first = (self.strong != np.arange(self.n)).argmax(1)
        for point in set(first.tolist()):
            own = self.strong[first >= point]
            if point in self.orbits:
                inside = np.zeros(self.n, dtype=bool)
                inside[self.orbits[point]] = True
                if inside[own[:, self.orbits[point]]].all():
                    continue
            self.orbits[point], self.rows[point] = _carried(point, own, self.n)
            self.inverses[point] = np.zeros_like(self.rows[point])
            np.put_along_axis(self.inverses[point], self.rows[point], np.arange(self.n)[None], 1)

    def sift(self, images: np.ndarray, above: int = -1) -> np.ndarray:
        """Strip carriers of the levels after point `above` off permutations [k, n]; those that leave a residue."""
        residue = images
        for point in sorted(self.orbits):
            if point > above:
                target = residue[:, point]
                inside = np.zeros(self.n, dtype=bool)
                inside[self.orbits[point]] = True
                if not inside[target].all():
                    return residue[~inside[target]][:1]
                residue = np.take_along_axis(self.inverses[point][target], residue, 1)
        return residue[(residue != np.arange(self.n)).any(1)][:1]

    def gap(self) -> np.ndarray:
        """One residue [1, n] of a Schreier generator that the levels below do not know; none where all are known."""
        first = (self.strong != np.arange(self.n)).argmax(1)
        for point in sorted(self.orbits, reverse=True):
            carriers = self.rows[point][self.orbits[point]]
            for generator in self.strong[first >= point]:
                moved = generator[carriers]
                schreier = np.take_along_axis(self.inverses[point][moved[:, point]], moved, 1)
                residue = self.sift(schreier, point)
                if len(residue):
                    return residue
        return self.strong[:0]


def _carried(point: int, strong: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The orbit of a point, ascending, and [n, n] whose row j is a product of generators that carries point to j."""
    rows = np.tile(np.arange(n), (n, 1))
    known = np.zeros(n, dtype=bool)
    known[point] = True
    frontier = np.array([point])
    while len(frontier):
        reached = []
        for g in strong:
            images = g[frontier]
            fresh = ~known[images]
            if fresh.any():
                rows[images[fresh]] = g[rows[frontier[fresh]]]
                known[images[fresh]] = True
                reached.append(images[fresh])
        frontier = np.concatenate(reached) if reached else frontier[:0]
    return np.flatnonzero(known), rows


def _reached(point: int, generators: list[np.ndarray], n: int) -> np.ndarray:
    """The orbit of a point as a mask [n]."""
    known = np.zeros(n, dtype=bool)
    known[point] = True
    images = np.array(generators, dtype=np.int64).reshape(-1, n)
    size = 0
    while size < (size := int(known.sum())):
        known[images[:, known]] = True
    return known


def orbits(images: np.ndarray) -> list[np.ndarray]:
    """The orbits of the points 0..n-1 under permutations [r, n], by smallest point."""
    left, found = np.ones(images.shape[1], dtype=bool), []
    while left.any():
        orbit = _reached(int(left.argmax()), list(images), images.shape[1])
        found.append(np.flatnonzero(orbit))
        left &= ~orbit
    return found


def is_even(image: np.ndarray) -> bool:
    """Whether a permutation [n] is even: n minus its number of cycles is."""
    return (len(image) - len(orbits(image[None]))) % 2 == 0


def _most(images: np.ndarray) -> int:
    """The order of the group of all permutations that keep the orbits, of the even ones where all generators are."""
    keep = math.prod(math.factorial(len(orbit)) for orbit in orbits(images))
    return keep // 2 if keep > 1 and all(map(is_even, images)) else keep


def _random_products(images: np.ndarray, rng: np.random.Generator):
    """Nearly uniform elements of the generated group, by product replacement."""
    n = images.shape[1]
    pool = [images[i % len(images)] for i in range(max(10, len(images) + 1))] if len(images) else [np.arange(n)] * 2
    total = np.arange(n)
    step = 0
    while True:
        i, j = rng.choice(len(pool), 2, replace=False)
        other = pool[j] if rng.random() < 0.5 else pool[j].argsort()
        pool[i] = pool[i][other] if rng.random() < 0.5 else other[pool[i]]
        total = total[pool[i]]
        step += 1
        if step > 60:
            yield total
