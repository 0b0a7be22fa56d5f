"""How many systems of points move at once: forces between pairs, the published leap-frog, and an exact integrator.

Arrays are NumPy float64 [d, n, systems], so that every operation runs over systems in one sweep.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

CLIP = 100.0  # the published bound on each component of a force
ORDER = 8  # columns of the extrapolation: the exact integrator is of order 16
TOLERANCE = 1e-12  # of one step, relative to the largest coordinate or speed, at least 1
WORK = 1 << 15  # pairs times systems in one sweep: its arrays stay in cache


@lru_cache(maxsize=64)
def pairs(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs i < j of n points, and the matrix [n, pairs] that adds what acts on a pair to i and takes it from j."""
    i, j = np.triu_indices(n, 1)
    incidence = np.zeros((n, len(i)))
    incidence[i, np.arange(len(i))] = 1.0
    incidence[j, np.arange(len(i))] = -1.0
    return i, j, incidence


@dataclass(frozen=True)
class PairForces:
    """Forces between all pairs of points, with unit masses: `law` "coulomb" or "spring".

    strength [pairs, systems] is s of the energy of a pair at distance r: s / sqrt(r² + softening²), repulsive for
    positive s, or s r² / 2.
    """

    law: str
    strength: Float[np.ndarray, "pairs systems"]
    softening: float = 0.0

    def __getitem__(self, systems) -> "PairForces":
        return PairForces(self.law, self.strength[:, systems], self.softening)

    def __call__(self, x: Float[np.ndarray, "d n systems"]) -> tuple[np.ndarray, np.ndarray]:
        """The force on every point [d, n, systems], and the least squared distance of two points [systems]."""
        i, j, incidence = pairs(x.shape[1])
        r = x.take(i, 1)
        r -= x.take(j, 1)
        square = np.einsum("dps,dps->ps", r, r)
        nearest = square.min(0, initial=np.inf)
        if self.law == "spring":
            r *= -self.strength
        else:
            square += self.softening**2
            r *= self.strength / (square * np.sqrt(square))
        return incidence @ r, nearest

    def energy(self, x: Float[np.ndarray, "d n systems"]) -> Float[np.ndarray, " systems"]:
        """The potential energy of every system."""
        i, j, _ = pairs(x.shape[1])
        square = np.square(x[:, i] - x[:, j]).sum(0)
        if self.law == "spring":
            return (self.strength * square).sum(0) / 2
        return (self.strength / np.sqrt(square + self.softening**2)).sum(0)


@dataclass(frozen=True)
class Frames:
    """What was recorded of each system: x, v [frames, d, n, systems], and a mark whose sense is the maker's."""

    x: np.ndarray
    v: np.ndarray
    mark: Bool[np.ndarray, " systems"]


def blocks(n: int, systems: int) -> Iterator[slice]:
    """Systems in sweeps of about WORK pairs."""
    size = max(1, WORK // max(1, n * (n - 1) // 2))
    return (slice(start, start + size) for start in range(0, systems, size))


def leapfrog(forces: PairForces, x: np.ndarray, v: np.ndarray, *, steps: int, dt: float, every: int) -> Frames:
    """The published integrator: v += dt F, then x += dt v and v += dt F in turn, each component of F within ±CLIP.

    Frame f holds x after step `every * (f + 1)`, and the v that brought it there. mark: the bound was met. Source:
    arXiv:2102.09844, section 5.1, and its published generator.
    """
    count = (steps - 1) // every
    found_x, found_v = (np.empty((count, *x.shape)) for _ in range(2))
    mark = np.zeros(x.shape[-1], bool)
    for block in blocks(x.shape[1], x.shape[-1]):
        at, speed, force = x[..., block].copy(), v[..., block].copy(), forces[block]

        def kick(block=block, at=at, speed=speed, force=force):
            push, _ = force(at)
            bound = max(push.max(initial=0.0), -push.min(initial=0.0)) > CLIP
            if bound:
                mark[block] |= (np.abs(push) > CLIP).any((0, 1))
                np.clip(push, -CLIP, CLIP, out=push)
            push *= dt
            speed += push

        kick()
        for step in range(1, count * every + 1):
            at += dt * speed
            if step % every == 0:
                found_x[step // every - 1][..., block] = at
                found_v[step // every - 1][..., block] = speed
            kick()
    return Frames(found_x, found_v, mark)


def exact(forces: PairForces, x: np.ndarray, v: np.ndarray, *, times: np.ndarray, closest: float) -> Frames:
    """The motion at increasing `times` from 0, each system with its own steps, to about TOLERANCE a step.

    Velocity Verlet with 1..ORDER parts of a step, extrapolated in the square of the part. mark: two points came nearer
    than `closest`; from there on the system is not followed, and its frames are NaN.
    Source: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section II.14.
    """
    found_x, found_v = (np.full((len(times), *x.shape), np.nan) for _ in range(2))
    mark = np.zeros(x.shape[-1], bool)
    for block in blocks(x.shape[1], x.shape[-1]):
        _follow(forces[block], x[..., block], v[..., block], times, closest, *_views(block, found_x, found_v, mark))
    return Frames(found_x, found_v, mark)


def _views(block: slice, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(array[..., block] for array in arrays)


def _follow(forces: PairForces, x, v, times, closest, found_x, found_v, mark) -> None:
    """`exact` for one block, into found_x, found_v and mark."""
    state, t = np.stack([x, v]), np.zeros(x.shape[-1])
    step = np.full(x.shape[-1], times[0] if len(times) else 0.0)
    for frame, end in enumerate(times):
        going = np.flatnonzero(~mark)
        while len(going):
            h = np.minimum(step[going], end - t[going])
            moved, error, nearest = _extrapolate(forces[going], *state[..., going], h)
            fine = error <= 1.0
            done = going[fine]
            state[..., done] = moved[..., fine]
            last = h[fine] >= end - t[done]
            t[done] = np.where(last, end, t[done] + h[fine])
            mark[done] |= nearest[fine] < closest**2
            # A step cut short by a frame says nothing against the longer one.
            wanted = h * np.clip(0.8 * np.maximum(error, 1e-16) ** (-1 / (2 * ORDER - 1)), 0.2, 3.0)
            step[going] = np.where(fine, np.maximum(wanted, step[going] * (h < step[going])), wanted)
            going = going[(t[going] < end) & ~mark[going]]
        found_x[frame][..., ~mark], found_v[frame][..., ~mark] = state[..., ~mark]


def _extrapolate(forces: PairForces, x, v, h) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One step h [systems]: the state [2, d, n, systems], its error over what is allowed, and the least distance²."""
    start, nearest = forces(x)
    row: list[np.ndarray] = []
    for k in range(1, ORDER + 1):
        part, at, speed, push = h / k, x.copy(), v + 0.5 * h / k * start, start
        for substep in range(k):
            at += part * speed
            push, near = forces(at)
            nearest = np.minimum(nearest, near)
            speed += (0.5 if substep == k - 1 else 1.0) * part * push
        value, new = np.stack([at, speed]), []
        for m, coarser in enumerate(row, start=1):  # Aitken-Neville in h²
            new.append(value)
            value = value + (value - coarser) / ((k / (k - m)) ** 2 - 1)
        row = [*new, value]
    size = np.maximum(np.abs(row[-1]).max((0, 1, 2), initial=0.0), 1.0)
    error = np.abs(row[-1] - row[-2]).max((0, 1, 2), initial=0.0) / (TOLERANCE * size)
    return row[-1], np.nan_to_num(error, nan=np.inf), nearest
