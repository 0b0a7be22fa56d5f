"""Nonlinearities in the frame of an edge, between two SO(2) convolutions: only turns about the edge matter there."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from ..so3 import S2Grid
from ..so3.edge_frame import Orders, check_orders
from ..so3.wigner import check_degree
from .grid_activation import _GridActivation
from .law import Function, name_of
from .on_grid import on_grid
from .signals import FrameSignal


class FrameS2Activation(_GridActivation):
    """`S2Activation` of orders as `EdgeFrame.into` and `SO2Convolution` give them, degrees 0..lmax, orders up to mmax.

    With `scalars` in the call it is the separable one: degree 0 becomes the function of these (arXiv:2306.12059, 4.3).
    Where orders are truncated, degrees above mmax are scaled up to the variance they lack. mmax=None: all orders.
    grid: an `S2Grid`, or "exact:1e-4" for the fewest α on ⌊3 lmax/2⌋ + 1 Gauss-Legendre rows of which
    `equivariance_error`, that under turns about the edge, is smaller; nothing else is needed for `EdgeFrame` to commute
    with rotations. Few orders need few α: the grid is smaller than that of `S2Activation`.
    Raises ValueError for a degree below 0, unless mmax <= lmax, and for an error that no grid reaches.
    """

    def __init__(
        self,
        lmax: int,
        fn: Function,
        grid: S2Grid | str = "exact:1e-4",
        *,
        mmax: int | None = None,
        normalize: bool = True,
    ):
        check_degree("FrameS2Activation: lmax", lmax)
        mmax = lmax if mmax is None else mmax
        check_orders("FrameS2Activation", mmax, lmax)
        super().__init__(FrameSignal(lmax, mmax), 1, fn, grid, normalize)
        self.lmax, self.mmax = lmax, mmax

    def extra_repr(self) -> str:
        """Degrees, orders, function, grid."""
        return f"degree {self.lmax}, orders up to {self.mmax}, {name_of(self.fn)}, {len(self.grid)} points"

    def forward(self, y: Orders, scalars: Float[Tensor, "edges channels"] | None = None) -> Orders:
        """Orders to orders. Raises ValueError on wrong shapes."""
        sizes = [self.lmax + 1 - m for m in range(self.mmax + 1)]
        if [part.shape[-2] for part in y] != sizes or (scalars is not None and scalars.shape != y[0][:, 0].shape):
            given = "" if scalars is None else f", scalars of shape {tuple(scalars.shape)}"
            raise ValueError(
                f"FrameS2Activation: expected orders 0..{self.mmax} of {sizes} degrees, got {len(y)} orders of "
                f"{[part.shape[-2] for part in y]} degrees, the first of shape {tuple(y[0].shape)}{given}"
            )
        to, back = self.constants(y[0])
        rows = torch.cat([y[0], *(part.flatten(1, 2) for part in y[1:])], 1)
        if scalars is None:
            out = on_grid(self.fn, to, back, rows, chunked=self.chunked)
        else:
            rest = on_grid(self.fn, to, back[1:], rows, chunked=self.chunked)
            out = torch.cat([(self.fn(scalars) * self.constant)[:, None], rest], 1)
        zero, *pairs = out.split(self.signal.sizes, 1)
        return zero, *(pair.unflatten(1, (2, -1)) for pair in pairs)


def frame_gate(y: Orders, gates: Float[Tensor, "edges lmax*channels"]) -> Orders:
    """Degree 0 through SiLU, each degree l >= 1 and channel times the sigmoid of its gate: the `Gate` of `Orders`.

    Exact, where an S² activation is as good as its grid. Source: arXiv:2306.12059, appendix.
    """
    degrees, channels = y[0].shape[1:]
    gate = torch.sigmoid(gates).unflatten(1, (degrees - 1, channels))
    zero = torch.cat([silu(y[0][:, :1]), y[0][:, 1:] * gate], 1)
    return zero, *(part * gate[:, None, m - 1 :] for m, part in enumerate(y[1:], 1))
