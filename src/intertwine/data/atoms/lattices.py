"""Periodic lattices of struts, the architected materials whose stiffness `homogenize` computes and networks learn."""

from collections.abc import Sequence
from itertools import product
from math import pi
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...groups import Group
from ...groups.group import Element
from ...reps import Action
from .action import _parts, _space, _vectors


class Lattices(NamedTuple):
    """One periodic lattice of struts, or several side by side; lengths in any one unit.

    pos: joints; cell: rows are lattice vectors; bars: the joint where each strut starts, and the one where it ends;
    shift: integers as floats, the strut goes to pos[end] + shift @ cell; radius: of each strut's circular section;
    batch: the lattice of each joint, sorted. A strut is listed once, and joints of different lattices are not joined.
    """

    pos: Float[Tensor, "joints 3"]
    cell: Float[Tensor, "lattices 3 3"]
    bars: Int[Tensor, "2 bars"]
    shift: Float[Tensor, "bars 3"]
    radius: Float[Tensor, " bars"]
    batch: Int[Tensor, " joints"]

    @property
    def owner(self) -> Int[Tensor, " bars"]:
        """The lattice of each strut."""
        return self.batch[self.bars[0]]

    @property
    def vectors(self) -> Float[Tensor, "bars 3"]:
        """Each strut from its start to its end."""
        image = torch.einsum("bi,bij->bj", self.shift, self.cell[self.owner])
        return self.pos[self.bars[1]] + image - self.pos[self.bars[0]]

    @property
    def volume(self) -> Float[Tensor, " lattices"]:
        """Of each cell."""
        return torch.linalg.det(self.cell).abs()

    @property
    def relative_density(self) -> Float[Tensor, " lattices"]:
        """Σ π r² L over the volume: slender struts, what they share at joints counts twice."""
        solid = pi * self.radius.square() * torch.linalg.vector_norm(self.vectors, dim=1)
        return self.volume.new_zeros(len(self.cell)).index_add(0, self.owner, solid) / self.volume

    def with_density(self, rel_density: float | Float[Tensor, " lattices"]) -> "Lattices":
        """The same lattices with one radius in each, such that `relative_density` is this. ValueError if not in (0, 1).

        Struts overlap at the joints, and slender beams are what `homogenize` computes: keep below about 0.1.
        """
        wanted = torch.as_tensor(rel_density, dtype=self.pos.dtype, device=self.pos.device).expand(len(self.cell))
        if not bool(((wanted > 0) & (wanted < 1)).all()):
            raise ValueError(f"Lattices: a relative density lies between 0 and 1, got {rel_density}")
        bare = self._replace(radius=torch.ones_like(self.radius))
        return bare._replace(radius=(wanted / bare.relative_density).sqrt()[self.owner])

    def supercell(self, counts: tuple[int, int, int]) -> "Lattices":
        """The same materials on cells `counts` times as long. Raises ValueError for counts below 1."""
        if min(counts) < 1:
            raise ValueError(f"Lattices: counts of a supercell must be at least 1, got {counts}")
        return collate_lattices([_supercell(one, counts) for one in self.split()])

    def with_joint(self, strut: int) -> "Lattices":
        """The same material as another graph: a joint in the middle of one strut. ValueError for several lattices."""
        if len(self.cell) != 1:
            raise ValueError(f"Lattices: with_joint takes one lattice, not {len(self.cell)}; split them first")
        (start, end), joint = self.bars[:, strut].tolist(), len(self.pos)
        bars, shift = self.bars.clone(), self.shift.clone()
        bars[1, strut], shift[strut] = joint, 0
        return Lattices(
            torch.cat([self.pos, (self.pos[start] + self.vectors[strut] / 2)[None]]),
            self.cell,
            torch.cat([bars, bars.new_tensor([[joint], [end]])], 1),
            torch.cat([shift, self.shift[strut][None]]),
            torch.cat([self.radius, self.radius[strut][None]]),
            torch.cat([self.batch, self.batch[:1]]),
        )

    def split(self) -> "list[Lattices]":
        """The lattices one by one."""
        starts = torch.searchsorted(self.batch, torch.arange(len(self.cell), device=self.batch.device))
        owner, found = self.owner, []
        for k, start in enumerate(starts.tolist()):
            joints, own = self.batch == k, owner == k
            bars = self.bars[:, own] - start
            batch = torch.zeros_like(self.batch[joints])
            found.append(Lattices(self.pos[joints], self.cell[k][None], bars, self.shift[own], self.radius[own], batch))
        return found


def collate_lattices(lattices: Sequence[Lattices]) -> Lattices:
    """Side by side in one. Raises ValueError for none."""
    lattices = list(lattices)
    if not lattices:
        raise ValueError("collate_lattices: no lattices to join")
    bars, batch, joints, cells = [], [], 0, 0
    for one in lattices:
        bars.append(one.bars + joints)
        batch.append(one.batch + cells)
        joints, cells = joints + len(one.pos), cells + len(one.cell)
    pos, cell, shift, radius = (
        torch.cat([getattr(one, name) for one in lattices]) for name in ("pos", "cell", "shift", "radius")
    )
    return Lattices(pos, cell, torch.cat(bars, 1), shift, radius, torch.cat(batch))


class LatticeAction(Action):
    """Rigid motions of `Lattices`: pos -> pos Rᵀ + t, rows of cell -> · Rᵀ; one element for all, or one for each.

    group: E(3), SE(3), or O(3), SO(3) without translations. Raises ValueError for another.
    """

    def __init__(self, group: Group):
        self.group = _space(self, group)

    def act(self, g: Element, x: Lattices) -> Lattices:
        """The moved lattices. Raises ValueError on a wrong batch."""
        turn, shift = _parts(self, g, len(x.cell), x.pos.device)
        joints = x.batch if turn.ndim == 3 and len(turn) > 1 else None
        pos = _vectors(turn, x.pos, joints)
        if shift is not None:
            pos = pos + (shift if joints is None else shift[joints]).to(pos.dtype)
        return x._replace(pos=pos, cell=(x.cell.double() @ turn.mT).to(x.cell.dtype))

    def collate(self, samples: Sequence[Lattices]) -> Lattices:
        """Side by side in one."""
        return collate_lattices(samples)

    def uncollate(self, batch: Lattices) -> list[Lattices]:
        """The lattices one by one."""
        return batch.split()


def _supercell(one: Lattices, counts: tuple[int, int, int]) -> Lattices:
    size = torch.tensor(counts, device=one.pos.device)
    places = torch.tensor(list(product(*map(range, counts))), device=one.pos.device)
    joints, copies = len(one.pos), len(places)
    pos = (one.pos + (places.to(one.pos) @ one.cell[0])[:, None]).flatten(0, 1)
    reached = places[:, None] + one.shift.long()  # the copy in which each strut ends
    inside = reached % size
    place = (inside[..., 0] * size[1] + inside[..., 1]) * size[2] + inside[..., 2]
    start = one.bars[0] + joints * torch.arange(copies, device=one.pos.device)[:, None]
    bars = torch.stack([start, one.bars[1] + joints * place]).flatten(1)
    shift = ((reached - inside) // size).flatten(0, 1).to(one.shift)
    cell = one.cell * size.to(one.cell)[None, :, None]
    return Lattices(pos, cell, bars, shift, one.radius.repeat(copies), one.batch.repeat(copies))
