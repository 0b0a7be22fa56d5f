"""Lengths that can be differentiated, as often as needed, where a vector vanishes."""

import torch
from jaxtyping import Float
from torch import Tensor


def root(square: Float[Tensor, "*shape"], least: Tensor | float = 0.0) -> Float[Tensor, "*shape"]:
    """√ of squares, and 0 with zero derivatives of every order where they are no more than `least`."""
    kept = square > least
    return torch.where(kept, torch.where(kept, square, 1.0).sqrt(), 0.0)


def length(v: Float[Tensor, "*batch n"], of: Float[Tensor, "*#batch n"] | None = None) -> Float[Tensor, "*batch"]:
    """|v|, with zero derivatives of every order where |v| is zero, or no more than the rounding of `of`."""
    least = 0.0 if of is None else (64 * torch.finfo(v.dtype).eps) ** 2 * of.detach().square().sum(-1)
    return root(v.square().sum(-1), least)
