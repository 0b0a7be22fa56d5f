"""Sums, means, maxima and softmax over rows that belong together: edges of a node, nodes of a graph."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def segment_sum(x: Float[Tensor, "rows *shape"], index: Int[Tensor, " rows"], n: int) -> Float[Tensor, "n *shape"]:
    """The sum of the rows of each segment 0..n - 1; 0 for an empty one."""
    return x.new_zeros(n, *x.shape[1:]).index_add(0, index, x)


def segment_mean(x: Float[Tensor, "rows *shape"], index: Int[Tensor, " rows"], n: int) -> Float[Tensor, "n *shape"]:
    """The mean of the rows of each segment 0..n - 1; 0 for an empty one."""
    count = segment_sum(x.new_ones(len(x)), index, n).clamp(min=1)
    return segment_sum(x, index, n) / count.reshape(-1, *[1] * (x.ndim - 1))


def segment_max(x: Float[Tensor, "rows *shape"], index: Int[Tensor, " rows"], n: int) -> Float[Tensor, "n *shape"]:
    """The largest entries among the rows of each segment 0..n - 1; 0 for an empty one."""
    where = index.reshape(-1, *[1] * (x.ndim - 1)).expand_as(x)
    return x.new_zeros(n, *x.shape[1:]).scatter_reduce(0, where, x, "amax", include_self=False)


def segment_softmax(
    x: Float[Tensor, "rows *shape"], index: Int[Tensor, " rows"], n: int
) -> Float[Tensor, "rows *shape"]:
    """Weights of the rows, which sum to 1 over each segment 0..n - 1: exp(x) over the sum of its segment."""
    top = segment_max(x.detach(), index, n)
    weight = torch.exp(x - top.index_select(0, index))
    return weight / segment_sum(weight, index, n).index_select(0, index)
