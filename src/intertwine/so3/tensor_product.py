"""The one door to tensor products: what map is asked for, and the method that runs it."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from . import couplings
from .cg_full import FULL_CHANNELS, FULL_DEGREE, FullProduct
from .cg_product import ClebschGordan
from .couplings import Piece
from .gaunt_layers import GauntTensorProduct
from .irreps import Irreps
from .matrix_product import FusedMatrixProduct
from .product_plan import METHODS, OTHER_MAPS, ProductPlan, path_ways, sphere_shapes, sphere_ways
from .so2_product import SO2Product
from .vector_product import VectorSignalProduct

WEIGHTS = ("external", "shared", "none", "separable")


class TensorProduct(nn.Module):
    """An equivariant product of two features. Weights and mode say which map it is, `method` how it is computed.

    A weight for each path: out_kw = Σ over paths of scale Σ_{ijuv} w_uvw C_ijk x_iu y_jv. mode: which channels u, v of
    the inputs meet in which channel w of the output, a key of `couplings.MODES`: "uvw" (all to all), "uvu", the default
    (depth-wise), "uvv", "uuw", "uuu" (element by element), "uvuv", "uvu<v", "u<vw". `paths` lists (i1, i2, i3), blocks
    of the inputs and the output, or `couplings.Path`s, which bring their scales; by default all that exist. Scales and
    the order of weights are e3nn's. weights: "external", the default (given in each call, [..., weight_numel]; the
    shape of path p is `path_shapes[p]`), "shared" (a parameter, standard normal, `generator` needed), "none". Methods:
    "cg"; and "so2" where the second input is harmonics of one direction, `spherical_harmonics(r, l)` (say so by
    harmonics=True), with mode "uvw" and shared weights: the same map in the frame of r, at O(L³). `mmax` cuts its
    orders, which is another map.

    weights="separable", a weight for each degree and channel: the product of functions on the sphere, for natural
    parity and equal channels, by method "gaunt_grid", "gaunt_fourier" or "cg". Cheap, and less expressive. Methods
    "matrix" and "vector" are other maps with separable weights (`FusedMatrixProduct`, `VectorSignalProduct`). All three
    take both parities too, as "2x0e + 2x1o + 2x0o + 2x1e": natural ones first.

    method="auto" takes the fastest way, by a cost model, to the very map asked for: never another map. `plan` prints
    the choice. Raises ValueError for a method that does not compute that map, for a path that does not exist or does
    not fit its channels; TypeError for mixed groups. Source: arXiv:2506.13523 (the maps and what each can express).
    """

    def __init__(
        self,
        rep1: Irreps | str,
        rep2: Irreps | str,
        rep_out: Irreps | str,
        paths: Sequence[tuple[int, int, int] | couplings.Path] | None = None,
        *,
        method: str = "auto",
        mode: str | None = None,
        weights: str | None = None,
        harmonics: bool = False,
        mmax: int | None = None,
        normalization: str = "component",
        path_normalization: str = "element",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"TensorProduct: method {method!r} is not one of {', '.join(METHODS)}")
        if weights is None:
            weights = "separable" if method.startswith("gaunt") or method in OTHER_MAPS else "external"
        if weights not in WEIGHTS:
            raise ValueError(f"TensorProduct: weights {weights!r} is not one of {WEIGHTS}")
        self.irreps_in1, self.irreps_in2, self.rep_out = Irreps(rep1), Irreps(rep2), Irreps(rep_out)
        self.weights, self.weight_numel, self.mmax = weights, 0, mmax
        self.pieces: tuple[tuple[Piece, ...], tuple[Piece, ...]] | None = None  # parts of blocks that paths count
        self.paths: tuple[couplings.Path, ...] = ()
        self.path_shapes: tuple[tuple[int, ...], ...] = ()
        if weights == "separable":
            if paths is not None or mode not in (None, "uuu") or mmax is not None:
                raise ValueError(
                    "TensorProduct: separable weights leave no choice of paths, modes (they go channel by channel, "
                    "'uuu') or orders"
                )
            self.mode = "uuu"
            self._use_sphere(method, generator)
            return
        self.mode = "uvu" if mode is None else mode
        self._use_paths(
            method,
            couplings.paths(
                self.irreps_in1,
                self.irreps_in2,
                self.rep_out,
                paths,
                mode=self.mode,
                has_weight=weights != "none",
                normalization=normalization,
                path_normalization=path_normalization,
            ),
            harmonics=harmonics,
        )
        if weights == "shared":
            if generator is None:
                raise ValueError("TensorProduct: weights='shared' are drawn at random: give a generator")
            self.weight = nn.Parameter(torch.randn(self.weight_numel, generator=generator))

    @property
    def _sides(self) -> tuple[Irreps, Irreps, Irreps]:
        return self.irreps_in1, self.irreps_in2, self.rep_out

    def _use_paths(
        self,
        method: str,
        paths: tuple[couplings.Path, ...],
        *,
        harmonics: bool = False,
    ) -> None:
        """Choose among the ways that have a weight for each path, or none."""
        if not paths:
            raise ValueError(
                f"TensorProduct: no path leads from {self.irreps_in1} ⊗ {self.irreps_in2} to {self.rep_out} "
                f"in mode {self.mode} ({couplings.MODES[self.mode]})"
            )
        first, second = self.pieces or (whole_blocks(self.irreps_in1), whole_blocks(self.irreps_in2))
        pays = any(stop - start >= FULL_CHANNELS for _, start, stop in (*first, *second))
        pays = pays or all(side.lmax <= FULL_DEGREE for side in self._sides)
        way = FullProduct if self.mode == "uvw" and pays else ClebschGordan
        product = way(*self._sides, paths, first, second)
        self.paths, self.path_shapes = paths, product.path_shapes
        if self.weights != "none":
            self.weight_numel = sum(math.prod(shape) for shape in self.path_shapes)
        ways = path_ways(self._sides, paths, product, weights=self.weights, harmonics=harmonics, mmax=self.mmax)
        kind = "no weights" if self.weights == "none" else f"{self.weights} weights for each path"
        self.plan = _choose(method, f"{self._text()}: mode {self.mode}, {kind}, {len(paths)} paths", ways)
        self.product = product if self.plan.method == "cg" else SO2Product(*self._sides, paths, self.mmax)

    def _use_sphere(self, method: str, generator: torch.Generator | None) -> None:
        """Choose among the ways of the product on the sphere, or take the other map that was named."""
        self.plan = _choose(method, f"{self._text()}: separable weights", sphere_ways(self._sides, method))
        method = self.plan.method
        shapes, parity = sphere_shapes(self._sides)
        free = all(irrep.p is None for side in self._sides for irrep, _ in side.blocks)
        if None in shapes or len({c for _, c in shapes}) > 1 or (method in OTHER_MAPS and not (free or parity)):
            raise ValueError(
                f"TensorProduct: method {method!r} over O(3) takes degrees 0..lmax of natural parity, then all of the "
                "other, as in '2x0e + 2x1o + 2x0o + 2x1e', in equal channels; over SO(3), without parities, it takes "
                f"each degree once; got {self._text()}"
            )
        degrees, channels = tuple(lmax for lmax, _ in shapes), shapes[0][1]
        if method == "matrix":
            self.product = FusedMatrixProduct(*degrees, channels, parity)
        elif method == "vector":
            self.product = VectorSignalProduct(*degrees, channels, parity=parity, generator=generator)
        else:
            self.product = GauntTensorProduct(*degrees, channels, method=method.removeprefix("gaunt_"), parity=parity)

    def _text(self) -> str:
        return f"{self.irreps_in1} ⊗ {self.irreps_in2} -> {self.rep_out}"

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Trailing shape of an external weight."""
        return (self.weight_numel,)

    def extra_repr(self) -> str:
        """Inputs, output, paths, method."""
        count = f"{len(self.paths)} paths {self.mode}" if self.paths else "separable weights"
        return f"{self._text()}, {count}, by {self.plan.method}"

    def forward(
        self,
        x1: Float[Tensor, "*#batch dim1"],
        x2: Float[Tensor, "*#batch dim2"],
        weight: Float[Tensor, "*#batch weights"] | None = None,
    ) -> Float[Tensor, "*batch dim_out"]:
        """The product; `weight` exactly when weights are external. Raises ValueError on a wrong trailing dimension."""
        if (weight is not None) != (self.weights == "external"):
            given = "no weight" if weight is None else "a weight"
            raise ValueError(f"TensorProduct: weights={self.weights!r}, but the call gave {given}")
        self.irreps_in1.check(x1)
        self.irreps_in2.check(x2)
        if self.weights == "separable":
            return self._on_functions(x1, x2)
        weight = self.weight if self.weights == "shared" else weight
        if weight is not None and weight.shape[-1] != self.weight_numel:
            raise ValueError(f"TensorProduct: {self.weight_numel} weights are needed, got shape {tuple(weight.shape)}")
        return self.product(x1, x2, weight)

    def _on_functions(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Flat features as [..., components, channels] and back."""
        channels = self.irreps_in1.blocks[0][1]
        halves = (2,) if getattr(self.product, "parity", False) else ()
        x, y = (z.reshape(*z.shape[:-1], *halves, -1, channels) for z in (x1, x2))
        return self.product(x, y).flatten(-2 - len(halves))


def whole_blocks(irreps: Irreps) -> tuple[Piece, ...]:
    """Every block as one piece."""
    return tuple((i, 0, c) for i, (_, c) in enumerate(irreps.blocks))


def _choose(method: str, asked: str, ways: tuple) -> ProductPlan:
    found = {way.method: way for way in ways}
    if method == "auto":
        possible = [way for way in ways if not way.why_not]
        if not possible:
            reasons = "; ".join(f"{way.method}: {way.why_not}" for way in ways if way.method not in OTHER_MAPS)
            raise ValueError(f"TensorProduct: nothing computes {asked}. {reasons}")
        method = min(possible, key=lambda way: way.seconds).method
    elif found[method].why_not:
        raise ValueError(f"TensorProduct: method {method!r} cannot run {asked}: {found[method].why_not}")
    return ProductPlan(method, asked, ways)
