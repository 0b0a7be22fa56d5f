"""Tensor products of irreps as layers: the plain depth-wise product, and the fast convolution over edges."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..maps.constants import Constants
from .edge_chunks import plain
from .edge_sum import EdgeSum
from .irreps import Irrep, Irreps
from .paths import Path, edge_plan, uvu_paths
from .wigner import check_degree, clebsch_gordan

WEIGHTS = ("external", "shared", "none")


class TensorProduct(nn.Module):
    """Clebsch-Gordan product of two features, path by path: the plain form that the fast ones are tested against.

    Mode "uvu" (depth-wise): out_ku = scale Σ_{ijv} w_uv C_ijk x_iu y_jv, channel u of the first input kept. Scales and
    the order of weights are e3nn's. `paths` lists (i1, i2, i3), blocks of the two inputs and the output; by default all
    that exist. Weights: "external" (given in each call, [..., weight_numel], a block [c1, c2] for each path), "shared"
    (a parameter, standard normal, `generator` needed), or "none".
    Raises ValueError for a path that does not exist or does not keep its channels, TypeError for mixed groups.
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
        if mode != "uvu":
            raise ValueError(f"TensorProduct: mode {mode!r} is not there; the one that is: 'uvu'")
        if weights not in WEIGHTS:
            raise ValueError(f"TensorProduct: weights {weights!r} is not one of {WEIGHTS}")
        self.irreps_in1, self.irreps_in2, self.rep_out = Irreps(irreps_in1), Irreps(irreps_in2), Irreps(irreps_out)
        self.paths: tuple[Path, ...] = uvu_paths(
            self.irreps_in1,
            self.irreps_in2,
            self.rep_out,
            paths,
            has_weight=weights != "none",
            normalization=normalization,
            path_normalization=path_normalization,
        )
        if not self.paths:
            raise ValueError(
                f"TensorProduct: no path leads from {self.irreps_in1} ⊗ {self.irreps_in2} to {self.rep_out} "
                "with channels kept"
            )
        self.weights = weights
        shapes = [(self.irreps_in1.terms[p.i1][1], self.irreps_in2.terms[p.i2][1]) for p in self.paths]
        self.path_shapes = tuple(shapes)
        self.weight_numel = sum(u * v for u, v in shapes) if weights != "none" else 0
        C = [path.scale * clebsch_gordan(*(irrep.l for irrep in self._irreps(path))) for path in self.paths]
        self._C = Constants(C, any_dtype=True)
        if weights == "shared":
            if generator is None:
                raise ValueError("TensorProduct: weights='shared' are drawn at random: give a generator")
            self.weight = nn.Parameter(torch.randn(self.weight_numel, generator=generator))

    def _irreps(self, path: Path) -> tuple[Irrep, Irrep, Irrep]:
        return (
            self.irreps_in1.blocks[path.i1][0],
            self.irreps_in2.blocks[path.i2][0],
            self.rep_out.blocks[path.i3][0],
        )

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Trailing shape of an external weight."""
        return (self.weight_numel,)

    def extra_repr(self) -> str:
        """Inputs, output, number of paths."""
        return f"{self.irreps_in1} ⊗ {self.irreps_in2} -> {self.rep_out}, {len(self.paths)} paths uvu"

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
        out = [x1.new_zeros(*batch, irrep.dim, c) for irrep, c in self.rep_out.blocks]
        start = 0
        for C, path, (u, v) in zip(self._C(x1), self.paths, self.path_shapes):
            if weight is None:
                y = second[path.i2].sum(-1, keepdim=True).expand(*second[path.i2].shape[:-1], u)
            else:
                w = weight[..., start : start + u * v].unflatten(-1, (u, v))
                y = torch.einsum("...jv,...uv->...ju", second[path.i2], w)
                start += u * v
            out[path.i3] = out[path.i3] + torch.einsum("ijk,...iu,...ju->...ku", C, first[path.i1], y)
        return self.rep_out.join(out)


class EdgeConv(nn.Module):
    """Depth-wise tensor product of sender features with edge harmonics, summed onto receivers, in one fused pass.

    out_i = Σ_{edges j→i} w_e ⊙ (x_j ⊗ Y(r_ij)): for every block of `irreps_in`, degree of Y up to `lmax_edge` and irrep
    that both `irreps_out` names and their product holds there is a path, which keeps the channels of the block, has its
    own weight for each channel, and scale √(2l3+1) (e3nn "component"; NequIP, arXiv:2101.03164, eq. 8). `rep_out`: the
    irreps of `irreps_out` that are reached, in its order, each one block with the channels of all its paths; channel
    counts written in `irreps_out` do not matter. `paths` lists (input block, l2, output irrep) in the order of weights.
    `weights_per_edge=False`: one weight for all edges, applied to the sum.
    Raises ValueError where no path exists, TypeError when O(3) and SO(3) are mixed.
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        lmax_edge: int,
        irreps_out: Irreps | str,
        *,
        weights_per_edge: bool = True,
    ):
        super().__init__()
        check_degree("EdgeConv: lmax_edge", lmax_edge)
        self.rep_in, wanted = Irreps(irreps_in), Irreps(irreps_out)
        if self.rep_in.dim == 0 or wanted.dim == 0:
            raise ValueError(
                f"EdgeConv: irreps_in {str(self.rep_in)!r} and irreps_out {str(wanted)!r} need a term each"
            )
        self._plan = edge_plan(self.rep_in, lmax_edge, wanted)
        self.rep_out = self._plan.rep_out
        self.lmax_edge = lmax_edge
        self.weights_per_edge = weights_per_edge
        self.paths: tuple[tuple[int, int, Irrep], ...] = self._plan.paths
        self.weight_shape: tuple[int, ...] = self._plan.weight_shape()
        self._table = Constants([self._plan.table], any_dtype=True)
        self.register_buffer("_entries", torch.tensor(self._plan.entries), persistent=False)
        self.register_buffer("_entry_weights", torch.tensor(self._plan.entry_weights), persistent=False)

    def extra_repr(self) -> str:
        """Input, degree, output, number of paths."""
        return f"{self.rep_in} ⊗ Y[0..{self.lmax_edge}] -> {self.rep_out}, {len(self.paths)} paths"

    def forward(
        self,
        x: Float[Tensor, "nodes dim_in"] | Float[Tensor, "nodes components channels"],
        Y: Float[Tensor, "edges harmonics"],
        w: Float[Tensor, "edges *weight_shape"] | Float[Tensor, "*weight_shape"],
        src: Int[Tensor, " edges"],
        dst: Int[Tensor, " edges"],
        n_nodes: int | None = None,
    ) -> Float[Tensor, "n_nodes dim_out"]:
        """Sum over edges src → dst; x may also be [nodes, components, channels]. n_nodes: receivers, default len(x).

        Fastest with dst sorted. Raises ValueError on a wrong trailing shape.
        """
        if x.ndim == 3:
            x = x.flatten(1)
        self.rep_in.check(x)
        n_nodes = x.shape[0] if n_nodes is None else n_nodes
        edges = (Y.shape[0],) if self.weights_per_edge else ()
        if Y.shape[-1] != (self.lmax_edge + 1) ** 2:
            raise ValueError(
                f"EdgeConv: Y has {Y.shape[-1]} harmonics, lmax_edge={self.lmax_edge} needs {(self.lmax_edge + 1) ** 2}"
            )
        if w.shape[-len(self.weight_shape) :] != self.weight_shape or w.ndim != len(edges) + len(self.weight_shape):
            raise ValueError(f"EdgeConv: w has shape {tuple(w.shape)}, expected {(*edges, *self.weight_shape)}")
        if not self.weights_per_edge:
            ones = x.new_ones(1, 1).expand(Y.shape[0], self._plan.weights)
            return self._sum(x, Y, ones, src, dst, n_nodes) * w.flatten()[self._entry_weights]
        return self._sum(x, Y, w.flatten(1), src, dst, n_nodes)

    def _sum(self, x: Tensor, Y: Tensor, w: Tensor, src: Tensor, dst: Tensor, n_nodes: int) -> Tensor:
        (table,) = self._table(Y)
        if torch.compiler.is_compiling():
            # torch 2.13 compiles an autograd function inside torch.func.grad to wrong second derivatives, silently
            constants = table, self._entries, self._entry_weights
            return plain(self._plan, constants, x, Y, w, src, dst, n_nodes)
        return EdgeSum.apply(x, Y, w, table, src, dst, n_nodes, self._plan)
