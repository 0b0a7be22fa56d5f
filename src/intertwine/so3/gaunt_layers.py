"""Layers made of products of functions on the sphere: with weights, node by node, and over edges in their frames."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..maps.constants import Constants
from .edge_frame import EdgeFrame
from .gaunt import by_row, multiplied, plan_for
from .gaunt_methods import gaunt_factor, tables
from .harmonics import spherical_harmonics
from .irreps import Irreps
from .two_parities import both_parities, multiplied_apart
from .wigner import _frozen, check_degree

WEIGHTS = ("separable", "none")


class GauntTensorProduct(nn.Module):
    """`gaunt_product` with a weight for each degree and channel of both inputs and the output, channel by channel.

    out = w₃ ∘ s ∘ ((w₁ ∘ x)(w₂ ∘ y)), features [..., (lmax+1)², channels] of parity (-1)^l; s is constant and gives
    unit variance where the inputs have it. The inputs' weights start at 1/(2l+1): with equal ones high degrees drown
    the rest, and networks learn slower; "none" leaves weights out. They reach lmax1 + lmax2 + lmax_out + 1 dimensions
    of bilinear maps (`expressivity`), never a weight for each path: that is `TensorProduct(mode="uuu")`.
    parity=True: features [..., 2, (lmax+1)², channels], first those of parity (-1)^l, then the others, functions that
    change sign under inversion on top. Each kind has weights, and multiplies each: 0o ⊗ 1e -> 1o is there; 1o ⊗ 1o ->
    1e is not, since l1 + l2 + l3 stays even.
    Raises ValueError as `gaunt_product` does, and for other weights. Source: arXiv:2401.10216; arXiv:2506.13523.
    """

    def __init__(
        self,
        lmax1: int,
        lmax2: int,
        lmax_out: int,
        channels: int,
        *,
        method: str = "auto",
        weights: str = "separable",
        parity: bool = False,
    ):
        super().__init__()
        if weights == "per_path":
            raise ValueError(
                "GauntTensorProduct: one product on the sphere has no weight for each path; "
                'TensorProduct(mode="uuu") does (see docs/tensor-products.md)'
            )
        if weights not in WEIGHTS:
            raise ValueError(f"GauntTensorProduct: weights {weights!r} is not one of {WEIGHTS}")
        degrees = lmax1, lmax2, lmax_out
        self.plan = plan_for("GauntTensorProduct", degrees, method)
        side = both_parities if parity else Irreps.spherical
        self.irreps_in1, self.irreps_in2, self.rep_out = (side(l, channels) for l in degrees)
        self.channels, self.parity = channels, parity
        starts = [_start(lmax1), _start(lmax2), np.ones(lmax_out + 1)] if weights == "separable" else []
        shape = (2, 1, channels) if parity else (1, channels)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.tensor(w, dtype=torch.get_default_dtype())[:, None].repeat(shape)) for w in starts
        )
        self._constants = Constants(tables(self.plan), any_dtype=True)
        scale = _scale(*degrees, falling=bool(starts))
        self._scale = Constants([scale / math.sqrt(2) if parity else scale], any_dtype=True)

    def extra_repr(self) -> str:
        """Degrees, channels, method."""
        l1, l2, l3 = self.plan.degrees
        return f"degrees {l1} ⊗ {l2} -> {l3}, {self.channels} channels, by {self.plan.method}"

    def forward(
        self, x: Float[Tensor, "*#batch components1 channels"], y: Float[Tensor, "*#batch components2 channels"]
    ) -> Float[Tensor, "*batch components_out channels"]:
        """The product. Raises ValueError for other degrees or channels."""
        x, y = (_checked("GauntTensorProduct", z, l, self.channels) for z, l in zip((x, y), self.plan.degrees))
        if self.parity:
            return self._of_both(x, y)
        if len(self.weights):
            x, y = (z * by_row(w) for z, w in zip((x, y), self.weights))
        batch = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        x, y = x.expand(*batch, -1, -1), y.expand(*batch, -1, -1)
        out = multiplied(self.plan, x, y, self._constants) * self._scale(x)[0]
        return out * by_row(self.weights[2]) if len(self.weights) else out

    def _of_both(self, x: Tensor, y: Tensor) -> Tensor:
        """The product of features of both parities."""
        if x.shape[-3:-2] != (2,) or y.shape[-3:-2] != (2,):
            raise ValueError(
                f"GauntTensorProduct: parity=True takes [.., 2, components, channels], got {tuple(x.shape)} and "
                f"{tuple(y.shape)}"
            )
        batch = torch.broadcast_shapes(x.shape[:-3], y.shape[:-3])
        pairs = [z.expand(*batch, -1, -1, -1).unbind(-3) for z in (x, y)]
        if len(self.weights):
            pairs = [tuple(z * by_row(w) for z, w in zip(pair, ws)) for pair, ws in zip(pairs, self.weights)]
        found = multiplied_apart(lambda a, b: multiplied(self.plan, a, b, self._constants), *pairs)
        out = torch.stack(found, -3) * self._scale(x)[0]
        return out * torch.stack([by_row(w) for w in self.weights[2]]) if len(self.weights) else out


class GauntSelfMix(nn.Module):
    """x + B((A x)²): degrees of a node mix by the square of a function on the sphere; A, B act on channels by degree.

    A block to put between the layers of any network with features [..., (lmax+1)², channels] of parity (-1)^l.
    `hidden` channels of the square, as many as `channels` unless given. Weights are normal with variance 1 / fan-in,
    drawn with `generator`. Raises ValueError for sizes below one. Source: arXiv:2401.10216, section 4.
    """

    def __init__(
        self, lmax: int, channels: int, hidden: int | None = None, *, generator: torch.Generator | None = None
    ):
        super().__init__()
        hidden = channels if hidden is None else hidden
        if channels < 1 or hidden < 1:
            raise ValueError(f"GauntSelfMix: channels and hidden must be at least 1, got {channels} and {hidden}")
        self.plan = plan_for("GauntSelfMix", (lmax, lmax, lmax), "grid")
        self.channels = channels
        self.rep_in = self.rep_out = Irreps.spherical(lmax, channels)
        sizes = ((channels, hidden), (hidden, channels))
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(lmax + 1, a, b, generator=generator) / math.sqrt(a)) for a, b in sizes
        )
        rows = np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)
        self._constants = Constants(tables(self.plan), any_dtype=True)
        self._own = Constants([_scale(lmax, lmax, lmax, square=True), rows], any_dtype=True)

    def forward(self, x: Float[Tensor, "*batch components channels"]) -> Float[Tensor, "*batch components channels"]:
        """The block. Raises ValueError for other degrees or channels."""
        x = _checked("GauntSelfMix", x, self.plan.degrees[0], self.channels)
        scale, rows = self._own(x)
        before, after = (weight.index_select(0, rows) for weight in self.weights)
        h = torch.einsum("...kc,kcd->...kd", x, before)
        return x + torch.einsum("...kc,kcd->...kd", multiplied(self.plan, h, h, self._constants) * scale, after)


class GauntConv(nn.Module):
    """Sum over edges of the sender's function times a filter about the edge: out_i = Σ_{j→i} x_j · Σ_l f_l(r) Y_l(r̂).

    Done in the frame of the edge, where the filter has order 0 only, so that each order is a product of functions of
    the polar angle: O(L²) values an edge and channel. `radial`: lengths [edges] -> f [edges, degrees, channels], any
    number of degrees up to lmax_in + lmax_out + 1; a submodule if it is a module. Features of parity (-1)^l,
    equivariant under O(3). Raises ValueError for a degree below 0. Source: arXiv:2401.10216, section 3.2.
    """

    def __init__(self, lmax_in: int, lmax_out: int, channels: int, *, radial: Callable[[Tensor], Tensor]):
        super().__init__()
        check_degree("GauntConv", lmax_in, lmax_out)
        self.lmax_in, self.lmax_out, self.channels, self.radial = lmax_in, lmax_out, channels, radial
        self.rep_in, self.rep_out = (Irreps.spherical(l, channels) for l in (lmax_in, lmax_out))
        self._tables = Constants(_polar_tables(lmax_in, lmax_out), any_dtype=True)

    def extra_repr(self) -> str:
        """Degrees and channels."""
        return f"degree {self.lmax_in} -> {self.lmax_out}, {self.channels} channels"

    def forward(
        self,
        x: Float[Tensor, "nodes components channels"],
        frame: EdgeFrame,
        lengths: Float[Tensor, " edges"],
        src: Int[Tensor, " edges"],
        dst: Int[Tensor, " edges"],
        n_nodes: int | None = None,
    ) -> Float[Tensor, "n_nodes components_out channels"]:
        """Sum over edges src → dst. Raises ValueError where degrees, frames or filters do not fit."""
        x = _checked("GauntConv", x, self.lmax_in, self.channels)
        mmax, most = min(self.lmax_in, self.lmax_out), self.lmax_in + self.lmax_out + 1
        if frame.lmax < max(self.lmax_in, self.lmax_out) or frame.mmax < mmax:
            raise ValueError(
                f"GauntConv: frames up to degree {frame.lmax}, order {frame.mmax}; it needs degree "
                f"{max(self.lmax_in, self.lmax_out)}, order {mmax}: build them with EdgeFrame.from_vectors"
            )
        f = self.radial(lengths)
        if f.ndim != 3 or f.shape[::2] != (len(lengths), self.channels) or not 1 <= f.shape[1] <= most:
            raise ValueError(
                f"GauntConv: radial must give [{len(lengths)}, up to {most}, {self.channels}] (edges, degrees, "
                f"channels), got {tuple(f.shape)}"
            )
        harmonics, *polar = self._tables(x)
        values = harmonics[:, : f.shape[1]] @ f  # of the filter at the rings, [edges, rings, channels]
        orders = frame.truncated(self.lmax_in, mmax).into(x.index_select(0, src))
        found = []
        for m, order in enumerate(orders):
            up, down = polar[2 * m : 2 * m + 2]
            found.append(down @ ((up @ order) * (values if m == 0 else values[:, None])))
        message = frame.truncated(self.lmax_out, mmax).out_of(tuple(found))
        return message.new_zeros(len(x) if n_nodes is None else n_nodes, *message.shape[1:]).index_add(0, dst, message)


def _checked(name: str, x: Tensor, lmax: int, channels: int) -> Tensor:
    if x.ndim < 2 or x.shape[-2:] != ((lmax + 1) ** 2, channels):
        raise ValueError(f"{name}: expected shape [.., {(lmax + 1) ** 2}, {channels}], got {tuple(x.shape)}")
    return x


def _start(lmax: int) -> np.ndarray:
    return 1 / (2 * np.arange(lmax + 1) + 1.0)


@lru_cache(maxsize=64)
def _scale(l1: int, l2: int, l3: int, *, square: bool = False, falling: bool = False) -> np.ndarray:
    """1/√(E z²) for each row of the output, inputs being independent of unit variance, or equal; [components, 1].

    falling: inputs times `_start`.
    """
    first, second = (_start(l) if falling else np.ones(l + 1) for l in (l1, l2))
    found = []
    for l in range(l3 + 1):
        pairs = [(a, b) for a in range(l1 + 1) for b in range(l2 + 1)]
        moment = sum((gaunt_factor(a, b, l) * first[a] * second[b]) ** 2 for a, b in pairs) / (2 * l + 1)
        if square:  # pairs of equal entries meet twice, and at degree 0 their mean is not zero
            moment = 2 * moment + ((l1 + 1) ** 4 / (4 * math.pi) if l == 0 else 0)
        found += [1 / math.sqrt(moment)] * (2 * l + 1)
    return _frozen(np.array(found)[:, None])


@lru_cache(maxsize=64)
def _polar_tables(lmax_in: int, lmax_out: int) -> tuple[np.ndarray, ...]:
    """Y_l0(pole) Y_l0 at rings, [rings, degrees]; for each order the input there, and the integrals back."""
    total = lmax_in + lmax_out
    height, area = np.polynomial.legendre.leggauss(total + 1)
    meridian = torch.tensor(np.stack([0 * height, height, np.sqrt(1 - height**2)], 1))
    Y = spherical_harmonics(meridian, total, normalization="integral").numpy()

    def order(m: int, lmax: int) -> np.ndarray:
        return Y[:, [l * l + l + m for l in range(m, lmax + 1)]]

    found = [order(0, total) * np.sqrt((2 * np.arange(total + 1) + 1) / (4 * math.pi))]
    for m in range(min(lmax_in, lmax_out) + 1):
        around = 2 * math.pi if m == 0 else math.pi  # ∫ cos² mφ
        found += [order(m, lmax_in), (order(m, lmax_out) * (area * around)[:, None]).T]
    return tuple(_frozen(np.ascontiguousarray(z)) for z in found)
