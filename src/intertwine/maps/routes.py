"""The rules by which a basis of Hom(U, W) is found, in order: the first that applies wins.

A rule is a function (group, U, W, options) -> Kernel, or None where it does not apply. Closed forms belong in front.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import solve_triangular

from ..groups import Automorphism, Group, Wreath
from ..reps import Product
from . import frobenius, isotypic, product, schur, solver, wreath
from .dense import DenseKernel
from .diagrams import graph_basis
from .diagrams import kernel as diagrams
from .kernel import Kernel


@dataclass(frozen=True)
class Options:
    """What the caller of `between` may choose."""

    method: str = "auto"
    basis: str = "independent"
    max_dim: int = solver.MAX_DIM
    tol: float = solver.TOL
    cache: Path | None = None

    def __post_init__(self):
        known = ("auto", *(name for name, _ in ROUTES))
        if self.method not in known:
            raise ValueError(f"between: method must be one of {known}, got {self.method!r}")
        if self.basis not in BASES:
            raise ValueError(f"between: basis must be one of {BASES}, got {self.basis!r}")


Route = Callable[[Group, Product, Product, Options], Kernel | None]
BASES = ("independent", "spanning", "orbit", "orthonormal", "graphs")


def _diagrams(group: Group, U: Product, W: Product, options: Options) -> Kernel | None:
    if isinstance(group, Automorphism):
        how = {"tol": options.tol, "max_dim": options.max_dim, "cache": options.cache}
        return graph_basis.kernel(group, U, W, options.basis, **how)
    return diagrams.kernel(group, U, W, options.basis if options.basis in ("spanning", "orbit") else "independent")


def _schur(group: Group, U: Product, W: Product, options: Options) -> Kernel | None:
    found = schur.kernel(group, U, W)
    if found is None and options.basis != "orbit":
        found = isotypic.kernel(group, U, W, asked=options.method == "schur")
    return found


def _product(group: Group, U: Product, W: Product, options: Options) -> Kernel | None:
    inner = Options("auto", "independent", options.max_dim, options.tol, options.cache)
    rule = wreath.kernel if isinstance(group, Wreath) else product.kernel
    return rule(group, U, W, lambda member, u, w: find(member, u, w, inner))


def _frobenius(group: Group, U: Product, W: Product, options: Options) -> Kernel | None:
    inner = Options("auto", "independent", options.max_dim, options.tol, options.cache)
    asked = options.method == "frobenius"
    return frobenius.kernel(group, U, W, lambda H, u, w: find(H, u, w, inner), asked=asked)


def _solver(group: Group, U: Product, W: Product, options: Options) -> Kernel:
    return solver.hom(group, U, W, tol=options.tol, max_dim=options.max_dim, cache=options.cache)


ROUTES: tuple[tuple[str, Route], ...] = (
    ("diagrams", _diagrams),
    ("schur", _schur),
    ("product", _product),
    ("frobenius", _frobenius),
    ("solver", _solver),
)


def find(group: Group, U: Product, W: Product, options: Options) -> Kernel:
    """A basis of Hom(U, W) by the first rule that applies, or by the one that `options.method` names.

    Raises ValueError where the named rule does not apply.
    """
    U, W = schur.simplified(U), schur.simplified(W)
    if options.basis == "orbit" and not all(factor.is_permutation for factor in (*U.factors, *W.factors)):
        raise ValueError(f"between: basis 'orbit' needs a permutation group; {U} -> {W} of {group} does not permute")
    if options.basis == "graphs" and not isinstance(group, Automorphism):
        raise ValueError(f"between: basis 'graphs' needs Automorphism(graph), a graph to map to; got {group}")
    for name, route in ROUTES:
        if options.method in ("auto", name):
            with torch.device("cpu"):  # whatever the default is: a model may be built on the meta device
                kernel = route(group, U, W, options)
            if kernel is not None:
                return orthonormalized(kernel) if options.basis == "orthonormal" else kernel
    raise ValueError(f"between: method {options.method!r} does not serve {U} -> {W} of {group}; use method='auto'")


def orthonormalized(kernel: Kernel) -> Kernel:
    """The same space in the basis that Gram-Schmidt makes of this one; itself where it is orthonormal already."""
    basis = kernel.dense()
    flat = basis.reshape(len(basis), kernel.dim_out * kernel.dim_in)
    G = flat @ flat.T
    if np.abs(G - np.eye(len(G))).max(initial=0.0) < 1e-12:
        return kernel
    turned = solve_triangular(np.linalg.cholesky(G), flat, lower=True)
    return DenseKernel(turned.reshape(basis.shape), kernel.labels, kernel.route)
