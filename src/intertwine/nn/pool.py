"""Pooling of features on a group to a subgroup, without aliasing, and the way back."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..groups import Group, positions, subsample
from ..groups.group import Element
from ..maps import bandlimit
from ..maps.constants import Constants
from ..maps.fourier import multiplication


class SubgroupPool(nn.Module):
    """Features on a finite group G, `channels * G.regular`, filtered and taken at the elements of a subgroup H.

    The subgroup is `groups.subsample(group, generator, rate, generators=generators)`. It has no parameters, and is
    equivariant under H: rep_in is the regular representation of G restricted to H, rep_out that of H.
    antialias: filter by the projector of `maps.bandlimit`, which commutes with all of G, before taking values; without
    it what H cannot hold is folded into what it can.
    canonicalise: find in each sample where the first channel is largest, and move its coset of H to H first. The layer
    then returns (values, coset), int64 [...], and `upsample(values, coset)` moves back: pooling and coming back is
    equivariant under all of G, and what is invariant under H becomes invariant under G. At ties the first position
    counts, and there equivariance is lost.
    Raises ValueError for fewer than one channel, and where `subsample` does.
    Source: arXiv:2504.17258, sections 3 and 4.
    """

    def __init__(
        self,
        channels: int,
        group: Group,
        generator: int,
        rate: int,
        antialias: bool = True,
        canonicalise: bool = False,
        *,
        generators: Element | None = None,
    ):
        super().__init__()
        if channels < 1:
            raise ValueError(f"SubgroupPool: at least one channel, got {channels}")
        self.channels, self.antialias, self.canonicalise = channels, antialias, canonicalise
        self.embed = subsample(group, generator, rate, generators=generators)
        self.group, self.subgroup = group, self.embed.source
        self.rep_in = (channels * group.regular).restrict(self.subgroup, self.embed)
        self.rep_out = channels * self.subgroup.regular
        where = positions(self.embed)
        if antialias:
            band = bandlimit(group, self.embed)
            pool, back = band.projector[where], band.upsample
        else:
            pool = np.eye(group.order)[where]
            back = pool.T
        tables = _cosets(multiplication(group), where) if canonicalise else ()
        self.constants = Constants((pool, back, *tables), any_dtype=True)

    def forward(
        self, x: Float[Tensor, "*batch dim_in"]
    ) -> Float[Tensor, "*batch dim_out"] | tuple[Float[Tensor, "*batch dim_out"], Int[Tensor, "*batch"]]:
        """Features on H; with `canonicalise` also the coset that was moved to H. Raises ValueError for another size."""
        pool, _, *tables = self.constants(x)
        self._check(x, self.rep_in.dim)
        x = x.unflatten(-1, (self.group.order, self.channels))
        if not self.canonicalise:
            return (pool @ x).flatten(-2)
        coset_of, to_front, _ = tables
        coset = coset_of[x[..., 0].argmax(-1)]
        return (pool @ _rows(x, to_front[coset])).flatten(-2), coset

    def upsample(
        self, y: Float[Tensor, "*batch dim_out"], coset: Int[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch dim_in"]:
        """Features on G from those on H: those of the band with these values; without `antialias` zero elsewhere.

        Raises ValueError for another size, and where a coset is missing or not expected.
        """
        _, back, *tables = self.constants(y)
        self._check(y, self.rep_out.dim)
        if (coset is not None) != self.canonicalise:
            raise ValueError(f"SubgroupPool: with canonicalise={self.canonicalise} upsample takes {self._needs}")
        x = back @ y.unflatten(-1, (self.subgroup.order, self.channels))
        return (x if coset is None else _rows(x, tables[2][coset])).flatten(-2)

    @property
    def _needs(self) -> str:
        return "values and the coset that the layer returned" if self.canonicalise else "values only"

    def _check(self, x: Tensor, dim: int) -> None:
        if x.shape[-1] != dim:
            raise ValueError(
                f"SubgroupPool: {self.channels} channels on {self.group} pooled to {self.subgroup}: expected trailing "
                f"dimension {dim}, the data has {x.shape[-1]}"
            )

    def __repr__(self) -> str:
        return f"SubgroupPool({self.channels} channels, {self.embed}, antialias={self.antialias})"


def _cosets(table: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The coset tH of each element [|G|]; and for each coset the positions of th and of t^-1 h for all h, [r, |G|]."""
    coset, first = np.full(len(table), -1), []
    for t in range(len(table)):
        if coset[t] < 0:
            coset[table[t, where]] = len(first)
            first.append(t)
    inverse = (table == 0).argmax(1)
    return coset, table[first], table[inverse[first]]


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """x[..., index[..., i], :] for x [..., n, c] and index [..., n]."""
    return torch.take_along_dim(x, index[..., None], -2)
