"""The product of features written as matrices: all couplings, odd ones too, by ordinary matrix multiplication."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..maps.constants import Constants, tensors
from .gaunt import by_row
from .grid import degree_of
from .irreps import Irreps
from .path_space import unit_scale
from .two_parities import both_parities
from .wigner import _frozen, check_degree, clebsch_gordan

INNER = (None, "single")
WEIGHTS = ("degree", "block")


def matrix_product(
    x: Float[Tensor, "*#batch components1 channels"],
    y: Float[Tensor, "*#batch components2 channels"],
    lmax_out: int,
    *,
    inner: str | None = None,
) -> Float[Tensor, "*batch (lmax_out+1)**2 channels"]:
    """z_l = Σ C_ab,l (X Y)_ab, where X_ab = Σ_l C_ab,l x_l is x written as a matrix with blocks a, b, and Y likewise.

    Blocks of all degrees a, b up to j = ⌈(lmax1 + lmax2) / 2⌉; inner="single": one block a = b = j, much cheaper. Both
    couple all degrees, whether l1 + l2 + l3 is even or odd, so it is equivariant under SO(3) only.
    Raises ValueError for another `inner`, lmax_out > lmax1 + lmax2 or a shape that does not fit.
    Source: arXiv:2506.13523, section 4.3.
    """
    degrees = degree_of("matrix_product: x", x), degree_of("matrix_product: y", y), lmax_out
    _check("matrix_product", degrees, inner)
    first, second, back = tensors(_tables(*degrees, inner), x.dtype, x.device)
    return _lowered(_raised(x, first) @ _raised(y, second), back)


class FusedMatrixProduct(nn.Module):
    """`matrix_product` with weights before and after, and parities kept apart: the fused tensor product.

    parity=True: features [..., 2, (lmax+1)², channels], first those of parity (-1)^l, then those of the other; even and
    odd halves of both factors meet, so it is equivariant under O(3). parity=False: features [..., (lmax+1)², channels]
    of SO(3). weights: "degree", one for each degree and channel of both inputs and the output; "block", one for each
    block of the matrix, too, which reaches many more products. They start at one; the output is scaled to unit variance
    there. inner: as in `matrix_product`. Raises ValueError as that does, and for other weights.
    Source: arXiv:2506.13523, section 4.3; even and odd halves as in e3x (arXiv:2401.07595).
    """

    def __init__(
        self,
        lmax1: int,
        lmax2: int,
        lmax_out: int,
        channels: int,
        parity: bool = True,
        *,
        inner: str | None = None,
        weights: str = "degree",
    ):
        super().__init__()
        degrees = lmax1, lmax2, lmax_out
        _check("FusedMatrixProduct", degrees, inner)
        if weights not in WEIGHTS:
            raise ValueError(f"FusedMatrixProduct: weights {weights!r} is not one of {WEIGHTS}")
        self.degrees, self.channels, self.parity, self.inner = degrees, channels, parity, inner
        self.irreps_in1, self.irreps_in2, self.rep_out = (
            both_parities(l, channels) if parity else Irreps.spherical(l, channels, parity=None) for l in degrees
        )
        sizes, blocks = (2 if parity else 1), (_blocks(lmax1, lmax2, inner) if weights == "block" else [])
        self.weights = nn.ParameterList(
            nn.Parameter(torch.ones(sizes, max(1, len(blocks)), l + 1, channels)) for l in degrees
        )
        self._tables = Constants(_tables(*degrees, inner), any_dtype=True)
        self._places = Constants([_places(lmax1, lmax2, inner)] if blocks else [], any_dtype=True)
        scale = np.repeat(_unit(*degrees, inner), 2 * np.arange(lmax_out + 1) + 1)[:, None] / np.sqrt(sizes)
        self._own = Constants([scale, *(_signs(l) for l in degrees)], any_dtype=True)

    def extra_repr(self) -> str:
        """Degrees, channels, kind of matrix."""
        l1, l2, l3 = self.degrees
        kind = f"{self.inner or 'all blocks'}, {'O(3)' if self.parity else 'SO(3)'}"
        return f"degrees {l1} ⊗ {l2} -> {l3}, {self.channels} channels, {kind}"

    def forward(
        self, x: Float[Tensor, "*#batch components1 channels"], y: Float[Tensor, "*#batch components2 channels"]
    ) -> Float[Tensor, "*batch components_out channels"]:
        """The product. Raises ValueError for other degrees or channels."""
        for z, l in zip((x, y), self.degrees):
            shape = (*([2] if self.parity else []), (l + 1) ** 2, self.channels)
            if z.shape[-len(shape) :] != shape:
                raise ValueError(f"FusedMatrixProduct: expected [.., {str(shape)[1:-1]}], got {tuple(z.shape)}")
        first, second, back = self._tables(x)
        scale, *signs = self._own(x)
        if not self.parity:
            pair = [_raised(z, table, w[0], self._at) for z, table, w in zip((x, y), (first, second), self.weights)]
            return _lowered(pair[0] @ pair[1], back, self.weights[2][0], self._at) * scale
        # even + odd and even - odd are multiplied apart: two products instead of four
        sums, differences = [], []
        for z, table, w, sign in zip((x, y), (first, second), self.weights, signs):
            natural, other = z.unbind(-3)
            sums.append(_raised(natural, table, w[0], self._at) + _raised(other, table, w[1], self._at))
            natural, other = natural * sign, other * sign
            differences.append(_raised(natural, table, w[0], self._at) - _raised(other, table, w[1], self._at))
        plus, minus = sums[0] @ sums[1], differences[0] @ differences[1]
        found = []
        for w, kind in zip(self.weights[2], (1, -1)):
            z = _lowered(plus, back, w, self._at), _lowered(minus, back, w, self._at)
            found.append((z[0] + kind * signs[2] * z[1]) * (scale / 2))
        return torch.stack(found, -3)

    @property
    def _at(self) -> Tensor | None:
        return self._places.tensors()[0] if len(self._places) else None


def _raised(x: Tensor, table: Tensor, w: Tensor | None = None, places: Tensor | None = None) -> Tensor:
    """Components as a matrix for each channel, [.., channels, size, size]; w: [1 or blocks, degrees, channels]."""
    if places is None:
        flat = (x if w is None else x * by_row(w[0])).mT @ table
    else:
        parts = [
            (x[..., l * l : (l + 1) ** 2, :].mT @ table[l * l : (l + 1) ** 2]) * w[:, l].index_select(0, places).T
            for l in range(w.shape[1])
        ]
        flat = torch.stack(parts).sum(0)
    size = round(table.shape[1] ** 0.5)
    return flat.unflatten(-1, (size, size))


def _lowered(Z: Tensor, table: Tensor, w: Tensor | None = None, places: Tensor | None = None) -> Tensor:
    """The components of matrices, [.., components, channels]."""
    flat = Z.flatten(-2)
    if places is None:
        out = (flat @ table).mT.contiguous()
        return out if w is None else out * by_row(w[0])
    parts = [(flat * w[:, l].index_select(0, places).T) @ table[:, l * l : (l + 1) ** 2] for l in range(w.shape[1])]
    return torch.cat(parts, -1).mT.contiguous()


def _check(name: str, degrees: tuple[int, int, int], inner: str | None) -> None:
    check_degree(f"{name}: degrees", *degrees)
    if degrees[2] > degrees[0] + degrees[1]:
        raise ValueError(f"{name}: degrees {degrees[0]} and {degrees[1]} give none above their sum, not {degrees[2]}")
    if inner not in INNER:
        raise ValueError(f"{name}: inner {inner!r} is not one of {INNER}")


def _inner_degrees(lmax1: int, lmax2: int, inner: str | None) -> list[int]:
    j = (lmax1 + lmax2 + 1) // 2
    return [j] if inner == "single" else list(range(j + 1))


def _blocks(lmax1: int, lmax2: int, inner: str | None) -> list[tuple[int, int]]:
    degrees = _inner_degrees(lmax1, lmax2, inner)
    return [(a, b) for a in degrees for b in degrees]


def _signs(lmax: int) -> np.ndarray:
    return np.repeat((-1.0) ** np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)[:, None]


@lru_cache(maxsize=32)
def _tables(lmax1: int, lmax2: int, lmax_out: int, inner: str | None) -> tuple[np.ndarray, ...]:
    """Components to flat matrices for both factors, [components, size²], and back, [size², components]."""
    degrees = _inner_degrees(lmax1, lmax2, inner)
    starts = np.cumsum([0, *(2 * j + 1 for j in degrees)])
    size, lmax = starts[-1], max(lmax1, lmax2, lmax_out)
    table = np.zeros((size, size, (lmax + 1) ** 2))
    for a, row in zip(degrees, starts):
        for b, column in zip(degrees, starts):
            for l in range(abs(a - b), min(a + b, lmax) + 1):
                part = slice(row, row + 2 * a + 1), slice(column, column + 2 * b + 1), slice(l * l, (l + 1) ** 2)
                table[part] = clebsch_gordan(a, b, l)
    flat = table.reshape(size * size, -1)
    first, second, back = (flat[:, : (l + 1) ** 2].copy() for l in (lmax1, lmax2, lmax_out))
    return tuple(_frozen(np.ascontiguousarray(z)) for z in (first.T, second.T, back))


@lru_cache(maxsize=32)
def _places(lmax1: int, lmax2: int, inner: str | None) -> np.ndarray:
    """The block of each entry of a flat matrix."""
    degrees = _inner_degrees(lmax1, lmax2, inner)
    block = np.repeat(np.arange(len(degrees)), [2 * j + 1 for j in degrees])
    return _frozen((block[:, None] * len(degrees) + block).ravel())


@lru_cache(maxsize=32)
def _unit(lmax1: int, lmax2: int, lmax_out: int, inner: str | None) -> np.ndarray:
    """For each degree of the output, the factor that gives unit variance."""

    def product(x: Tensor, y: Tensor) -> Tensor:
        return matrix_product(x[..., None], y[..., None], lmax_out, inner=inner)[..., 0]

    return _frozen(unit_scale(product, *(Irreps.spherical(l, 1, parity=None) for l in (lmax1, lmax2, lmax_out))))
