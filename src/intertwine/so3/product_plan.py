"""Which way to run a tensor product: what computes the map that was asked for, at what predicted cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from .cg_full import FullProduct
from .cg_product import ClebschGordan
from .couplings import Path
from .gaunt_methods import candidates
from .irreps import Irreps
from .rates import rate
from .so2_product import SO2Product, direction, spherical_shape
from .two_parities import two_parity_shape

METHODS = ("auto", "cg", "so2", "gaunt_grid", "gaunt_fourier", "matrix", "vector")
SPHERE = ("cg", "gaunt_grid", "gaunt_fourier")  # one map, three ways: the product of functions on the sphere
OTHER_MAPS = ("matrix", "vector")  # other maps, so they run by name only


@dataclass(frozen=True)
class Way:
    """One method: its cost for one sample, or why it cannot run."""

    method: str
    flops: float = 0.0
    moved: float = 0.0
    seconds: float = 0.0
    why_not: str = ""

    def __str__(self) -> str:
        if self.why_not:
            return f"{self.method:13} no: {self.why_not}"
        cost = f"{self.flops:.3g} flops, {self.moved:.3g} bytes" if self.flops else "not predicted"
        return f"{self.method:13} {cost}" + (f", {1e6 * self.seconds:.3g} µs predicted" if self.seconds else "")


@dataclass(frozen=True)
class ProductPlan:
    """What a `TensorProduct` runs and why; print it."""

    method: str
    asked: str  # the map, in words
    ways: tuple[Way, ...]  # for one sample

    def __str__(self) -> str:
        lines = [f"{self.asked}; one sample:"]
        lines += [f"  {way}{' <- runs' if way.method == self.method else ''}" for way in self.ways]
        return "\n".join(lines)


def path_ways(
    sides: tuple[Irreps, Irreps, Irreps],
    paths: Sequence[Path],
    product: ClebschGordan | FullProduct,
    *,
    weights: str,
    harmonics: bool,
    mmax: int | None,
) -> tuple[Way, ...]:
    """Ways for a map with a weight for each path, or none at all."""
    found = [_way("cg", *product.cost()) if mmax is None else Way("cg", why_not=f"it has no orders to cut at {mmax=}")]
    reason = ""
    if not harmonics:
        reason = "the second input is not known to be harmonics of one direction (harmonics=True says so)"
    elif paths[0].mode != "uvw" or weights != "shared":
        reason = f"it needs mode 'uvw' with shared weights, not {paths[0].mode!r} with {weights!r}"
    elif spherical_shape(sides[0]) is None or spherical_shape(sides[2]) is None:
        reason = "features must have degrees 0..lmax once each, in equal channels"
    elif direction(sides[1]) is None:
        reason = f"{sides[1]} holds no direction: one channel of each degree, degree 1 among them"
    if reason:
        found.append(Way("so2", why_not=reason))
    else:
        found.append(_way("so2", *SO2Product(*sides, tuple(paths), mmax).cost()))
    free = "no weight for each path; weights='separable' asks for what it can do"
    return *found, *(Way(method, why_not=free) for method in METHODS[3:])


def sphere_ways(sides: tuple[Irreps, Irreps, Irreps], method: str) -> tuple[Way, ...]:
    """Ways for the product of functions on the sphere with separable weights, and the maps that only a name chooses."""
    shapes, halves = sphere_shapes(sides)
    why = ""
    if None in shapes or len({c for _, c in shapes}) > 1:
        why = "all three must have degrees 0..lmax once each, in equal channels (or so once for each parity)"
    elif not halves and any(not irrep.natural for side in sides for irrep, _ in side.blocks):
        why = "parities must be natural, (-1)^l, or both, degrees 0..lmax of natural parity, then all of the other"
    elif shapes[2][0] > shapes[0][0] + shapes[1][0]:
        why = f"degrees {shapes[0][0]} and {shapes[1][0]} give none above their sum, not {shapes[2][0]}"
    if why:
        found = [Way(name, why_not=why) for name in SPHERE]
    else:
        channels = shapes[0][1] * (2 if halves else 1)  # sums and differences of both parities
        plans = {plan.method: plan for plan in candidates(*(lmax for lmax, _ in shapes))}
        grid = min((plans["grid"], plans["rings"]), key=lambda plan: plan.seconds)
        found = []
        for name, plan in zip(SPHERE, (plans["cg"], grid, plans["fourier"])):
            flops, moved = plan.cost()
            found.append(Way(name, channels * flops, channels * moved, channels * plan.seconds))
    found.append(Way("so2", why_not="weights are separable: it has one for each path"))
    other = "another map (see docs/tensor-products.md): it runs only by name"
    return *found, *(Way(name) if name == method else Way(name, why_not=other) for name in OTHER_MAPS)


def sphere_shapes(sides: tuple[Irreps, ...]) -> tuple[list[tuple[int, int] | None], bool]:
    """(lmax, channels) of all three, None where they have no such thing, and whether all have both parities."""
    both = [two_parity_shape(side) for side in sides]
    return ([spherical_shape(side) for side in sides], False) if None in both else (both, True)


def _way(method: str, flops: float, moved: float, calls: int) -> Way:
    return Way(method, flops, moved, rate(method).seconds(flops, moved, calls))
