"""Products of vector-valued functions on the sphere: at the cost of a few scalar ones they couple odd degrees too."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..maps.constants import Constants, tensors
from . import gaunt_methods
from .columns import multiplied_by_chunks
from .grid import S2Grid, degree_of
from .irreps import Irrep, Irreps
from .path_space import path_coefficients
from .two_parities import both_parities, multiplied_apart
from .wigner import _frozen, check_degree, clebsch_gordan

KINDS = {  # whether the first factor, the second and the product are vector-valued
    "cross": (True, True, True),
    "dot": (True, True, False),
    "scalar": (False, True, True),
}


class VectorBasis(NamedTuple):
    """The vector harmonics of degrees 0..jmax.

    `blocks` are the (j, l) in order; `matrix` [(lmax+1)², 3, components] writes each as Σ over (l m) and x, y, z.
    """

    blocks: tuple[tuple[int, int], ...]
    matrix: Float[np.ndarray, "harmonics 3 components"]


@lru_cache(maxsize=32)
def vector_harmonics_basis(jmax: int) -> VectorBasis:
    """All V_jl = Σ C_1lj e_a Y_lm with j <= jmax, l = j-1, j, j+1: functions on the sphere with values in space.

    Orthonormal where `clebsch_gordan` is multiplied by √(2j+1), as it is here. 1 + 3 jmax blocks, sorted by l and j,
    and 3(jmax+1)² - 2 components. Raises ValueError for a degree below 0. Source: arXiv:2506.13523, section 4.2.
    """
    check_degree("vector_harmonics_basis", jmax)
    blocks = tuple((j, l) for l in range(jmax + 2) for j in (l - 1, l, l + 1) if 0 <= j <= jmax and (j > 0 or l == 1))
    matrix = np.zeros(((jmax + 2) ** 2, 3, sum(2 * j + 1 for j, _ in blocks)))
    start = 0
    for j, l in blocks:
        C = clebsch_gordan(1, l, j) * np.sqrt(2 * j + 1)
        matrix[l * l : (l + 1) ** 2, :, start : start + 2 * j + 1] = C.swapaxes(0, 1)
        start += 2 * j + 1
    return VectorBasis(blocks, _frozen(matrix))


def vector_signal_product(
    x: Float[Tensor, "*#batch components1 #channels"],
    y: Float[Tensor, "*#batch components2 #channels"],
    kind: str,
    lmax_out: int,
) -> Float[Tensor, "*batch components_out channels"]:
    """Coefficients of the point-wise product of two functions on the sphere, by one grid that is exact.

    kind "cross": vectors × vectors -> vectors; "dot": vectors · vectors -> numbers; "scalar": numbers (x) times
    vectors -> vectors. Coefficients of vectors are those of `vector_harmonics_basis`, of numbers those of orthonormal
    harmonics, up to degree lmax_out in the output.
    Vectors of parity -1 (V_jl has -(-1)^l) have a cross product of the other parity.
    Raises ValueError for another kind or a shape that does not fit. Source: arXiv:2506.13523, section 4.2.
    """
    if kind not in KINDS:
        raise ValueError(f"vector_signal_product: kind {kind!r} is not one of {', '.join(KINDS)}")
    check_degree("vector_signal_product: lmax_out", lmax_out)
    degrees = (
        *(
            (_vector_degree if vector else degree_of)(f"vector_signal_product: {name}", z)
            for name, z, vector in zip("xy", (x, y), KINDS[kind])
        ),
        lmax_out,
    )
    batch = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    channels = torch.broadcast_shapes(x.shape[-1:], y.shape[-1:])
    x, y = (z.expand(*batch, z.shape[-2], *channels) for z in (x, y))
    return _product(kind, x, y, tensors(_tables(kind, *degrees), x.dtype, x.device), degrees, _plan(kind, *degrees))


class VectorSignalProduct(nn.Module):
    """Features made into vector-valued functions on the sphere, multiplied there, and made features again.

    Features of SO(3), [..., (lmax+1)², channels]; with parity=True of O(3), [..., 2, (lmax+1)², channels], first those
    of parity (-1)^l, then the others, with weights for each, by polar and axial signals. Degree j enters every V_jl (or
    Y_j where the factor is a number), with a weight for each (j, l) and channel, and leaves in the same way. Weights
    are normal, drawn with `generator`, and the output is scaled to unit variance for them (equal weights would cancel).
    kind: as in `vector_signal_product`; "cross" couples all degrees but 0 ⊗ 0 -> 0, for which a plain product of the
    two with a weight is added.
    Raises ValueError for another kind or a degree below 0. Source: arXiv:2506.13523.
    """

    def __init__(
        self,
        lmax1: int,
        lmax2: int,
        lmax_out: int,
        channels: int,
        *,
        kind: str = "cross",
        parity: bool = False,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"VectorSignalProduct: kind {kind!r} is not one of {', '.join(KINDS)}")
        check_degree("VectorSignalProduct", lmax1, lmax2, lmax_out)
        self.degrees, self.channels, self.kind, self.parity = (lmax1, lmax2, lmax_out), channels, kind, parity
        self.irreps_in1, self.irreps_in2, self.rep_out = (
            both_parities(l, channels) if parity else Irreps.spherical(l, channels, parity=None) for l in self.degrees
        )
        blocks, kinds = [_blocks(l, vector) for l, vector in zip(self.degrees, KINDS[kind])], [2] if parity else []
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(*kinds, len(found), channels, generator=generator)) for found in blocks
        )
        plain = torch.full((*kinds, *kinds, channels), math.sqrt(0.5) if parity else 1.0)
        self.plain = nn.Parameter(plain) if kind == "cross" else None
        rows = [_rows(found) for found in blocks]
        self._rows = Constants([part for pair in rows for part in pair], any_dtype=True)
        self._tables = Constants(_tables(kind, *self.degrees), any_dtype=True)
        self._plan = _plan(kind, *self.degrees)
        scale = np.repeat(_unit(kind, *self.degrees), 2 * np.arange(lmax_out + 1) + 1)[:, None]
        self._scale = Constants([scale / np.sqrt(2) if parity else scale], any_dtype=True)
        self._signs = Constants([_signs(found) for found in blocks] if parity else [], any_dtype=True)

    def extra_repr(self) -> str:
        """Degrees, channels, kind."""
        l1, l2, l3 = self.degrees
        return f"degrees {l1} ⊗ {l2} -> {l3}, {self.channels} channels, {self.kind}"

    def forward(
        self, x: Float[Tensor, "*#batch components1 channels"], y: Float[Tensor, "*#batch components2 channels"]
    ) -> Float[Tensor, "*batch components_out channels"]:
        """The product. Raises ValueError for other degrees or channels."""
        kinds = (2,) if self.parity else ()
        for z, l in zip((x, y), self.degrees):
            shape = *kinds, (l + 1) ** 2, self.channels
            if z.shape[-len(shape) :] != shape:
                wanted = f"[.., {str(shape)[1:-1]}]"
                raise ValueError(f"VectorSignalProduct: expected shape {wanted}, got {tuple(z.shape)}")
        batch = torch.broadcast_shapes(x.shape[: -2 - len(kinds)], y.shape[: -2 - len(kinds)])
        x, y = (z.expand(*batch, *z.shape[-2 - len(kinds) :]) for z in (x, y))
        tables = self._tables(x)

        def product(a: Tensor, b: Tensor) -> Tensor:
            return _product(self.kind, a, b, tables, self.degrees, self._plan)

        if self.parity:
            pairs = [
                tuple(self._signal(k, *part) for part in zip(z.unbind(-3), self.weights[k]))
                for k, z in enumerate((x, y))
            ]
            found = multiplied_apart(product, *pairs, tuple(self._signs(x)))
            out = torch.stack([self._feature(*part) for part in zip(found, self.weights[2])], -3)
        else:
            signals = [self._signal(k, z, self.weights[k]) for k, z in enumerate((x, y))]
            out = self._feature(product(*signals), self.weights[2])
        out = out * self._scale(x)[0]
        if self.plain is None:
            return out
        x0, y0 = x[..., :1, :], y[..., :1, :]
        if self.parity:  # even with even and odd with odd are even
            ee, eo, oe, oo = self.plain.flatten(0, 1).unbind(0)
            (e1, o1), (e2, o2) = x0.unbind(-3), y0.unbind(-3)
            first = torch.stack([ee * e1 * e2 + oo * o1 * o2, eo * e1 * o2 + oe * o1 * e2], -3)
        else:
            first = self.plain * x0 * y0
        return torch.cat([out[..., :1, :] + first, out[..., 1:, :]], -2)

    def _signal(self, place: int, x: Tensor, w: Tensor) -> Tensor:
        """Coefficients of the signal of a feature: every degree in each of its blocks, weighted."""
        row, block = self._rows.tensors()[2 * place : 2 * place + 2]
        return x.index_select(-2, row) * w.index_select(0, block)

    def _feature(self, signal: Tensor, w: Tensor) -> Tensor:
        """The feature of a signal: the weighted sum of the blocks of each degree."""
        row, block = self._rows.tensors()[4:]
        out = signal * w.index_select(0, block)
        return out.new_zeros(*out.shape[:-2], (self.degrees[2] + 1) ** 2, self.channels).index_add(-2, row, out)


def _product(
    kind: str, x: Tensor, y: Tensor, constants: list[Tensor], degrees: tuple[int, int, int], plan: gaunt_methods.Plan
) -> Tensor:
    """Features of equal batch and channels; constants: `_tables`."""
    bases, values = _unpacked(kind, degrees, constants)

    def at_points(z: Tensor, place: int) -> Float[Tensor, "points 3_or_1 n"]:
        size, n = (3 if KINDS[kind][place] else 1), z.shape[1]
        wide = _blockwise(bases[place], z) if size == 3 else z
        f = gaunt_methods.to_points(plan, values, wide.reshape(len(wide) // size, size * n), place)
        return f.reshape(len(f), size, n)

    def product(a: Tensor, b: Tensor) -> Tensor:
        f, g = at_points(a, 0), at_points(b, 1)
        if kind == "cross":
            h = torch.linalg.cross(f, g, dim=1)
        else:
            h = (f * g).sum(1, keepdim=True) if kind == "dot" else f * g
        found = gaunt_methods.from_points(plan, values, h.flatten(1))
        return _blockwise(bases[2], found.reshape(3 * len(found), a.shape[1])) if KINDS[kind][2] else found

    return multiplied_by_chunks(product, x, y, 3 * plan.grid.size[0] * plan.grid.size[1])


def _blockwise(blocks: list[Tensor], x: Tensor) -> Tensor:
    """A block-diagonal matrix times columns."""
    return torch.cat([block @ part for block, part in zip(blocks, x.split([b.shape[1] for b in blocks]))])


def _unpacked(
    kind: str, degrees: tuple[int, int, int], constants: list[Tensor]
) -> tuple[list[list[Tensor]], list[Tensor]]:
    """The blocks for each of the three, and the tables of the plan."""
    bases, start = [], 0
    for l, vector in zip(degrees, KINDS[kind]):
        stop = start + (l + 2 if vector else 0)
        bases.append(constants[start:stop])
        start = stop
    return bases, constants[start:]


def _vector_degree(name: str, x: Tensor) -> int:
    jmax = round(((x.shape[-2] + 2) / 3) ** 0.5) - 1 if x.ndim >= 2 else -1
    if jmax < 0 or 3 * (jmax + 1) ** 2 - 2 != x.shape[-2]:
        raise ValueError(f"{name}: expected shape [.., 3(jmax+1)² - 2, channels], got {tuple(x.shape)}")
    return jmax


def _blocks(lmax: int, vector: bool) -> tuple[tuple[int, int], ...]:
    return vector_harmonics_basis(lmax).blocks if vector else tuple((l, l) for l in range(lmax + 1))


def _rows(blocks: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray]:
    """For each component of a signal, the row of the feature it belongs to, and its block."""
    rows = np.concatenate([j * j + np.arange(2 * j + 1) for j, _ in blocks])
    return rows, np.repeat(np.arange(len(blocks)), [2 * j + 1 for j, _ in blocks])


def _signs(blocks: tuple[tuple[int, int], ...]) -> np.ndarray:
    """1 for components whose natural parity makes an axial signal (of numbers: a true one), -1 for a polar one."""
    return np.repeat([1.0 if j == l else -1.0 for j, l in blocks], [2 * j + 1 for j, _ in blocks])[:, None]


@lru_cache(maxsize=64)
def _plan(kind: str, l1: int, l2: int, l3: int) -> gaunt_methods.Plan:
    """How to multiply the functions x, y, z of both factors: degrees of vectors go one higher."""
    most = [l + 1 if vector else l for l, vector in zip((l1, l2, l3), KINDS[kind])]
    grid = S2Grid.gauss_legendre(sum(most) // 2 + 1, sum(most) + 1)
    plans = [gaunt_methods.Plan(method, tuple(most), grid) for method in ("grid", "rings")]
    return min(plans, key=lambda plan: plan.seconds)


@lru_cache(maxsize=32)
def _tables(kind: str, l1: int, l2: int, l3: int) -> tuple[np.ndarray, ...]:
    """The blocks of the basis of each vector-valued one of the three (transposed for the product), and of the plan."""
    found = []
    for place, (jmax, vector) in enumerate(zip((l1, l2, l3), KINDS[kind])):
        start = 0
        for l in range(jmax + 2 if vector else 0):
            blocks, matrix = vector_harmonics_basis(jmax)
            stop = start + sum(2 * j + 1 for j, degree in blocks if degree == l)
            block = matrix[l * l : (l + 1) ** 2, :, start:stop].reshape(6 * l + 3, -1)
            found.append(_frozen(np.ascontiguousarray(block.T if place == 2 else block)))
            start = stop
    return *found, *gaunt_methods.tables(_plan(kind, l1, l2, l3))


@lru_cache(maxsize=32)
def _unit(kind: str, l1: int, l2: int, l3: int) -> np.ndarray:
    """For each degree of the output, the factor that gives unit variance, on average over normal weights."""
    blocks = [_blocks(l, vector) for l, vector in zip((l1, l2, l3), KINDS[kind])]
    constants = [torch.tensor(table) for table in _tables(kind, l1, l2, l3)]
    t = path_coefficients(
        lambda x, y: _product(kind, x[..., None], y[..., None], constants, (l1, l2, l3), _plan(kind, l1, l2, l3))[
            ..., 0
        ],
        *(Irreps([(1, Irrep(j)) for j, _ in found]) for found in blocks),
    )
    moments = np.zeros(l3 + 1)
    for (j, _), moment in zip(blocks[2], t.square().sum((0, 1)).tolist()):
        moments[j] += moment / (2 * j + 1)
    return _frozen(1 / np.sqrt(np.where(moments < 1e-20, 1, moments)))
