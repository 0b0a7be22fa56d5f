"""The depth-wise convolution over edges, the message of NequIP and its relatives, in one fused pass."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..maps.constants import Constants
from .edge_chunks import plain
from .edge_sum import edge_sum
from .edge_vectors import by_vectors, vector_messages
from .irreps import Irrep, Irreps
from .paths import EdgePlan, edge_plan
from .wigner import check_degree


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
        order = None if self._plan.in_order else torch.tensor(self._plan.order)
        self.register_buffer("_order", order, persistent=False)

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
        w = w.flatten(len(edges))
        if self.weights_per_edge and not torch.compiler.is_compiling() and by_vectors(self._plan, Y):
            return self._in_one_dtype(vector_messages, x, Y, w, src, dst, n_nodes)
        if self._order is not None:
            w = w.index_select(-1, self._order)
        if not self.weights_per_edge:
            ones = x.new_ones(1, 1).expand(Y.shape[0], self._plan.weights)
            return self._sum(x, Y, ones, src, dst, n_nodes) * w[self._entry_weights]
        return self._sum(x, Y, w, src, dst, n_nodes)

    def _in_one_dtype(self, run: Callable[..., Tensor], x: Tensor, Y: Tensor, w: Tensor, *graph) -> Tensor:
        """Autocast is for the products of matrices around this sum, which has the dtype of the geometry."""
        device = x.device.type
        if not torch.is_autocast_enabled(device):
            return run(self._plan, x, Y, w, *graph)
        with torch.autocast(device, enabled=False):
            return run(self._plan, x.to(Y.dtype), Y, w.to(Y.dtype), *graph)

    def _sum(self, *inputs) -> Tensor:
        return self._in_one_dtype(self._sum_of_paths, *inputs)

    def _sum_of_paths(
        self, plan: EdgePlan, x: Tensor, Y: Tensor, w: Tensor, src: Tensor, dst: Tensor, n: int
    ) -> Tensor:
        (table,) = self._table(Y)
        if torch.compiler.is_compiling():
            # torch 2.13 compiles an autograd function inside torch.func.grad to wrong second derivatives, silently
            return plain(plan, (table, self._entries, self._entry_weights), x, Y, w, src, dst, n)
        return edge_sum(x, Y, w, table, src, dst, n, plan)
