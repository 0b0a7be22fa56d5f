"""Molecular dynamics of many different structures at once: one call of the network moves all of them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intertwine.data.atoms.graph import AtomicBatch
from intertwine.extras import require
from intertwine.nn.segment import segment_sum

from .evaluator import Evaluator, check_forces

Remove = Literal["momentum", "rotation"]


class Verlet:
    """Newton's equations by velocity Verlet (kick, drift, kick), every structure of a batch on its own path.

    model: a `Potential`, or an exported one; batch: structures, from `collate` (edges are made anew); timestep: fs;
    velocities: Å/fs, at rest when not given; skin (Å), compile: see `Evaluator`.
    Attributes, all float64: pos [N, 3] Å (not wrapped), velocities [N, 3] Å/fs, forces [N, 3] eV/Å, energy [G] eV,
    masses [N] amu, steps, time (fs); z, cell, pbc, batch [N] of the structures.
    Raises ValueError for settings that do not fit, elements the model has not seen, and a model whose forces are not
    the derivative of its energy unless `allow_nonconservative`; `run` raises FloatingPointError naming structure and
    time when an energy stops being finite.
    """

    def __init__(
        self,
        model: Any,
        batch: AtomicBatch,
        *,
        timestep: float,
        velocities: Float[Tensor, "n 3"] | None = None,
        skin: float = 0.5,
        compile: bool = False,
        allow_nonconservative: bool = False,
    ):
        job = type(self).__name__
        check_forces(model, job, allow_nonconservative=allow_nonconservative)
        if not (timestep > 0 and math.isfinite(timestep)):
            raise ValueError(f"{job}: timestep must be positive (fs), got {timestep}")
        if velocities is not None and velocities.shape != batch.pos.shape:
            raise ValueError(
                f"{job}: velocities have shape {tuple(velocities.shape)}, positions {tuple(batch.pos.shape)}"
            )
        self.timestep, self.steps = float(timestep), 0
        self.pos = batch.pos.detach().to(torch.float64, copy=True)
        self.z, self.cell, self.pbc, self.batch = batch.z, batch.cell.double(), batch.pbc, batch.batch
        self.masses = masses(batch)
        self.velocities = torch.zeros_like(self.pos) if velocities is None else velocities.detach().to(self.pos)
        self.evaluator = Evaluator(model, skin=skin, compile=compile)
        self._species = model.species_index(batch.z)
        self._unit = acceleration()
        self._evaluate()

    def run(self, steps: int, *, every: int = 1, observe: Callable[[Self], None] | None = None) -> Self:
        """Take steps, and show itself to `observe` at the start of the motion and after each `every` of its steps."""
        if every < 1:
            raise ValueError(f"{type(self).__name__}.run: every must be at least 1, got {every}")
        if observe is not None and self.steps == 0:
            observe(self)
        for _ in range(steps):
            self._step()
            self.steps += 1
            if observe is not None and self.steps % every == 0:
                observe(self)
        return self

    @property
    def time(self) -> float:
        """fs since the start."""
        return self.steps * self.timestep

    @property
    def kinetic_energy(self) -> Float[Tensor, " graphs"]:
        """eV, of each structure."""
        each = 0.5 / self._unit * self.masses * self.velocities.square().sum(1)
        return segment_sum(each, self.batch, len(self.cell))

    @property
    def total_energy(self) -> Float[Tensor, " graphs"]:
        """Kinetic plus potential energy, eV."""
        return self.energy + self.kinetic_energy

    @property
    def temperature(self) -> Float[Tensor, " graphs"]:
        """2 E_kin / (3 N k_B), K: all 3N directions count, as in ASE."""
        atoms = torch.bincount(self.batch, minlength=len(self.cell)).clamp(min=1)
        return 2 * self.kinetic_energy / (3 * atoms * boltzmann())

    def _step(self) -> None:
        self._kick(0.5 * self.timestep)
        self.pos = self.pos + self.timestep * self.velocities
        self._evaluate()
        self._kick(0.5 * self.timestep)

    def _kick(self, time: float) -> None:
        self.velocities = self.velocities + (time * self._unit) * self.forces / self.masses[:, None]

    def _evaluate(self) -> None:
        out = self.evaluator(self.pos, self.cell, self.pbc, self._species, self.batch)
        self.energy, self.forces = out["energy"], out["forces"].double()
        finite = torch.isfinite(self.energy)
        if not bool(finite.all()):
            which = (~finite).nonzero().flatten().tolist()
            raise FloatingPointError(
                f"{type(self).__name__}: the energy of structure {which[0]} is not finite after {self.time:g} fs"
                f" ({len(which)} of {len(finite)} structures); is the timestep of {self.timestep:g} fs too long?"
            )


class Langevin(Verlet):
    """Dynamics at a temperature by the BAOAB splitting (arXiv:1203.5428).

    temperature: K, one for all or one per structure; friction: 1/fs, such as 0.01; generator: of the noise. The rest,
    and what it raises, as in `Verlet`.
    """

    def __init__(
        self,
        model: Any,
        batch: AtomicBatch,
        *,
        timestep: float,
        temperature: float | Sequence[float],
        friction: float,
        generator: torch.Generator,
        **options: Any,
    ):
        if not friction > 0:
            raise ValueError(
                f"Langevin: friction must be positive (1/fs), got {friction}; without friction take Verlet"
            )
        self._generator, self._keep = generator, math.exp(-friction * timestep)
        super().__init__(model, batch, timestep=timestep, **options)
        self._noise = math.sqrt(1 - self._keep**2) * _thermal_speed(batch, temperature, self.masses)

    def _step(self) -> None:
        self._kick(0.5 * self.timestep)
        self.pos = self.pos + 0.5 * self.timestep * self.velocities
        self.velocities = self._keep * self.velocities + self._noise[:, None] * _normal(self.pos, self._generator)
        self.pos = self.pos + 0.5 * self.timestep * self.velocities
        self._evaluate()
        self._kick(0.5 * self.timestep)


def velocities(
    batch: AtomicBatch,
    temperature: float | Sequence[float],
    *,
    generator: torch.Generator,
    remove: Sequence[Remove] = ("momentum", "rotation"),
) -> Float[Tensor, "n 3"]:
    """Velocities [N, 3] in Å/fs from the Maxwell-Boltzmann distribution at a temperature in K.

    temperature: one for all structures, or one for each; remove: take away the momentum of each structure, and the
    angular momentum of those that are open in all directions (a periodic one cannot turn). Nothing is rescaled, so
    what is removed is missing from the temperature. Raises ValueError for a negative temperature or one per structure
    that are not as many, and an unknown name in `remove`.
    """
    mass = masses(batch)
    v = _thermal_speed(batch, temperature, mass)[:, None] * _normal(batch.pos, generator)
    return still(v, batch.pos.double(), mass, batch.batch, batch.pbc, remove=remove)


def still(
    v: Float[Tensor, "n 3"],
    pos: Float[Tensor, "n 3"],
    mass: Float[Tensor, " n"],
    batch: Int[Tensor, " n"],
    pbc: Bool[Tensor, "graphs 3"],
    *,
    remove: Sequence[Remove] = ("momentum", "rotation"),
) -> Float[Tensor, "n 3"]:
    """Velocities without the momentum, and in open structures the angular momentum, of each structure; any units.

    Raises ValueError for an unknown name in `remove`.
    """
    if unknown := set(remove) - {"momentum", "rotation"}:
        raise ValueError(f"velocities: remove knows 'momentum' and 'rotation', not {', '.join(map(repr, unknown))}")
    sums = lambda x: segment_sum(x, batch, len(pbc))  # noqa: E731
    m, weight = mass[:, None], sums(mass)[:, None]
    if "momentum" in remove:
        v = v - (sums(m * v) / weight)[batch]
    if "rotation" in remove:
        r = pos - (sums(m * pos) / weight)[batch]
        eye = torch.eye(3, dtype=r.dtype, device=r.device)
        inertia = sums((m * r.square()).sum(1))[:, None, None] * eye - sums(m[:, None] * r[:, :, None] * r[:, None])
        # The pseudo-inverse, because a linear molecule has no inertia about its axis.
        spin = torch.linalg.pinv(inertia, rtol=1e-10, hermitian=True) @ sums(m * torch.linalg.cross(r, v))[:, :, None]
        spin = spin[:, :, 0].masked_fill(pbc.any(1, keepdim=True), 0.0)
        v = v - torch.linalg.cross(spin[batch], r)
    return v


def masses(batch: AtomicBatch) -> Float[Tensor, " n"]:
    """Standard atomic masses, amu, float64."""
    table = require("ase.data", "atoms").atomic_masses
    return torch.as_tensor(table, dtype=torch.float64).to(batch.z.device)[batch.z]


def acceleration() -> float:
    """One eV/(Å amu) in Å/fs²: 9.648533e-3, with ASE's constants, so that both give the same paths."""
    return require("ase.units", "atoms").fs ** 2


def boltzmann() -> float:
    """k_B in eV/K."""
    return require("ase.units", "atoms").kB


def _thermal_speed(batch: AtomicBatch, temperature: float | Sequence[float], mass: Tensor) -> Float[Tensor, " n"]:
    """√(k_B T / m) of every atom, Å/fs."""
    T = torch.as_tensor(temperature, dtype=torch.float64, device=mass.device)
    if T.ndim > 1 or (T.ndim == 1 and len(T) != len(batch.cell)) or not bool((T >= 0).all()):
        raise ValueError(
            f"temperature must be one number >= 0 (K), or one for each of {len(batch.cell)} graphs, got {temperature}"
        )
    return (boltzmann() * acceleration() * T.expand(len(batch.cell))[batch.batch] / mass).sqrt()


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Drawn where the generator lives, so that a seed gives one motion on every device."""
    return torch.randn(like.shape, generator=generator, dtype=torch.float64, device=generator.device).to(like.device)
