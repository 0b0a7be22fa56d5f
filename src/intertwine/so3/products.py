"""The usual tensor products in one line each; outputs, order and scales are those of e3nn's classes."""

from collections.abc import Iterable

import torch

from .couplings import Piece
from .irreps import Irrep, Irreps, as_irrep
from .tensor_product import TensorProduct


def full_tensor_product(
    rep1: Irreps | str,
    rep2: Irreps | str,
    *,
    keep: Iterable[Irrep | str] | None = None,
    normalization: str = "component",
) -> TensorProduct:
    """Every product of every pair of channels, without weights: x ⊗ y written in irreps, sorted.

    keep: only these irreps. Same numbers as e3nn's FullTensorProduct, which joins equal neighbouring terms
    first (`simplify`). Raises ValueError where nothing is left.
    """
    first, second = Irreps(rep1), Irreps(rep2)
    kept = None if keep is None else {as_irrep(irrep) for irrep in keep}
    found = [
        (i, j, irrep, c1 * c2)
        for i, (a, c1) in enumerate(first.blocks)
        for j, (b, c2) in enumerate(second.blocks)
        for irrep in a * b
        if kept is None or irrep in kept
    ]
    order = sorted(range(len(found)), key=lambda n: found[n][2]._order)
    rep_out = Irreps([(found[n][3], found[n][2]) for n in order])
    place = {n: k for k, n in enumerate(order)}
    paths = [(i, j, place[n]) for n, (i, j, _, _) in enumerate(found)]
    return TensorProduct(first, second, rep_out, paths, mode="uvuv", weights="none", normalization=normalization)


def fully_connected(
    rep1: Irreps | str,
    rep2: Irreps | str,
    rep_out: Irreps | str,
    *,
    weights: str = "shared",
    generator: torch.Generator | None = None,
    **options,
) -> TensorProduct:
    """Every path, all channels to all: mode "uvw". Same numbers as e3nn's FullyConnectedTensorProduct.

    options: those of `TensorProduct`, such as harmonics=True where `rep2` is an edge's harmonics.
    """
    return TensorProduct(rep1, rep2, rep_out, mode="uvw", weights=weights, generator=generator, **options)


def elementwise(
    rep1: Irreps | str,
    rep2: Irreps | str,
    *,
    keep: Iterable[Irrep | str] | None = None,
    normalization: str = "component",
) -> TensorProduct:
    """Channel n of the first with channel n of the second, counted over all blocks, without weights.

    Same numbers as e3nn's ElementwiseTensorProduct, which joins equal neighbouring terms first (`simplify`). keep: only
    these irreps.
    Raises ValueError unless both have equally many channels.
    """
    first, second = Irreps(rep1), Irreps(rep2)
    counts = [sum(c for _, c in irreps.blocks) for irreps in (first, second)]
    if counts[0] != counts[1]:
        raise ValueError(f"elementwise: {first} has {counts[0]} channels, {second} has {counts[1]}; they go in pairs")
    kept = None if keep is None else {as_irrep(irrep) for irrep in keep}
    pieces = _common(first, second)
    found = [
        (n, irrep, stop - start)
        for n, ((i, start, stop), (j, _, _)) in enumerate(zip(*pieces))
        for irrep in first.blocks[i][0] * second.blocks[j][0]
        if kept is None or irrep in kept
    ]
    cut = [
        Irreps([(stop - start, irreps.blocks[i][0]) for i, start, stop in own])
        for irreps, own in zip((first, second), pieces)
    ]
    rep_out, paths = Irreps([(c, irrep) for _, irrep, c in found]), [(n, n, k) for k, (n, _, _) in enumerate(found)]
    product = TensorProduct(*cut, rep_out, paths, mode="uuu", weights="none", normalization=normalization)
    if cut[0].blocks != first.blocks or cut[1].blocks != second.blocks:
        product.irreps_in1, product.irreps_in2, product.pieces = first, second, pieces
        product._use_paths("cg", product.paths)
    return product


def _common(first: Irreps, second: Irreps) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Both cut into the longest pieces that have equal channels."""
    found: tuple[list[Piece], list[Piece]] = ([], [])
    at = [[0, 0], [0, 0]]  # block, channel
    blocks = first.blocks, second.blocks
    while all(i < len(b) for (i, _), b in zip(at, blocks)):
        length = min(b[i][1] - start for (i, start), b in zip(at, blocks))
        for side, (place, b) in enumerate(zip(at, blocks)):
            found[side].append((place[0], place[1], place[1] + length))
            place[1] += length
            if place[1] == b[place[0]][1]:
                place[:] = [place[0] + 1, 0]
    return tuple(found[0]), tuple(found[1])
