"""From irreps to blocks of a matrix between two spherical bases, as Hamiltonians and other operators need them."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..maps.constants import Constants
from .irreps import Irreps, one_group
from .wigner import clebsch_gordan


class Expansion(nn.Module):
    """Features of `rep_in` to blocks B of row ⊗ col, so that B(g x) = row(g) B(x) col(g)ᵀ.

    Between channel u of degree l1 in `rep_row` and v of l2 in `rep_col`: B_uv = Σ_l √(2l+1) C^(l1 l2 l) y_uv^(l), over
    the irreps of l1 ⊗ l2, with y_uv = c^(-1/2) Σ_w W_wuv x_w + b_uv δ_l0 of the c channels of that irrep in `rep_in`.
    W and b come with the call (`weight_numel`, `bias_numel` numbers), one set for each sample or for all, in the order
    of `instructions`: (block of rep_in, term of rep_row, term of rep_col). Terms may stand in any order.
    Raises ValueError where an irrep of the block is missing in `rep_in`, or stands there twice; TypeError when O(3) and
    SO(3) are mixed. Source: arXiv:2306.04922.
    """

    def __init__(self, rep_in: Irreps | str, rep_row: Irreps | str, rep_col: Irreps | str):
        super().__init__()
        self.rep_in, self.rep_row, self.rep_col = Irreps(rep_in), Irreps(rep_row), Irreps(rep_col)
        one_group(irrep for rep in (self.rep_in, self.rep_row, self.rep_col) for irrep, _ in rep.blocks)
        place = {irrep: i for i, (irrep, _) in enumerate(self.rep_in.blocks)}
        if len(place) < len(self.rep_in.blocks):
            raise ValueError(f"Expansion: an irrep stands twice in {self.rep_in}; join its channels (`merged`)")
        found: list[tuple[int, int, int]] = []
        for a, (row, _) in enumerate(self.rep_row.blocks):
            for b, (col, _) in enumerate(self.rep_col.blocks):
                for irrep in row * col:
                    if irrep not in place:
                        raise ValueError(
                            f"Expansion: the block {row} ⊗ {col} holds {irrep}, but rep_in {self.rep_in} does not"
                        )
                    found.append((place[irrep], a, b))
        self.instructions: tuple[tuple[int, int, int], ...] = tuple(sorted(found))
        # for each block of rep_in: its channels, and the numbers uv that are made of them
        self._sizes = tuple(
            (i, c, sum(self._count(a, b) for k, a, b in self.instructions if k == i), irrep.is_trivial)
            for i, (irrep, c) in enumerate(self.rep_in.blocks)
            if any(k == i for k, _, _ in self.instructions)
        )
        self.weight_numel = sum(c * n for _, c, n, _ in self._sizes)
        self.bias_numel = sum(n for _, _, n, trivial in self._sizes if trivial)
        self._basis = Constants([self._change_of_basis()], any_dtype=True)

    def _count(self, a: int, b: int) -> int:
        return self.rep_row.blocks[a][1] * self.rep_col.blocks[b][1]

    def _change_of_basis(self) -> np.ndarray:
        """The orthogonal matrix from coefficients y, ordered as `instructions`, to entries of the flat block."""
        rows, cols = (
            [np.asarray(part) for part in rep.split(torch.arange(rep.dim))] for rep in (self.rep_row, self.rep_col)
        )
        T = np.zeros((self.rep_row.dim, self.rep_col.dim, sum(n * self._dim(i) for i, _, n, _ in self._sizes)))
        start = 0
        for i, _, n, _ in self._sizes:
            dim, column = self._dim(i), 0
            for _, a, b in (found for found in self.instructions if found[0] == i):
                l1, l2 = self.rep_row.blocks[a][0].l, self.rep_col.blocks[b][0].l
                C = clebsch_gordan(l1, l2, (dim - 1) // 2) * dim**0.5
                for u in range(rows[a].shape[1]):
                    for v in range(cols[b].shape[1]):
                        where = start + n * np.arange(dim) + column  # y of a block is [2l+1, uv]
                        T[np.ix_(rows[a][:, u], cols[b][:, v], where)] = C
                        column += 1
            start += n * dim
        return T.reshape(-1, start)

    def _dim(self, i: int) -> int:
        return self.rep_in.blocks[i][0].dim

    def extra_repr(self) -> str:
        """Input, rows and columns, numbers needed."""
        return (
            f"{self.rep_in} -> {self.rep_row} ⊗ {self.rep_col}, {self.weight_numel} weights, {self.bias_numel} biases"
        )

    def forward(
        self,
        x: Float[Tensor, "*batch dim_in"],
        weight: Float[Tensor, "*batch weights"] | Float[Tensor, " weights"],
        bias: Float[Tensor, "*batch biases"] | Float[Tensor, " biases"],
    ) -> Float[Tensor, "*batch rows cols"]:
        """The blocks. Raises ValueError on a wrong trailing dimension."""
        self.rep_in.check(x)
        if weight.shape[-1] != self.weight_numel or bias.shape[-1] != self.bias_numel:
            raise ValueError(
                f"Expansion: {self.weight_numel} weights and {self.bias_numel} biases are needed, got shapes "
                f"{tuple(weight.shape)} and {tuple(bias.shape)}"
            )
        blocks, out, used, offset = self.rep_in.split(x), [], 0, 0
        for i, c, n, trivial in self._sizes:
            W = weight[..., used : used + c * n].unflatten(-1, (c, n))
            y = blocks[i] @ (W * c**-0.5)
            if trivial:
                y = y + bias[..., None, offset : offset + n]
                offset += n
            out.append(y.flatten(-2))
            used += c * n
        (T,) = self._basis(x)
        return (torch.cat(out, -1) @ T.mT).unflatten(-1, (self.rep_row.dim, self.rep_col.dim))
