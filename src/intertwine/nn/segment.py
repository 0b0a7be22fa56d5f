"""Sums, means, maxima and softmax over rows that belong together: edges of a node, nodes of a graph."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def segment_sum(x: Float[Tensor, "rows *shape"], index: Int[Tensor, " rows"], n: int) -> Float[Tensor, "n *shape"]:
    """The sum of the rows of each segment 0..n - 1; 0 for an empty one."""
    return x.new_zeros(n, *x.shape[1:]).index_add(0, index, x)


def segment_mean(x: Float[Tensor, "rows *shape"], index: Int[Tensor, " rows"], n: int) -> Float[Tensor, "n *shape"]:
    """The mean of the rows of each segment 0..n - 1; 0 for an empty one."""
    count = segment_sum(x.new_ones(x.shape[0]), index, n).clamp(min=1)
    return segment_sum(x, index, n) / count.reshape(-1, *[1] * (x.ndim - 1))


def segment_max(x: Float[Tensor, "rows *shape"], index: Int[Tensor, " rows"], n: int) -> Float[Tensor, "n *shape"]:
    """The largest entries among the rows of each segment 0..n - 1; 0 for an empty one."""
    where = index.reshape(-1, *[1] * (x.ndim - 1)).expand_as(x)
    return x.new_zeros(n, *x.shape[1:]).scatter_reduce(0, where, x, "amax", include_self=False)


def segment_softmax(
    x: Float[Tensor, "rows *shape"],
    index: Int[Tensor, " rows"],
    n: int,
    weight: Float[Tensor, "rows *#shape"] | None = None,
) -> Float[Tensor, "rows *shape"]:
    """Shares of the rows, which sum to 1 over each segment 0..n - 1: exp(x) over the sum of its segment.

    weight: factors of exp(x), at least 0, above and below the line; shares are 0 in a segment whose factors all are.
    """
    if weight is None:
        top = segment_max(x.detach(), index, n)
        share = torch.exp(x - top.index_select(0, index))
        return share / segment_sum(share, index, n).index_select(0, index)
    # A row that hardly counts must not decide the scale, or the others underflow.
    none, least = weight == 0, torch.finfo(x.dtype).min
    top = segment_max((x + weight.clamp(min=1e-30).log()).detach().masked_fill(none, least), index, n)
    share = weight * torch.exp((x - top.index_select(0, index)).masked_fill(none, 0))
    total = segment_sum(share, index, n)
    return share / total.masked_fill(total == 0, 1).index_select(0, index)
