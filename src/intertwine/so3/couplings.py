"""Which products of irreps enter a tensor product, which channels they couple, and how they are scaled."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

from .irreps import Irrep, Irreps

Piece = tuple[int, int, int]  # channels of a block that a path sees: block, first, one past the last
NORMALIZATIONS = ("component", "norm")
PATH_NORMALIZATIONS = ("element", "path")
# channels u of the first input, v of the second, w of the output; the letters of e3nn
MODES = {
    "uvw": "all channels to all, one weight for each u, v, w",
    "uvu": "channels of the first input are kept, Σ over v, one weight for each u, v",
    "uvv": "channels of the second input are kept, Σ over u, one weight for each u, v",
    "uuw": "equal channels of the inputs are paired, all of them go to all w",
    "uuu": "equal channels everywhere, one weight for each",
    "uvuv": "every pair of channels is a channel of the output",
    "uvu<v": "every pair u < v is a channel of the output",
    "u<vw": "all pairs u < v go to all w",
}


class Path(NamedTuple):
    """One coupling: block i1 of the first input with block i2 of the second into block i3 of the output."""

    i1: int
    i2: int
    i3: int
    mode: str
    has_weight: bool
    scale: float


def coupled(a: Irrep, b: Irrep, c: Irrep) -> bool:
    """Whether c is in a ⊗ b. Mixing O(3) and SO(3) raises TypeError."""
    return c in a * b


def fits(mode: str, c1: int, c2: int, c3: int) -> bool:
    """Whether blocks of so many channels can be coupled in that mode."""
    pairs = c1 * (c1 - 1) // 2
    return {
        "uvw": True,
        "uvu": c3 == c1,
        "uvv": c3 == c2,
        "uuw": c1 == c2,
        "uuu": c1 == c2 == c3,
        "uvuv": c3 == c1 * c2,
        "uvu<v": c1 == c2 and c3 == pairs,
        "u<vw": c1 == c2,
    }[mode]


def weight_shape(mode: str, c1: int, c2: int, c3: int) -> tuple[int, ...]:
    """Shape of the weights of one path."""
    pairs = c1 * (c1 - 1) // 2
    return {
        "uvw": (c1, c2, c3),
        "uvu": (c1, c2),
        "uvv": (c1, c2),
        "uuw": (c1, c3),
        "uuu": (c1,),
        "uvuv": (c1, c2),
        "uvu<v": (pairs,),
        "u<vw": (pairs, c3),
    }[mode]


def fan_in(mode: str, c1: int, c2: int) -> int:
    """How many products are added up in one channel of the output."""
    return {"uvw": c1 * c2, "uvu": c2, "uvv": c1, "uuw": c1, "u<vw": c1 * (c1 - 1) // 2}.get(mode, 1)


def paths(
    irreps_in1: Irreps,
    irreps_in2: Irreps,
    irreps_out: Irreps,
    chosen: Sequence[tuple[int, int, int] | Path] | None,
    *,
    mode: str,
    has_weight: bool,
    normalization: str = "component",
    path_normalization: str = "element",
) -> tuple[Path, ...]:
    """Paths of one mode with e3nn's scales; `chosen` lists (i1, i2, i3), by default every one that exists, or whole
    `Path`s, which are checked and kept.

    scale² = a / n: a = 2l3+1 ("component") or (2l1+1)(2l2+1) ("norm"); n = Σ of `fan_in` over all paths into the same
    output block ("element"), or that of this path times the number of such paths ("path").
    """
    if normalization not in NORMALIZATIONS or path_normalization not in PATH_NORMALIZATIONS:
        raise ValueError(
            f"TensorProduct: normalization {normalization!r}, path_normalization {path_normalization!r} are not one "
            f"of {NORMALIZATIONS} and one of {PATH_NORMALIZATIONS}"
        )
    if mode not in MODES:
        raise ValueError(f"TensorProduct: mode {mode!r} is not one of {', '.join(MODES)}")
    if mode in ("uvw", "u<vw") and not has_weight:
        raise ValueError(f"TensorProduct: mode {mode} mixes channels by its weights, so weights='none' cannot be")
    first, second, out = irreps_in1.blocks, irreps_in2.blocks, irreps_out.blocks
    if chosen is None:
        chosen = [
            (i, j, k)
            for i, (a, c1) in enumerate(first)
            for j, (b, c2) in enumerate(second)
            for k, (irrep, c3) in enumerate(out)
            if coupled(a, b, irrep) and fits(mode, c1, c2, c3)
        ]
    for i, j, k, *_ in chosen:
        (a, c1), (b, c2), (irrep, c3) = first[i], second[j], out[k]
        if not coupled(a, b, irrep):
            raise ValueError(f"TensorProduct: path ({i}, {j}, {k}): {irrep} is not in {a} ⊗ {b}")
        if not fits(mode, c1, c2, c3):
            raise ValueError(
                f"TensorProduct: path ({i}, {j}, {k}) in mode {mode} ({MODES[mode]}) cannot lead from {c1}x{a} and "
                f"{c2}x{b} to {c3}x{irrep}"
            )
    if any(isinstance(path, Path) for path in chosen):
        if any(not isinstance(path, Path) or path[3:5] != (mode, has_weight) for path in chosen):
            raise ValueError(f"TensorProduct: all paths must be Paths of mode {mode!r} with has_weight={has_weight}")
        return tuple(chosen)
    fans: dict[int, list[int]] = {}
    for i, j, k in chosen:
        fans.setdefault(k, []).append(fan_in(mode, first[i][1], second[j][1]))
    found = []
    for i, j, k in chosen:
        l1, l2, l3 = first[i][0].l, second[j][0].l, out[k][0].l
        above = 2 * l3 + 1 if normalization == "component" else (2 * l1 + 1) * (2 * l2 + 1)
        own = fan_in(mode, first[i][1], second[j][1])
        below = sum(fans[k]) if path_normalization == "element" else own * len(fans[k])
        found.append(Path(i, j, k, mode, has_weight, sqrt(above / below) if below else 0.0))
    return tuple(found)
