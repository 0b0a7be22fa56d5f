"""Points that push and pull each other: exact data for networks of points, made in seconds from a seed."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..groups import E
from ..reps import Action, Invariant, Nested, Points, Vectors
from .integrate import PairForces, exact, leapfrog, pairs

CLOSEST = 0.02  # points without softening that pass nearer than this are not taken by the exact integrator
SPEED = 0.5  # of every point at the start

# Normal numbers [extra and more, systems] -> charges [n, systems], strengths [pairs, systems], forces.
Draw = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, PairForces]]


@dataclass(frozen=True, eq=False)
class Motion:
    """Recorded motions of systems of n points of mass 1, float64.

    charges: what a point carries: ±1, a mass, or 1. strengths: of each pair, the product of its charges, or 1 where
    there is a spring and 0 where not. start: positions and velocities [systems, n, 3] at time 0, which no frame holds.
    clipped: whether the published bound on forces was met: such a motion conserves nothing and may not turn with its
    start.
    """

    times: Float[Tensor, " frames"]
    positions: Float[Tensor, "systems frames n 3"]
    velocities: Float[Tensor, "systems frames n 3"]
    charges: Float[Tensor, "systems n"]
    strengths: Float[Tensor, "systems n n"]
    clipped: Bool[Tensor, " systems"]
    start: tuple[Tensor, Tensor] = field(repr=False)
    forces: PairForces = field(repr=False)

    @property
    def rep_in(self) -> Action:
        """How E(3) moves the inputs of a task: a dict of positions, velocities, charges and strengths."""
        moving = {"positions": Points(E(3)), "velocities": Vectors(E(3))}
        return Nested({**moving, "charges": Invariant(), "strengths": Invariant()})

    @property
    def rep_out(self) -> Action:
        """How E(3) moves the target of a task."""
        return Points(E(3))

    def __len__(self) -> int:
        return len(self.positions)

    def task(
        self, now: int = 30, then: int = 40, *, dtype: torch.dtype = torch.float32
    ) -> tuple[dict[str, Tensor], Float[Tensor, "systems n 3"]]:
        """From frame `now` to the positions of frame `then`: inputs, moved by `rep_in`, and targets, by `rep_out`.

        Raises ValueError for frames that were not recorded.
        """
        frames = self.positions.shape[1]
        if not (0 <= now < frames and 0 <= then < frames):
            raise ValueError(f"Motion.task: there are frames 0..{frames - 1}, asked for {now} and {then}")
        inputs = {"positions": self.positions[:, now], "velocities": self.velocities[:, now]}
        inputs |= {"charges": self.charges, "strengths": self.strengths}
        return {name: x.to(dtype) for name, x in inputs.items()}, self.positions[:, then].to(dtype)

    def energy(self) -> Float[Tensor, "systems frames"]:
        """Kinetic and potential energy of every frame. The published leap-frog keeps x and v half a step apart."""
        potential = [self.forces.energy(x.permute(2, 1, 0).numpy()) for x in self.positions.unbind(1)]
        kinetic = self.velocities.square().sum((2, 3)) / 2
        return kinetic + torch.from_numpy(np.stack(potential, 1)) if potential else kinetic

    def momentum(self) -> Float[Tensor, "systems frames 3"]:
        """The total momentum of every frame."""
        return self.velocities.sum(2)

    def angular_momentum(self) -> Float[Tensor, "systems frames 3"]:
        """The total angular momentum about the origin, of every frame."""
        return torch.linalg.cross(self.positions, self.velocities).sum(2)


def charged(
    n_systems: int,
    n: int = 5,
    *,
    steps: int = 5000,
    dt: float = 1e-3,
    every: int = 100,
    seed: int,
    integrator: str = "published",
    softening: float = 0.0,
) -> Motion:
    """Charges ±1, each with probability ½: the n-body problem of the papers on equivariant networks.

    x ~ N(0, (n/5)^(2/3)), velocities of norm 0.5, force on i Σ_j q_i q_j (x_i - x_j) / |x_i - x_j|³. Frame f is time
    `dt * every * (f + 1)`, (steps - 1) // every frames in all: 49. The task is frames 30 to 40, with every=500 6 to 8,
    out of distribution 20 to 30. About half of the published trajectories meet the bound on forces.
    integrator: "published", leap-frog with every component of a force within ±100; "exact", no bound, energy and
    momenta kept to 1e-6, and motions in which two points pass nearer than 0.02 are replaced by the next ones.
    seed: the first systems are the same for every n_systems; give training and test sets different seeds.
    Raises ValueError for no points, negative counts, or another integrator.
    Source: arXiv:2102.09844, section 5.1.
    """

    def draw(normal: np.ndarray) -> tuple[np.ndarray, np.ndarray, PairForces]:
        q = np.where(normal[:n] < 0, -1.0, 1.0)
        i, j, _ = pairs(n)
        return q, q[i] * q[j], PairForces("coulomb", q[i] * q[j], softening)

    run = _Run("charged", n_systems, n, steps, dt, every, seed, integrator)
    return run.motion(draw, extra=n, spread=(n / 5) ** (1 / 3), closest=0.0 if softening else CLOSEST)


def springs(
    n_systems: int,
    n: int = 5,
    *,
    steps: int = 5000,
    dt: float = 1e-3,
    every: int = 100,
    seed: int,
    integrator: str = "published",
) -> Motion:
    """Points of which every pair is joined by a spring with probability ½, F = -0.1 (x_i - x_j), x ~ N(0, 0.5²).

    The rest as in `charged`. Raises as `charged` does. Source: arXiv:1802.04687, section 5.1.
    """
    joints = max(n, 0) * (max(n, 0) - 1) // 2

    def draw(normal: np.ndarray) -> tuple[np.ndarray, np.ndarray, PairForces]:
        k = np.where(normal[:joints] < 0, 0.0, 1.0)
        return np.ones((n, normal.shape[1])), k, PairForces("spring", 0.1 * k)

    run = _Run("springs", n_systems, n, steps, dt, every, seed, integrator)
    return run.motion(draw, extra=joints, spread=0.5, closest=0.0)


def gravity(
    n_systems: int,
    n: int = 5,
    *,
    steps: int = 5000,
    dt: float = 1e-3,
    every: int = 100,
    seed: int,
    integrator: str = "published",
    softening: float = 0.1,
) -> Motion:
    """Masses 1 that attract: F = Σ_j (x_j - x_i) / (|x_i - x_j|² + softening²)^(3/2), for 5 to 100 points.

    x, velocities and the rest as in `charged`; publications differ in these settings. Raises as `charged` does.
    """

    def draw(normal: np.ndarray) -> tuple[np.ndarray, np.ndarray, PairForces]:
        one = np.ones((len(pairs(n)[0]), normal.shape[1]))
        return np.ones((n, normal.shape[1])), one, PairForces("coulomb", -one, softening)

    run = _Run("gravity", n_systems, n, steps, dt, every, seed, integrator)
    return run.motion(draw, extra=0, spread=(n / 5) ** (1 / 3), closest=0.0 if softening else CLOSEST)


@dataclass(frozen=True)
class _Run:
    """What every kind of motion is asked for."""

    name: str
    n_systems: int
    n: int
    steps: int
    dt: float
    every: int
    seed: int
    integrator: str

    def __post_init__(self):
        if min(self.n, self.steps, self.every) < 1 or self.n_systems < 0 or not self.dt > 0:
            raise ValueError(
                f"{self.name}: needs n, steps, every of at least 1, dt > 0 and n_systems >= 0, got n={self.n}, "
                f"steps={self.steps}, every={self.every}, dt={self.dt}, n_systems={self.n_systems}"
            )
        if self.integrator not in ("published", "exact"):
            raise ValueError(f"{self.name}: integrator must be 'published' or 'exact', got {self.integrator!r}")

    def motion(self, draw: Draw, *, extra: int, spread: float, closest: float) -> Motion:
        """Draw systems, `extra` normal numbers for each besides positions and velocities, and let them move."""
        n, rng = self.n, np.random.default_rng(self.seed)
        times = self.dt * self.every * np.arange(1, (self.steps - 1) // self.every + 1)
        found: list[tuple[np.ndarray, ...]] = []
        missing = self.n_systems
        while missing or not found:
            normal = np.ascontiguousarray(rng.standard_normal((missing, extra + 6 * n)).T)
            charges, strengths, forces = draw(normal)
            x = spread * normal[extra : extra + 3 * n].reshape(3, n, -1)
            v = normal[extra + 3 * n :].reshape(3, n, -1)
            v = v * (SPEED / np.linalg.norm(v, axis=0))
            if self.integrator == "published":
                moved = leapfrog(forces, x, v, steps=self.steps, dt=self.dt, every=self.every)
                kept = np.ones(missing, bool)
            else:
                moved = exact(forces, x, v, times=times, closest=closest)
                kept = ~moved.mark
            parts = (x, v, moved.x, moved.v, charges, strengths, forces.strength, moved.mark)
            found.append(tuple(part[..., kept] for part in parts))
            missing -= int(kept.sum())
        x, v, *frames, charges, strengths, strength, mark = (np.concatenate(part, -1) for part in zip(*found))
        matrix = np.zeros((n, n, self.n_systems))
        i, j, _ = pairs(n)
        matrix[i, j] = matrix[j, i] = strengths
        return Motion(
            torch.from_numpy(times),
            *(_tensor(part, 3, 0, 2, 1) for part in frames),
            _tensor(charges, 1, 0),
            _tensor(matrix, 2, 0, 1),
            torch.from_numpy(mark),
            (_tensor(x, 2, 1, 0), _tensor(v, 2, 1, 0)),
            PairForces(forces.law, strength, forces.softening),
        )


def _tensor(array: np.ndarray, *axes: int) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(axes)))
