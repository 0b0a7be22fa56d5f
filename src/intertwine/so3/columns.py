"""Features as one wide matrix, [components, samples · channels], so that every constant map is one matrix product."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

# numbers in the largest intermediate of one chunk: on a CPU it stays in the cache of a core, elsewhere in memory
_CACHED, _ELSEWHERE = 2**18, 2**27
_LEAST = 256  # columns; below, the calls cost more than the cache saves


def columns(x: Float[Tensor, "*batch components channels"]) -> Float[Tensor, "components n"]:
    """Components first, everything else in one axis."""
    return x.movedim(-2, 0).reshape(x.shape[-2], -1)


def rows(z: Float[Tensor, "components n"], shape: torch.Size) -> Float[Tensor, "*batch components channels"]:
    """Back to the batch and channels of `shape`, contiguous."""
    return z.reshape(len(z), *shape[:-2], shape[-1]).movedim(0, -2).contiguous()


def multiplied_by_chunks(
    product: Callable[[Tensor, Tensor], Tensor],
    x: Float[Tensor, "*batch components1 channels"],
    y: Float[Tensor, "*batch components2 channels"],
    largest: int,
) -> Float[Tensor, "*batch components channels"]:
    """A product of columns, in chunks for which an intermediate of `largest` numbers a column fits the cache.

    Where `x is y`, so are the chunks. A compiler gets one chunk.
    """
    first = columns(x)
    size = max(_LEAST, (_CACHED if x.device.type == "cpu" else _ELSEWHERE) // largest)
    if torch.compiler.is_compiling() or first.shape[1] <= size:
        return rows(product(first, first if x is y else columns(y)), x.shape)
    chunks = first.split(size, 1)
    others = chunks if x is y else columns(y).split(size, 1)
    return rows(torch.cat([product(a, b) for a, b in zip(chunks, others)], 1), x.shape)
