"""Features of both parities: a product over SO(3) becomes one over O(3) that keeps them apart, at twice its cost.

What is even under inversion and what is odd multiply like the numbers of one bit: even · odd is odd, odd · odd even.
So (even + odd) and (even - odd) multiply apart, two products instead of four.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .irreps import Irrep, Irreps


def both_parities(lmax: int, channels: int) -> Irreps:
    """Degrees 0..lmax of parity (-1)^l, then those of the other: features [..., 2, (lmax+1)², channels], flat."""
    return Irreps([(channels, Irrep(l, kind * (-1) ** l)) for kind in (1, -1) for l in range(lmax + 1)])


def two_parity_shape(irreps: Irreps) -> tuple[int, int] | None:
    """(lmax, channels) of irreps that are laid out as `both_parities` lays them out."""
    half = len(irreps.blocks) // 2
    channels = {c for _, c in irreps.blocks}
    if half == 0 or len(channels) > 1 or irreps.blocks[0][0].p is None:
        return None
    found = half - 1, channels.pop()
    return found if both_parities(*found).blocks == irreps.blocks else None


def multiplied_apart(
    product: Callable[[Tensor, Tensor], Tensor],
    x: tuple[Float[Tensor, "*batch rows1 channels"], Float[Tensor, "*batch rows1 channels"]],
    y: tuple[Float[Tensor, "*batch rows2 channels"], Float[Tensor, "*batch rows2 channels"]],
    signs: tuple[Float[Tensor, "rows 1"] | None, ...] = (None, None, None),
) -> tuple[Float[Tensor, "*batch rows channels"], Float[Tensor, "*batch rows channels"]]:
    """The product of (natural, other) with (natural, other), by one call on twice the batch.

    signs: for both factors and the product, 1 for the rows in which natural parity is the even one of the two, else -1;
    None: 1 for all.
    """

    def folded(pair: tuple[Tensor, Tensor], sign: Tensor | None) -> Tensor:
        natural, other = pair
        difference = natural - other
        return torch.stack([natural + other, difference if sign is None else difference * sign])

    plus, minus = product(folded(x, signs[0]), folded(y, signs[1])).unbind(0)
    minus = minus if signs[2] is None else minus * signs[2]
    return (plus + minus) / 2, (plus - minus) / 2
