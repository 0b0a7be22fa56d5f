"""What a product of two features can express, counted, and what it costs, measured: the two numbers to choose it by."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .couplings import coupled
from .gaunt_layers import GauntTensorProduct
from .irreps import Irreps
from .matrix_product import FusedMatrixProduct
from .path_space import path_coefficients
from .tensor_product import TensorProduct
from .two_parities import both_parities
from .vector_product import VectorSignalProduct

Triple = tuple[int, int | None, int, int | None, int, int | None]
_RANK = 1e-9  # singular values below this fraction of the largest count as zero


def interactability(product: nn.Module, *, seed: int = 0) -> set[Triple]:
    """All (l1, p1, l2, p2, l3, p3) for which the product of degrees l1 and l2 has a part of degree l3.

    product: `TensorProduct`, `GauntTensorProduct`, `FusedMatrixProduct`, `VectorSignalProduct`, or a module with the
    same attributes; one channel in each block. Its weights are drawn anew, normal. Raises ValueError for more channels,
    or for a product that is not equivariant. Source: arXiv:2506.13523, definition 3.1.
    """
    weights, coefficients = _paths(product, seed)
    t = coefficients(weights)
    blocks = [irreps.blocks for irreps in _sides(product)]
    found = (t.abs() > _RANK * t.abs().max()).nonzero().tolist()
    return {
        (a.l, a.p, b.l, b.p, c.l, c.p)
        for i, j, k in found
        for a, b, c in [(blocks[0][i][0], blocks[1][j][0], blocks[2][k][0])]
    }


def expressivity(product: nn.Module, *, seed: int = 0) -> int:
    """The dimension of all bilinear maps A₃ ∘ T ∘ (A₁ ⊗ A₂): T the product, A equivariant and linear.

    Each A leads from or to every irrep once; the product's own weights vary, too. It is the rank of the derivative of
    that family at a random point. Same products and errors as `interactability`. Source: arXiv:2506.13523, section 3.2.
    """
    weights, coefficients = _paths(product, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    t = coefficients(weights)
    slopes = _slopes(weights, coefficients, t)
    maps = []
    for irreps in _sides(product):
        kinds = sorted({irrep for irrep, _ in irreps.blocks})
        same = torch.tensor([[float(irrep == kind) for kind in kinds] for irrep, _ in irreps.blocks], dtype=t.dtype)
        maps.append((same, same * torch.randn(same.shape, generator=generator, dtype=t.dtype)))
    (_, a), (_, b), (_, c) = maps
    columns = [torch.einsum("ijkp,ia,jb,kc->abcp", slopes, a, b, c).flatten(0, 2)]
    for place, (same, _) in enumerate(maps):
        for block, kind in same.nonzero().tolist():
            unit = torch.zeros_like(same)
            unit[block, kind] = 1
            moved = [unit if k == place else matrix for k, (_, matrix) in enumerate(maps)]
            columns.append(torch.einsum("ijk,ia,jb,kc->abc", t, *moved).reshape(-1, 1))
    values = torch.linalg.svdvals(torch.cat(columns, 1))
    return int((values > _RANK * values[0]).sum()) if len(values) else 0


def _slopes(
    weights: Tensor, coefficients: Callable[[Tensor], Tensor], t: Tensor
) -> Float[Tensor, "blocks1 blocks2 blocks_out weights"]:
    """Derivatives of the coefficients that are not always zero, in their places."""
    there = (t != 0).flatten().nonzero().flatten()
    slopes = t.new_zeros(t.numel(), len(weights))
    if len(weights) and len(there):
        slopes[there] = torch.func.jacrev(lambda w: coefficients(w).flatten()[there], chunk_size=16)(weights)
    return slopes.unflatten(0, t.shape)


class Row(NamedTuple):
    """One product in a table."""

    name: str
    triples: int  # degrees that interact
    expressivity: int
    milliseconds: float  # one call, forward

    @property
    def per_dimension(self) -> float:
        """Time over expressivity."""
        return self.milliseconds / max(1, self.expressivity)


class Comparison(NamedTuple):
    """Rows that print as a Markdown table."""

    rows: tuple[Row, ...]

    def __str__(self) -> str:
        lines = ["| product | triples | expressivity | ms | µs per dimension |", "|---|---|---|---|---|"]
        lines += [
            f"| {name} | {triples} | {rank} | {ms:.3g} | {1e3 * row.per_dimension:.3g} |"
            for row in self.rows
            for name, triples, rank, ms in [row]
        ]
        return "\n".join(lines)


# what `table` compares: (lmax1, lmax2, lmax_out, channels) -> module
PRODUCTS: dict[str, Callable[[int, int, int, int], nn.Module]] = {
    "Clebsch-Gordan": lambda *size: _coupled(*size, parity=None),
    "Clebsch-Gordan, natural parity": lambda *size: _coupled(*size, parity=-1),
    "Gaunt, grid": lambda *size: GauntTensorProduct(*size, method="grid"),
    "Gaunt, Fourier": lambda *size: GauntTensorProduct(*size, method="fourier"),
    "vector signals, cross": lambda *size: VectorSignalProduct(*size),
    "matrices, one block": lambda *size: FusedMatrixProduct(*size, parity=False, inner="single"),
    "matrices, all blocks": lambda *size: FusedMatrixProduct(*size, parity=False),
    "matrices, weights per block": lambda *size: FusedMatrixProduct(*size, parity=False, weights="block"),
    "Clebsch-Gordan, both parities": lambda *size: _coupled_of_both(*size),
    "Gaunt, grid, both parities": lambda *size: GauntTensorProduct(*size, method="grid", parity=True),
    "vector signals, both parities": lambda *size: VectorSignalProduct(*size, parity=True),
    "matrices, one block, both parities": lambda *size: FusedMatrixProduct(*size, inner="single"),
}
# whether the inputs, and the output, have one degree instead of all
SETTINGS = {"MIMO": (False, False), "SIMO": (True, False), "SISO": (True, True)}


def table(
    names: Sequence[str],
    lmax: int,
    lmax_out: int | None = None,
    *,
    setting: str = "MIMO",
    batch: int = 1000,
    channels: int = 32,
    repeats: int = 7,
    dtype: torch.dtype = torch.float32,
) -> Comparison:
    """Products of degrees 0..lmax with themselves, to degrees 0..lmax_out (2 lmax): what they express, and their time.

    names: keys of `PRODUCTS`. setting: "MIMO", all these degrees; "SIMO", degree lmax with degree lmax to all; "SISO",
    degree lmax with degree lmax to degree lmax_out (lmax). Products that have only all degrees get zeros for the rest.
    Times are the least of `repeats` calls without gradient, taken in turn: process time of this machine's CPU. Print
    the result. Raises ValueError for another name or setting.
    """
    if wrong := [name for name in names if name not in PRODUCTS]:
        raise ValueError(f"table: {wrong[0]!r} is not one of {', '.join(PRODUCTS)}")
    if setting not in SETTINGS:
        raise ValueError(f"table: setting {setting!r} is not one of {', '.join(SETTINGS)}")
    last = (lmax if setting == "SISO" else 2 * lmax) if lmax_out is None else lmax_out

    def made(name: str, channels: int) -> nn.Module | None:
        product = PRODUCTS[name](lmax, lmax, last, channels)
        alone_in, alone_out = SETTINGS[setting]
        return _of_degrees(product, lmax if alone_in else None, last if alone_out else None)

    calls = {}
    for name in names:
        if (product := made(name, channels)) is None:
            continue
        product = product.to(dtype)
        x, y = (torch.ones(batch, irreps.dim, dtype=dtype) for irreps in _sides(product)[:2])
        weight = [torch.ones(product.weight_numel, dtype=dtype)] if _external(product) else []
        calls[name] = (_flat(product), x, y, *weight)
    times: dict[str, list[float]] = {name: [] for name in names}
    with torch.no_grad():
        for turn in range(repeats + 2):
            for name, (call, *inputs) in calls.items():
                begun = time.process_time()
                call(*inputs)
                if turn > 1:
                    times[name].append(1e3 * (time.process_time() - begun))
    rows = []
    for name in names:
        if (product := made(name, 1)) is None:
            rows.append(Row(name, 0, 0, float("nan")))
        else:
            rows.append(Row(name, len(interactability(product)), expressivity(product), min(times[name])))
    return Comparison(tuple(rows))


def _coupled(lmax1: int, lmax2: int, lmax_out: int, channels: int, *, parity: int | None) -> nn.Module:
    return TensorProduct(*(Irreps.spherical(l, channels, parity) for l in (lmax1, lmax2, lmax_out)), mode="uuu")


def _coupled_of_both(lmax1: int, lmax2: int, lmax_out: int, channels: int) -> nn.Module:
    return TensorProduct(*(both_parities(l, channels) for l in (lmax1, lmax2, lmax_out)), mode="uuu")


# --- one degree instead of all


def _of_degrees(product: nn.Module, l_in: int | None, l_out: int | None) -> nn.Module | None:
    """The product of features of degree l_in to those of degree l_out; None where it has no path."""
    if l_in is None and l_out is None:
        return product
    if not isinstance(product, TensorProduct):
        return _OfDegrees(product, l_in, l_out)
    sides = [_only(side, l) for side, l in zip(_sides(product), (l_in, l_in, l_out))]
    triples = itertools.product(*([irrep for irrep, _ in side.blocks] for side in sides))
    return TensorProduct(*sides, mode="uuu") if any(coupled(*triple) for triple in triples) else None


def _only(irreps: Irreps, l: int | None) -> Irreps:
    return Irreps([(c, irrep) for irrep, c in irreps.blocks if l is None or irrep.l == l])


class _OfDegrees(nn.Module):
    """A product of features of all degrees, given one of them and zeros for the rest."""

    def __init__(self, product: nn.Module, l_in: int | None, l_out: int | None):
        super().__init__()
        self.product, self.degrees = product, (l_in, l_in, l_out)
        self.parity = getattr(product, "parity", False)
        self.irreps_in1, self.irreps_in2, self.rep_out = map(_only, _sides(product), self.degrees)
        self.lmax = [max(irrep.l for irrep, _ in side.blocks) for side in _sides(product)]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Of [.., 2l+1, channels]."""
        l1, l2, l3 = self.degrees
        whole = [
            z if l is None else nn.functional.pad(z, (0, 0, l * l, (lmax + 1) ** 2 - (l + 1) ** 2))
            for z, l, lmax in zip((x, y), (l1, l2), self.lmax)
        ]
        out = self.product(*whole)
        return out if l3 is None else out[..., l3 * l3 : (l3 + 1) ** 2, :]


# --- one way to call every product


def _sides(product: nn.Module) -> tuple[Irreps, Irreps, Irreps]:
    return product.irreps_in1, product.irreps_in2, product.rep_out


def _external(product: nn.Module) -> bool:
    return isinstance(product, TensorProduct) and product.weights == "external"


def _flat(product: nn.Module) -> Callable[..., Tensor]:
    """The product on flat features."""
    if isinstance(product, TensorProduct):
        return product
    halves = [2] if getattr(product, "parity", False) else []

    def call(x: Tensor, y: Tensor) -> Tensor:
        c = product.irreps_in1.blocks[0][1]
        shaped = (z.reshape(*z.shape[:-1], *halves, z.shape[-1] // (2 ** len(halves) * c), c) for z in (x, y))
        return product(*shaped).flatten(-2 - len(halves))

    return call


def _paths(product: nn.Module, seed: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Random weights as one vector, and the path coefficients as a function of it."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: p.shape for name, p in product.named_parameters()}
    own = sum(shape.numel() for shape in shapes.values())
    count = own + (product.weight_numel if _external(product) else 0)
    weights = torch.randn(count, generator=generator, dtype=torch.float64)
    flat = _Flat(product)

    def coefficients(weights: Tensor) -> Tensor:
        parts = weights[:own].split([shape.numel() for shape in shapes.values()])
        state = {f"product.{name}": part.view(shape) for (name, shape), part in zip(shapes.items(), parts)}
        given = [weights[own:]] if _external(product) else []

        def call(x: Tensor, y: Tensor) -> Tensor:
            return torch.func.functional_call(flat, state, (x, y, *given))

        return path_coefficients(call, *_sides(product))

    return weights, coefficients


class _Flat(nn.Module):
    """A product on flat features, as a module."""

    def __init__(self, product: nn.Module):
        super().__init__()
        self.product = product

    def forward(self, x: Tensor, y: Tensor, *weight: Tensor) -> Tensor:
        return _flat(self.product)(x, y, *weight)
