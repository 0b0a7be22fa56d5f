"""Matrices between the orbitals of molecules, cut into blocks of one shape for each atom and each pair of atoms."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...groups import Group
from ...groups.group import Element
from ...nn.graph import full_graph
from ...reps.action import Action
from .action import _parts, _space
from .basis import Basis


class Blocks(NamedTuple):
    """Blocks of the matrices of a batch, all in the shape of `Basis.widest`.

    diagonal: of each atom; pairs: of each ordered pair of different atoms of a molecule, in the order of
    `nn.full_graph` (rows: the orbitals of its target i, columns: those of its source j).
    """

    diagonal: Float[Tensor, "atoms wide wide"]
    pairs: Float[Tensor, "pairs wide wide"]


class BlocksAction(Action):
    """How rigid motions move `Blocks` of a basis: B -> D B Dᵀ, D the matrix of `basis.widest`; shifts do nothing.

    One element for all blocks, or k elements for k molecules of equally many atoms. group: E(3), SE(3), O(3), SO(3).
    Raises ValueError for another group.
    """

    def __init__(self, basis: Basis, group: Group):
        self.group, self.rep = _space(self, group), basis.widest

    def act(self, g: Element, x: Blocks) -> Blocks:
        """The blocks of the moved molecules, computed in float64. Raises ValueError where k does not divide x."""
        turn, _ = _parts(self, g, None, x.diagonal.device)
        D = self.rep.matrix(turn)
        if D.ndim > 2 and any(len(part) % len(D) for part in x):
            raise ValueError(
                f"{self}: {len(D)} elements for {len(x.diagonal)} atoms and {len(x.pairs)} pairs; give one element, "
                "or one for each of several equally large molecules"
            )
        moved = []
        for part in x:
            own = D if D.ndim == 2 else D.repeat_interleave(len(part) // len(D), 0)
            moved.append((own @ part.double() @ own.mT).to(part.dtype))
        return Blocks(*moved)

    def collate(self, samples: Sequence[Blocks]) -> Blocks:
        """Blocks of several molecules, one after the other."""
        return Blocks(*(torch.cat(parts) for parts in zip(*samples)))

    def uncollate(self, batch: Blocks) -> list[Blocks]:
        """Blocks do not say where a molecule ends: all of them are one sample."""
        return [batch]


class BlockLayout:
    """Between the matrix of a molecule, orbitals in the order of its atoms, and `Blocks`.

    z: atomic numbers of a batch of molecules; batch: the molecule of each atom, ascending; None for a single one.
    Raises ValueError for an element that the basis lacks.
    """

    def __init__(self, basis: Basis):
        self.basis, self.width = basis, basis.widest.dim
        self._positions = {z: torch.from_numpy(basis.positions(z)) for z in basis.elements}

    def nao(self, z: Int[Tensor, " atoms"]) -> int:
        """Number of orbitals of these atoms."""
        self.basis.check(z.tolist())
        return sum(len(self._positions[n]) for n in z.tolist())

    def pack(
        self, blocks: Blocks, z: Int[Tensor, " atoms"], batch: Int[Tensor, " atoms"] | None = None
    ) -> list[Float[Tensor, "nao nao"]]:
        """The matrix of each molecule; entries of orbitals that an element lacks are left out."""
        found, atom, pair = [], 0, 0
        for own in self._molecules(z, batch):
            n = len(own)
            edges = full_graph(n, device=z.device)
            dense = blocks.diagonal.new_zeros(n, n, self.width, self.width)
            every = torch.arange(n, device=z.device)
            dense = dense.index_put((every, every), blocks.diagonal[atom : atom + n])
            dense = dense.index_put((edges[1], edges[0]), blocks.pairs[pair : pair + edges.shape[1]])
            where = self._where(own)
            found.append(dense.transpose(1, 2).reshape(n * self.width, -1)[where[:, None], where])
            atom, pair = atom + n, pair + edges.shape[1]
        return found

    def unpack(
        self,
        matrices: Tensor | Sequence[Float[Tensor, "nao nao"]],
        z: Int[Tensor, " atoms"],
        batch: Int[Tensor, " atoms"] | None = None,
    ) -> Blocks:
        """Blocks of the matrices of molecules; zero where an element has no such orbital.

        Raises ValueError for a matrix of another size than the orbitals of its molecule.
        """
        matrices = [matrices] if isinstance(matrices, Tensor) else list(matrices)
        molecules = self._molecules(z, batch)
        if len(matrices) != len(molecules):
            raise ValueError(f"BlockLayout: {len(matrices)} matrices for {len(molecules)} molecules")
        diagonal, pairs = [], []
        for matrix, own in zip(matrices, molecules):
            n, where = len(own), self._where(own)
            if matrix.shape != (len(where), len(where)):
                raise ValueError(
                    f"BlockLayout: the molecule has {len(where)} orbitals in this basis, its matrix has shape "
                    f"{tuple(matrix.shape)}"
                )
            wide = matrix.new_zeros(n * self.width, n * self.width)
            dense = wide.index_put((where[:, None], where), matrix).unflatten(0, (n, -1)).unflatten(2, (n, -1))
            source, target = full_graph(n, device=z.device)
            every = torch.arange(n, device=z.device)
            dense = dense.transpose(1, 2)
            diagonal.append(dense[every, every])
            pairs.append(dense[target, source])
        if not molecules:
            empty = torch.zeros(0, self.width, self.width, dtype=torch.get_default_dtype())
            return Blocks(empty, empty)
        return Blocks(torch.cat(diagonal), torch.cat(pairs))

    def mask(self, z: Int[Tensor, " atoms"], batch: Int[Tensor, " atoms"] | None = None) -> Blocks:
        """Which entries of the blocks exist, as booleans."""
        self.basis.check(z.tolist())
        rows = torch.zeros(len(z), self.width, dtype=torch.bool)
        for i, number in enumerate(z.tolist()):
            rows[i, self._positions[number]] = True
        rows = rows.to(z.device)
        source, target = full_graph(len(z), batch, device=z.device)
        return Blocks(rows[:, :, None] & rows[:, None, :], rows[target][:, :, None] & rows[source][:, None, :])

    def _molecules(self, z: Tensor, batch: Tensor | None) -> list[Tensor]:
        self.basis.check(z.tolist())
        if batch is None:
            return [z] if len(z) else []
        if bool((batch[1:] < batch[:-1]).any()):
            raise ValueError("BlockLayout: the atoms of a molecule must stand together: batch must ascend")
        return list(z.split(torch.unique_consecutive(batch, return_counts=True)[1].tolist()))

    def _where(self, z: Tensor) -> Int[Tensor, " nao"]:
        """The orbitals of a molecule, counted through the wide rows of its atoms."""
        parts = [i * self.width + self._positions[n] for i, n in enumerate(z.tolist())]
        return torch.cat(parts).to(z.device)
