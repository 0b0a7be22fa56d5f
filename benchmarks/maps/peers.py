"""What a layer of diagrams is compared with: the dense matrix, the hand-written graph layer, one einsum a diagram."""

import string
from collections.abc import Callable

import torch
from torch import Tensor

from intertwine import maps
from intertwine.groups import S
from intertwine.maps import Map

Layer = Callable[[Tensor, Tensor], Tensor]  # (features, weights) -> features


def fifteen(x: Tensor) -> Tensor:
    """The 15 operations between graphs [batch, c, n, n], stacked on axis 2: how such layers are usually written."""
    n = x.shape[-1]
    d = x.diagonal(dim1=2, dim2=3)
    trace, rows, columns = d.sum(2, keepdim=True), x.sum(3), x.sum(2)
    total = rows.sum(2, keepdim=True)

    def spread(v: Tensor) -> Tensor:
        return v.expand(-1, -1, n)

    operations = [torch.diag_embed(v) for v in (d, spread(trace), rows, columns, spread(total))]
    operations += [v[:, :, :, None].expand_as(x) for v in (columns, rows, d)]
    operations += [v[:, :, None].expand_as(x) for v in (columns, rows, d)]
    operations += [x, x.transpose(2, 3), trace[..., None].expand_as(x), total[..., None].expand_as(x)]
    return torch.stack(operations, 2)


def stacked(x: Tensor, w: Tensor) -> Tensor:
    """The usual order-2 layer: stack all 15 tensors, then one einsum. x [batch, c, n, n], w [c, c_out, 15]."""
    return torch.einsum("dsb,ndbij->nsij", w, fifteen(x))


def stacked_as_product(x: Tensor, w: Tensor) -> Tensor:
    """The same with the contraction written as one batched matrix product, the best we could make of it."""
    batch, _, n, _ = x.shape
    S_ = fifteen(x).reshape(batch, -1, n * n)
    return (w.permute(1, 0, 2).reshape(w.shape[1], -1) @ S_).view(batch, -1, n, n)


def fifteen_in_our_order() -> Tensor:
    """Which of our basis maps each of the 15 operations is: diagrams do not depend on n."""
    space = maps.between(S(5).V ** 2, S(5).V ** 2)
    units = torch.eye(25, dtype=torch.float64).view(25, 1, 5, 5)
    matrices = fifteen(units)[:, 0].permute(1, 2, 3, 0).reshape(15, 25, 25)
    return torch.stack([space.project(M) for M in matrices]).round().argmax(1)


def dense(space: Map, dtype: torch.dtype) -> Layer:
    """The dense matrix, made from the weights [N, c_in, c_out] and the basis at every step, then applied."""
    (block,) = space.blocks
    basis = block.dense(dtype)
    size = basis.shape[1] * block.c_out, basis.shape[2] * block.c_in

    def run(x: Tensor, w: Tensor) -> Tensor:
        return x @ torch.einsum("nij,ncd->idjc", basis, w).reshape(size).T

    return run


def one_by_one(space: Map) -> Layer:
    """One contraction, one product and one broadcast for each partition: no work is shared, nothing is dense."""
    (block,) = space.blocks
    n, k, l = space.rep_in.group.dim_V, block.kernel.U.order, block.kernel.W.order
    steps = [_texts(d) for d in block.kernel.diagrams]

    def run(x: Tensor, w: Tensor) -> Tensor:
        batch = x.shape[0]
        X = x.view(batch, *(n,) * k, block.c_in)
        y = x.new_zeros(batch, *(n,) * l, block.c_out)
        for (contract, order, shape, ties), weight in zip(steps, w):
            part = torch.einsum(contract, X) @ weight
            part = part.permute(0, *(1 + a for a in order), part.ndim - 1)
            view = y
            for first, second in ties:
                view = view.diagonal(dim1=1 + first, dim2=1 + second).movedim(-1, 1 + first)
            view += part.reshape(batch, *(n if wide else 1 for wide in shape), block.c_out)
        return y.view(batch, -1)

    return run


def _texts(d):
    """The einsum that contracts, the order of through axes, which output axes they fill, and which axes are tied."""
    names = {p: letter for block, letter in zip(d.blocks, string.ascii_lowercase) for p in block}
    through = [names[block[0]] for block in d.through]
    bottom = "".join(names[p] for p in range(d.l, d.l + d.k))
    kept = [letter for letter in dict.fromkeys(bottom) if letter in through]
    tops = [names[p] for p in range(d.l)]
    unique = list(dict.fromkeys(tops))
    order = [kept.index(letter) for letter in unique if letter in through]
    ties, left = [], list(tops)
    for letter in unique:
        first = left.index(letter)
        while left.count(letter) > 1:
            second = left.index(letter, first + 1)
            ties.append((first, second))
            left.pop(second)
    shape = [letter in through for letter in unique]
    return f"Z{bottom}Y->Z{''.join(kept)}Y", order, shape, ties
