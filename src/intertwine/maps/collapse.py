"""Two linear layers without a nonlinearity between them are one: the weights multiply through structure constants."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..groups import Lorentz
from .between import between
from .diagrams.category import STARRED, Diagram
from .diagrams.composition import compose
from .diagrams.functor import functor
from .diagrams.jellyfish import normal_form
from .diagrams.kernel import DiagramKernel
from .kernel import Kernel
from .map import MAX_ENTRIES, Map

Table = tuple[np.ndarray, np.ndarray, np.ndarray]  # pairs a * N_inner + b, basis map c, number: B_a B_b = sum of them


class Composition:
    """`outer` after `inner` as one Map: `map`, and the weight of it that two weights give; made by `Map.compose`.

    The basis maps are multiplied once: diagrams exactly, with a factor n for every part that closes up
    (arXiv:2304.14144, section 4), other bases by projecting the products of their matrices. Raises ValueError where
    inner.rep_out is not outer.rep_in, or where such matrices would be huge.
    """

    def __init__(self, outer: Map, inner: Map):
        if inner.rep_out != outer.rep_in:
            raise ValueError(f"compose: the inner map gives {inner.rep_out!r}, the outer takes {outer.rep_in!r}")
        self.outer, self.inner = outer, inner
        self.map = between(inner.rep_in, outer.rep_out, **vars(outer.options), allow_zero=True)
        first = {(block.index_out, block.index_in): k for k, block in enumerate(inner.blocks)}
        second = {(block.index_out, block.index_in): k for k, block in enumerate(outer.blocks)}
        self._chains = []
        for block in self.map.blocks:
            steps = []
            for j in range(len(outer.rep_in.terms)):
                a, b = second.get((block.index_out, j)), first.get((j, block.index_in))
                if a is not None and b is not None:
                    table = structure_constants(outer.blocks[a].kernel, inner.blocks[b].kernel, block.kernel)
                    steps.append((a, b, *(torch.from_numpy(array) for array in table)))
            self._chains.append((block, steps))

    def weight(
        self, outer_weight: Float[Tensor, " weights_outer"], inner_weight: Float[Tensor, " weights_inner"]
    ) -> Float[Tensor, " weights"]:
        """The weight of `map` with which it equals `outer` after `inner`; differentiable in both."""
        outer, inner = self.outer.weights(outer_weight), self.inner.weights(inner_weight)
        parts = [outer_weight.new_zeros(0)]
        for block, steps in self._chains:
            total = outer_weight.new_zeros(block.N, block.c_in, block.c_out)
            for a, b, pairs, places, numbers in steps:
                products = torch.einsum("bim,amo->abio", inner[b], outer[a]).flatten(0, 1)
                products = products.index_select(0, pairs.to(total.device)) * numbers.to(total)[:, None, None]
                total = total.index_add(0, places.to(total.device), products)
            parts.append(total.flatten())
        return torch.cat(parts)

    def __repr__(self) -> str:
        return (
            f"Composition({self.inner.rep_in} -> {self.inner.rep_out} -> {self.outer.rep_out}, {self.map.dim} weights)"
        )


@lru_cache(maxsize=128)
def structure_constants(outer: Kernel, inner: Kernel, whole: Kernel) -> Table:
    """The numbers C[a, b, c] != 0 with B_a B_b = Σ_c C[a, b, c] B_c, a from `outer`, b from `inner`, c from `whole`."""
    kernels = [_as_diagrams(kernel, whole) for kernel in (outer, inner, whole)]
    if all(kernel is not None for kernel in kernels):
        return _by_diagrams(*kernels)
    return _by_matrices(outer, inner, whole)


def _as_diagrams(kernel: Kernel, like: Kernel) -> DiagramKernel | None:
    """The kernel where its basis maps are diagrams; a map between invariants is one."""
    if isinstance(kernel, DiagramKernel):
        apart = any(d.kind in STARRED for d in kernel.diagrams)  # these kinds are multiplied as matrices
        return None if kernel.flipped or kernel.mix is not None or apart else kernel
    if kernel.N == kernel.dim_in == kernel.dim_out == 1 and isinstance(like, DiagramKernel):
        return DiagramKernel.scalars(like.group)
    return None


def _by_diagrams(outer: DiagramKernel, inner: DiagramKernel, whole: DiagramKernel) -> Table:
    place = {(d.blocks, d.head): c for c, d in enumerate(whole.diagrams)}  # between invariants the kind may differ
    reduced: dict[Diagram, dict[int, float]] = {}
    pairs, places, numbers = [], [], []
    for a, above in enumerate(outer.diagrams):
        for b, below in enumerate(inner.diagrams):
            found: dict[int, float] = {}
            for d, count in _product(above, below, whole).items():
                if (key := (d.blocks, d.head)) in place:
                    coordinates = {place[key]: 1.0}
                else:
                    if d not in reduced:
                        reduced[d] = _coordinates(d, whole)
                    coordinates = reduced[d]
                for c, number in coordinates.items():
                    found[c] = found.get(c, 0.0) + count * number
            for c, number in found.items():
                if number:
                    pairs.append(a * inner.N + b)
                    places.append(c)
                    numbers.append(number)
    return _table(pairs, places, numbers)


def _product(above: Diagram, below: Diagram, whole: DiagramKernel) -> dict[Diagram, int]:
    """The product of two diagrams as diagrams of the kinds that bases are made of."""
    if not above.blocks and not below.blocks:
        return {above: 1}
    if not (above.blocks and below.blocks) and above.k == 0:  # a number
        return {above if above.blocks else below: 1}
    group = whole.group
    product = compose(above, below, det_form=(-1) ** group.q if isinstance(group, Lorentz) else 1)
    total: dict[Diagram, int] = {}
    for d, count in product.at(group.dim_V).items():
        parts = normal_form(d).at(group.dim_V) if d.kind == "jellyfish" else {d: 1}
        for part, number in parts.items():
            total[part] = total.get(part, 0) + count * number
    return total


def _coordinates(d: Diagram, whole: DiagramKernel) -> dict[int, float]:
    """A diagram that is not in the basis, as n is small, in terms of those that are."""
    group = whole.group
    _guard(whole)
    basis = np.stack([functor(each, group).ravel() for each in whole.diagrams]).astype(np.float64)
    found = np.linalg.solve(basis @ basis.T, basis @ functor(d, group).ravel())
    return {int(c): float(found[c]) for c in np.flatnonzero(np.abs(found) > 1e-9)}


def _by_matrices(outer: Kernel, inner: Kernel, whole: Kernel) -> Table:
    for kernel in (outer, inner, whole):
        _guard(kernel)
    A, B, C = (kernel.dense() for kernel in (outer, inner, whole))
    flat = C.reshape(len(C), -1)
    inverse = np.linalg.pinv(flat @ flat.T, hermitian=True)
    numbers = np.stack([(a @ B).reshape(len(B), -1) @ flat.T @ inverse for a in A]) if len(A) else np.zeros((0, 0, 0))
    scale = np.abs(numbers).max(initial=0.0)
    a, b, c = np.nonzero(np.abs(numbers) > 1e-13 * scale)
    return _table(a * len(B) + b, c, numbers[a, b, c])


def _guard(kernel: Kernel) -> None:
    entries = kernel.N * kernel.dim_in * kernel.dim_out
    if entries > MAX_ENTRIES:
        raise ValueError(
            f"compose: {kernel.N} matrices of {kernel.dim_out} x {kernel.dim_in} would take {entries * 8 / 2**30:.1f} "
            "GiB; apply the two maps in turn, or compose maps whose blocks are diagrams"
        )


def _table(pairs, places, numbers) -> Table:
    return np.array(pairs, dtype=np.int64), np.array(places, dtype=np.int64), np.array(numbers, dtype=np.float64)
