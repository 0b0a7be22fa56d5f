"""Products of vector-valued functions on the sphere: at the cost of a few scalar ones they couple odd degrees too."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..maps.constants import Constants, tensors
from .columns import multiplied_by_chunks
from .grid import S2Grid, degree_of
from .harmonics import spherical_harmonics
from .irreps import Irrep, Irreps
from .path_space import path_coefficients
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

    Orthonormal where `clebsch_gordan` is multiplied by √(2j+1), as it is here. 1 + 3 jmax blocks by (j, l), and
    3(jmax+1)² - 2 components. Raises ValueError for a degree below 0. Source: arXiv:2506.13523, section 4.2.
    """
    check_degree("vector_harmonics_basis", jmax)
    blocks = tuple((j, l) for j in range(jmax + 1) for l in ([1] if j == 0 else [j - 1, j, j + 1]))
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
    return _product(kind, x, y, tensors(_tables(kind, *degrees), x.dtype, x.device))


class VectorSignalProduct(nn.Module):
    """Features of SO(3) made into vector-valued functions on the sphere, multiplied there, and made features again.

    Features [..., (lmax+1)², channels]. Degree j enters every V_jl (or Y_j where the factor is a number), with a weight
    for each (j, l) and channel, and leaves in the same way. Weights are normal, drawn with `generator`, and the output
    is scaled to unit variance for them (equal weights would cancel). kind: as in `vector_signal_product`; "cross"
    couples all degrees but 0 ⊗ 0 -> 0, for which a plain product of the two with a weight is added.
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
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"VectorSignalProduct: kind {kind!r} is not one of {', '.join(KINDS)}")
        check_degree("VectorSignalProduct", lmax1, lmax2, lmax_out)
        self.degrees, self.channels, self.kind = (lmax1, lmax2, lmax_out), channels, kind
        self.irreps_in1, self.irreps_in2, self.rep_out = (
            Irreps.spherical(l, channels, parity=None) for l in self.degrees
        )
        blocks = [_blocks(l, vector) for l, vector in zip(self.degrees, KINDS[kind])]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(len(found), channels, generator=generator)) for found in blocks
        )
        self.plain = nn.Parameter(torch.ones(channels)) if kind == "cross" else None
        rows = [_rows(found) for found in blocks]
        self._rows = Constants([part for pair in rows for part in pair], any_dtype=True)
        self._tables = Constants(_tables(kind, *self.degrees), any_dtype=True)
        scale = np.repeat(_unit(kind, *self.degrees), 2 * np.arange(lmax_out + 1) + 1)[:, None]
        self._scale = Constants([scale], any_dtype=True)

    def extra_repr(self) -> str:
        """Degrees, channels, kind."""
        l1, l2, l3 = self.degrees
        return f"degrees {l1} ⊗ {l2} -> {l3}, {self.channels} channels, {self.kind}"

    def forward(
        self, x: Float[Tensor, "*#batch components1 channels"], y: Float[Tensor, "*#batch components2 channels"]
    ) -> Float[Tensor, "*batch components_out channels"]:
        """The product. Raises ValueError for other degrees or channels."""
        for z, l in zip((x, y), self.degrees):
            if z.ndim < 2 or z.shape[-2:] != ((l + 1) ** 2, self.channels):
                wanted = f"[.., {(l + 1) ** 2}, {self.channels}]"
                raise ValueError(f"VectorSignalProduct: expected shape {wanted}, got {tuple(z.shape)}")
        batch = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        x, y = x.expand(*batch, -1, -1), y.expand(*batch, -1, -1)
        parts = self._rows.tensors()
        signals = []
        for k, z in enumerate((x, y)):
            row, block = parts[2 * k : 2 * k + 2]
            signals.append(z.index_select(-2, row) * self.weights[k].index_select(0, block))
        found = _product(self.kind, *signals, self._tables(x))
        row, block = parts[4:]
        out = found * self.weights[2].index_select(0, block)
        out = (
            out.new_zeros(*batch, (self.degrees[2] + 1) ** 2, self.channels).index_add(-2, row, out) * self._scale(x)[0]
        )
        if self.plain is None:
            return out
        return torch.cat([out[..., :1, :] + self.plain * x[..., :1, :] * y[..., :1, :], out[..., 1:, :]], -2)


def _product(kind: str, x: Tensor, y: Tensor, constants: list[Tensor]) -> Tensor:
    """Features of equal batch and channels; constants: a basis and values at points for each of the three."""

    def product(a: Tensor, b: Tensor) -> Tensor:
        f, g = (
            (values @ (basis @ z).reshape(values.shape[1], -1)).reshape(
                len(values), len(basis) // values.shape[1], z.shape[1]
            )
            for z, basis, values in ((a, *constants[:2]), (b, *constants[2:4]))
        )  # [points, 3 or 1, columns]
        if kind == "cross":
            h = torch.linalg.cross(f, g, dim=1)
        else:
            h = (f * g).sum(1, keepdim=True) if kind == "dot" else f * g
        basis, values = constants[4:]
        return basis @ (values @ h.flatten(1)).reshape(basis.shape[1], -1)

    return multiplied_by_chunks(product, x, y, 3 * constants[1].shape[0])


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


@lru_cache(maxsize=32)
def _tables(kind: str, l1: int, l2: int, l3: int) -> tuple[np.ndarray, ...]:
    """For each factor its coefficients in harmonics for x, y, z, and values of harmonics; for the product, back."""
    vectors = KINDS[kind]
    most = [l + 1 if vector else l for l, vector in zip((l1, l2, l3), vectors)]
    grid = S2Grid.gauss_legendre(sum(most) // 2 + 1, sum(most) + 1)
    found = []
    for l, lmax, vector in zip((l1, l2, l3), most, vectors):
        matrix = vector_harmonics_basis(l).matrix if vector else np.eye((l + 1) ** 2)
        basis = matrix.reshape(-1, matrix.shape[-1])
        found += [basis, spherical_harmonics(grid.points, lmax, normalization="integral").numpy()]
    found[4], found[5] = found[4].T.copy(), (found[5] * grid.weights.numpy()[:, None]).T.copy()
    return tuple(_frozen(np.ascontiguousarray(z)) for z in found)


@lru_cache(maxsize=32)
def _unit(kind: str, l1: int, l2: int, l3: int) -> np.ndarray:
    """For each degree of the output, the factor that gives unit variance, on average over normal weights."""
    blocks = [_blocks(l, vector) for l, vector in zip((l1, l2, l3), KINDS[kind])]
    constants = [torch.tensor(table) for table in _tables(kind, l1, l2, l3)]
    t = path_coefficients(
        lambda x, y: _product(kind, x[..., None], y[..., None], constants)[..., 0],
        *(Irreps([(1, Irrep(j)) for j, _ in found]) for found in blocks),
    )
    moments = np.zeros(l3 + 1)
    for (j, _), moment in zip(blocks[2], t.square().sum((0, 1)).tolist()):
        moments[j] += moment / (2 * j + 1)
    return _frozen(1 / np.sqrt(np.where(moments < 1e-20, 1, moments)))
