"""Clebsch-Gordan products of two features, in every way to couple their channels."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..maps.constants import Constants
from . import couplings
from .irreps import Irrep, Irreps
from .wigner import clebsch_gordan

WEIGHTS = ("external", "shared", "none")


class TensorProduct(nn.Module):
    """Clebsch-Gordan product of two features: out_kw = Σ over paths of scale Σ_{ijuv} w_uvw C_ijk x_iu y_jv.

    mode: which channels u, v of the inputs meet in which channel w, a key of `couplings.MODES`: "uvw" (all to all),
    "uvu" (depth-wise), "uvv", "uuw", "uuu" (element by element), "uvuv", "uvu<v", "u<vw". `paths` lists (i1, i2, i3),
    blocks of the two inputs and the output; by default all that exist. Scales and the order of weights are e3nn's:
    `normalization` and `path_normalization` as there. Weights: "external" (given in each call, [..., weight_numel]; the
    shape of path p is `path_shapes[p]`), "shared" (a parameter, standard normal, `generator` needed), or "none".
    Raises ValueError for a path that does not exist or does not fit its channels, TypeError for mixed groups.
    """

    def __init__(
        self,
        irreps_in1: Irreps | str,
        irreps_in2: Irreps | str,
        irreps_out: Irreps | str,
        paths: Sequence[tuple[int, int, int]] | None = None,
        *,
        mode: str = "uvu",
        weights: str = "external",
        normalization: str = "component",
        path_normalization: str = "element",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if weights not in WEIGHTS:
            raise ValueError(f"TensorProduct: weights {weights!r} is not one of {WEIGHTS}")
        self.irreps_in1, self.irreps_in2, self.rep_out = Irreps(irreps_in1), Irreps(irreps_in2), Irreps(irreps_out)
        self.mode, self.weights = mode, weights
        self.paths: tuple[couplings.Path, ...] = couplings.paths(
            self.irreps_in1,
            self.irreps_in2,
            self.rep_out,
            paths,
            mode=mode,
            has_weight=weights != "none",
            normalization=normalization,
            path_normalization=path_normalization,
        )
        if not self.paths:
            raise ValueError(
                f"TensorProduct: no path leads from {self.irreps_in1} ⊗ {self.irreps_in2} to {self.rep_out} "
                f"in mode {mode} ({couplings.MODES[mode]})"
            )
        self.path_shapes = tuple(couplings.weight_shape(mode, *self._channels(path)) for path in self.paths)
        self.weight_numel = sum(int(np.prod(shape)) for shape in self.path_shapes) if weights != "none" else 0
        self._lay_out()
        if weights == "shared":
            if generator is None:
                raise ValueError("TensorProduct: weights='shared' are drawn at random: give a generator")
            self.weight = nn.Parameter(torch.randn(self.weight_numel, generator=generator))

    def _lay_out(self) -> None:
        """Paths between the same two blocks share the products of their components, unless weights come first."""
        groups: dict[tuple[int, int, int], list[int]] = {}
        for p, path in enumerate(self.paths):
            c1, c2, _ = self._channels(path)
            alone = self.weights != "none" and {"uvu": c2, "uvv": c1}.get(self.mode, 1) > 1
            groups.setdefault((path.i1, path.i2, p if alone else -1), []).append(p)
        self._groups = tuple((i1, i2, tuple(members)) for (i1, i2, _), members in groups.items())
        tables = []
        for _, _, members in self._groups:
            parts = []
            for p in members:
                l1, l2, l3 = (irrep.l for irrep in self._irreps(self.paths[p]))
                parts.append(self.paths[p].scale * clebsch_gordan(l1, l2, l3).reshape(-1, 2 * l3 + 1).T)
            tables.append(np.concatenate(parts))
        self._tables = Constants(tables, any_dtype=True)

    def _irreps(self, path: couplings.Path) -> tuple[Irrep, Irrep, Irrep]:
        return tuple(side.blocks[i][0] for side, i in zip(self._sides, path[:3]))

    def _channels(self, path: couplings.Path) -> tuple[int, int, int]:
        return tuple(side.blocks[i][1] for side, i in zip(self._sides, path[:3]))

    @property
    def _sides(self) -> tuple[Irreps, Irreps, Irreps]:
        return self.irreps_in1, self.irreps_in2, self.rep_out

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Trailing shape of an external weight."""
        return (self.weight_numel,)

    def extra_repr(self) -> str:
        """Inputs, output, number of paths."""
        return f"{self.irreps_in1} ⊗ {self.irreps_in2} -> {self.rep_out}, {len(self.paths)} paths {self.mode}"

    def forward(
        self,
        x1: Float[Tensor, "*#batch dim1"],
        x2: Float[Tensor, "*#batch dim2"],
        weight: Float[Tensor, "*#batch weights"] | None = None,
    ) -> Float[Tensor, "*batch dim_out"]:
        """The product; `weight` exactly when weights are external. Raises ValueError on a wrong trailing dimension."""
        if (weight is not None) != (self.weights == "external"):
            given = "no weight" if weight is None else "a weight"
            raise ValueError(f"TensorProduct: weights={self.weights!r}, but the call gave {given}")
        weight = self.weight if self.weights == "shared" else weight
        if weight is not None and weight.shape[-1] != self.weight_numel:
            raise ValueError(f"TensorProduct: {self.weight_numel} weights are needed, got shape {tuple(weight.shape)}")
        first, second = self.irreps_in1.split(x1), self.irreps_in2.split(x2)
        batch = torch.broadcast_shapes(x1.shape[:-1], x2.shape[:-1])
        given = [None] * len(self.paths) if weight is None else self._split(weight)
        out: dict[int, Tensor] = {}
        for (i1, i2, members), table in zip(self._groups, self._tables(x1)):
            x, y, rest = self._coupled(first[i1], second[i2], [given[p] for p in members])
            pairs = (x.unsqueeze(-2) * y.unsqueeze(-3)).flatten(-3, -2)
            rows = (table @ pairs).split([self._irreps(self.paths[p])[2].dim for p in members], -2)
            for p, z, w in zip(members, rows, rest):
                k = self.paths[p].i3
                z = self._weighted(z, w)
                out[k] = out[k] + z if k in out else z
        return self.rep_out.join(
            [
                out[k].expand(*batch, -1, -1) if k in out else x1.new_zeros(*batch, irrep.dim, c)
                for k, (irrep, c) in enumerate(self.rep_out.blocks)
            ]
        )

    def _split(self, weight: Tensor) -> list[Tensor]:
        """The weight of each path, [..., 1, *shape]: one axis to broadcast over components."""
        parts = weight.split([int(np.prod(shape)) for shape in self.path_shapes], -1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self.path_shapes)]

    def _coupled(self, x: Tensor, y: Tensor, w: list[Tensor | None]) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        """Both blocks with equal channels, those that meet; and what is left of the weights."""
        mode, (c1, c2) = self.mode, (x.shape[-1], y.shape[-1])
        if mode == "uvu" and c2 > 1:
            y = y.sum(-1, keepdim=True) if w[0] is None else y @ w[0].mT
            return x, y, [None] * len(w)
        if mode == "uvv" and c1 > 1:
            x = x.sum(-1, keepdim=True) if w[0] is None else x @ w[0]
            return x, y, [None] * len(w)
        if mode in ("uvw", "uvuv"):
            return x.repeat_interleave(c2, -1), y.repeat(*[1] * (y.ndim - 1), c1), w
        if mode in ("uvu<v", "u<vw"):
            u, v = torch.triu_indices(c1, c1, 1, device=x.device)
            return x.index_select(-1, u), y.index_select(-1, v), w
        return x, y, w

    def _weighted(self, z: Tensor, w: Tensor | None) -> Tensor:
        """Components of one path times its weights, channels mixed where the mode says so."""
        if self.mode == "uuw":
            return z.sum(-1, keepdim=True) if w is None else z @ w
        if w is None:
            return z
        if self.mode in ("uvw", "u<vw"):
            return z @ w.flatten(-3, -2) if self.mode == "uvw" else z @ w
        return z * (w if self.mode in ("uuu", "uvu<v") else w.flatten(-2)).unsqueeze(-2)
