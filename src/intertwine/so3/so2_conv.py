"""Convolution over edges at O(L³): in the frame of its edge, a rotation-equivariant map mixes only equal orders."""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .dense_frame import dense_frame
from .edge_frame import EdgeFrame, Orders, check_orders
from .so2_chunks import chunk_bytes
from .so2_edge_sum import so2_edge_sum
from .so2_plan import SO2Plan, convolve, edge_sum
from .so2_vectors import vector_sum
from .so2_whole import whole_sum
from .wigner import check_degree, clebsch_gordan


class SO2Convolution(nn.Module):
    """All linear maps between features in an edge frame that commute with rotations about the edge.

    Order 0 is one matrix; orders ±m share two, y₊ = R x₊ - I x₋ and y₋ = R x₋ + I x₊. With all orders kept this equals
    the tensor product with spherical harmonics up to lmax_in + lmax_out, weight by weight (`so2_weights_from_cg`), so
    between `EdgeFrame.into` and `out_of` it commutes with SO(3). `parity=True` drops I, which leaves the products of
    natural parity and O(3). `mmax` truncates the orders. `extra_scalars`: numbers per edge that order 0 gives on top.
    `bias`: on order 0. Weights are normal with variance 1 / fan-in, drawn with `generator`.
    Raises ValueError for a degree below 0, or unless mmax <= min(lmax_in, lmax_out).
    Source: arXiv:2302.03655, eq. 6 to 8.
    """

    def __init__(
        self,
        lmax_in: int,
        lmax_out: int,
        channels_in: int,
        channels_out: int,
        *,
        mmax: int | None = None,
        extra_scalars: int = 0,
        parity: bool = False,
        bias: bool = False,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        check_degree("SO2Convolution", lmax_in, lmax_out)
        mmax = min(lmax_in, lmax_out) if mmax is None else mmax
        check_orders("SO2Convolution", mmax, min(lmax_in, lmax_out))
        self.lmax_in, self.lmax_out, self.mmax = lmax_in, lmax_out, mmax
        self.channels_in, self.channels_out = channels_in, channels_out
        self.extra_scalars, self.parity = extra_scalars, parity
        self.plan = SO2Plan(lmax_in, lmax_out, mmax, channels_in, channels_out, parity)
        weights = []
        for m in range(mmax + 1):
            rows, columns = self.plan.widths(m)
            halves = 1 if m == 0 or parity else 2
            width = columns * halves + (extra_scalars if m == 0 else 0)
            weights.append(nn.Parameter(torch.randn(rows, width, generator=generator) / math.sqrt(rows * halves)))
        self.weights = nn.ParameterList(weights)
        self.bias = nn.Parameter(torch.zeros(self.weights[0].shape[1])) if bias else None

    @property
    def scale_numel(self) -> int:
        """Length of `scale` in the call: one number for each order m >= 0, degree and input channel."""
        return self.plan.scale_numel

    def extra_repr(self) -> str:
        """Degrees, channels, orders."""
        return (
            f"degree {self.lmax_in} -> {self.lmax_out}, {self.channels_in} -> {self.channels_out} channels, "
            f"orders up to {self.mmax}"
        )

    def forward(
        self, y: Orders, scale: Float[Tensor, "edges scale_numel"] | None = None
    ) -> Orders | tuple[Orders, Float[Tensor, "edges extra_scalars"]]:
        """Orders as `EdgeFrame.into` gives them, to orders up to mmax; with `extra_scalars`, these too.

        scale: factors of the inputs, such as a radial network gives; ± orders share one.
        Raises ValueError on wrong shapes.
        """
        if len(y) <= self.mmax or y[0].shape[1:] != (self.lmax_in + 1, self.channels_in):
            raise ValueError(
                f"SO2Convolution: expected orders 0..{self.mmax} with {self.lmax_in + 1} degrees and "
                f"{self.channels_in} channels, got {len(y)} orders, the first of shape {tuple(y[0].shape)}"
            )
        self._check_scale(scale, y[0].shape[0])
        out, extra = convolve(self.plan, y, list(self.weights), self.bias, scale)
        return (out, extra) if self.extra_scalars else out

    def _check_scale(self, scale: Tensor | None, edges: int) -> None:
        if scale is not None and scale.shape != (edges, self.scale_numel):
            raise ValueError(f"SO2Convolution: scale must be [{edges}, {self.scale_numel}], got {tuple(scale.shape)}")


class SO2EdgeConv(nn.Module):
    """Sum over edges of an `SO2Convolution` of sender features: turn into the frame, convolve, turn back, add up.

    out_i = Σ_{edges j→i} D_e conv(s_e ∘ D_eᵀ x_j), features [nodes, (lmax+1)², channels]. Arguments as in
    `SO2Convolution`; `scale` in the call as there. At a cost of O(L³) an edge it computes every product with spherical
    harmonics up to lmax_in + lmax_out that there is. Source: arXiv:2302.03655.
    """

    def __init__(self, lmax_in: int, lmax_out: int, channels_in: int, channels_out: int, **options):
        super().__init__()
        if options.get("extra_scalars"):
            raise ValueError("SO2EdgeConv: extra scalars are numbers per edge and would be lost; use SO2Convolution")
        self.conv = SO2Convolution(lmax_in, lmax_out, channels_in, channels_out, **options)

    def forward(
        self,
        x: Float[Tensor, "nodes components channels_in"],
        frame: EdgeFrame,
        src: Int[Tensor, " edges"],
        dst: Int[Tensor, " edges"],
        scale: Float[Tensor, "edges scale_numel"] | None = None,
        n_nodes: int | None = None,
    ) -> Float[Tensor, "n_nodes components_out channels_out"]:
        """Sum over edges src → dst in the frames of their edges. Raises ValueError where degrees do not fit."""
        conv = self.conv
        if frame.lmax < max(conv.lmax_in, conv.lmax_out) or frame.mmax < conv.mmax:
            raise ValueError(
                f"SO2EdgeConv: frames up to degree {frame.lmax}, order {frame.mmax}; the convolution needs degree "
                f"{max(conv.lmax_in, conv.lmax_out)}, order {conv.mmax}: build them with EdgeFrame.from_vectors"
            )
        if x.ndim != 3 or x.shape[1:] != ((conv.lmax_in + 1) ** 2, conv.channels_in):
            raise ValueError(
                f"SO2EdgeConv: features are [nodes, {(conv.lmax_in + 1) ** 2}, {conv.channels_in}], "
                f"got {tuple(x.shape)}"
            )
        conv._check_scale(scale, src.shape[0])
        n_nodes = x.shape[0] if n_nodes is None else n_nodes
        plan, weights, direction, lmax = (
            conv.plan,
            list(conv.weights),
            frame.direction,
            max(conv.lmax_in, conv.lmax_out),
        )
        if lmax <= 1:
            return vector_sum(plan, x, direction, conv.bias, scale, src, dst, weights, n_nodes)
        if torch.compiler.is_compiling():
            # torch 2.13 compiles an autograd function inside torch.func.grad to wrong second derivatives, silently
            return edge_sum(plan, frame, x, weights, conv.bias, scale, src, dst, n_nodes)
        dense = dense_frame(frame, conv.lmax_in, conv.mmax), dense_frame(frame, conv.lmax_out, conv.mmax)
        blocks = frame.blocks[: lmax + 1] if None in dense else dense
        if _twice(plan, x, direction, weights, len(src)):
            return whole_sum(plan, x, direction, conv.bias, scale, src, dst, weights, blocks, n_nodes)
        return so2_edge_sum(plan, n_nodes, x, direction, conv.bias, scale, src, dst, *weights, *blocks)


_WHOLE_BYTES, _WHOLE_DEGREE = 1 << 25, 6  # up to here, on the CPU, kept messages beat messages made again; measured


def _twice(plan: SO2Plan, x: Tensor, direction: Tensor, weights: Sequence[Tensor], edges: int) -> bool:
    """Whether forces are trained, so that a second derivative will come, on a graph small enough to keep messages."""
    trained = torch.is_grad_enabled() and direction.requires_grad and any(w.requires_grad for w in weights)
    small = max(plan.lmax_in, plan.lmax_out) <= _WHOLE_DEGREE and edges * chunk_bytes(plan, x) <= _WHOLE_BYTES
    return trained and small and x.device.type == "cpu"


def so2_weights_from_cg(
    path_weights: Mapping[tuple[int, int, int], Float[Tensor, "channels_in channels_out"]],
    lmax_in: int,
    lmax_out: int,
    *,
    parity: bool = False,
) -> dict[str, Tensor]:
    """The state of the `SO2Convolution` that equals Σ w_{l1,l2,l3} Σ_ij C_ijk x_i Y_j(r̂) over paths (l1, l2, l3).

    Y in the normalisation "component", so that order 0 of degree l2 is √(2 l2 + 1) along the edge. Paths that are not
    given count as zero. Source: arXiv:2302.03655, proposition 3.1.
    """
    first = next(iter(path_weights.values()))
    c_in, c_out = first.shape
    state = {}
    for m in range(min(lmax_in, lmax_out) + 1):
        real = first.new_zeros(lmax_in + 1 - m, c_in, lmax_out + 1 - m, c_out)
        imaginary = torch.zeros_like(real)
        for (l1, l2, l3), w in path_weights.items():
            if min(l1, l3) < m:
                continue
            C = clebsch_gordan(l1, l2, l3) * math.sqrt(2 * l2 + 1)
            if (l1 + l2 + l3) % 2 == 0:
                real[l1 - m, :, l3 - m] += float(C[l1 + m, l2, l3 + m]) * w
            elif m:
                # out_{-m} takes +I x_{+m}
                imaginary[l1 - m, :, l3 - m] += float(C[l1 + m, l2, l3 - m]) * w
        halves = [real] if m == 0 or parity else [real, imaginary]
        state[f"weights.{m}"] = torch.cat([half.flatten(2).flatten(0, 1) for half in halves], -1)
    return state
