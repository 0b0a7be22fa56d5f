"""A gate that needs no extra scalars: the scalars and lengths of a feature decide how much of it passes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..reps import Rep
from .activation import is_invariant
from .perceptron import affine


class NormGate(nn.Module):
    """Invariants and lengths through Linear–SiLU–Linear: invariants come out new, every other feature is scaled.

    One number for each channel of each term goes in and comes out; |x| = √(Σ x² + ε²) over the components, smooth at 0.
    The scales are near one at first. Any orthogonal representation; ValueError for others.
    Source: arXiv:2306.04922.
    """

    def __init__(self, rep: Rep, *, eps: float = 1e-6, generator: torch.Generator | None = None):
        super().__init__()
        if not rep.is_orthogonal:
            raise ValueError(f"NormGate: lengths are not invariant under {rep!r}, which is not orthogonal")
        self.rep_in = self.rep_out = rep
        self.eps = eps
        numbers = sum(c for _, c in rep.terms)
        self.first = affine(numbers, numbers, generator=generator)
        self.last = affine(numbers, numbers, generator=generator)
        start = 0
        with torch.no_grad():
            for W, c in rep.terms:
                if not is_invariant(W):
                    self.last.bias[start : start + c] += 1
                start += c

    def extra_repr(self) -> str:
        """Representation."""
        return str(self.rep_in)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Gate x. Raises ValueError on a wrong trailing dimension."""
        self.rep_in.check(x)
        blocks = self.rep_in.split(x)
        lengths = []
        for (W, _), block in zip(self.rep_in.terms, blocks):
            flat = block.flatten(-1 - len(W.shape), -2) if W.shape else block.unsqueeze(-2)
            lengths.append(flat.squeeze(-2) if is_invariant(W) else torch.sqrt(flat.square().sum(-2) + self.eps**2))
        numbers = self.last(nn.functional.silu(self.first(torch.cat(lengths, -1))))
        out = []
        for (W, c), block, own in zip(self.rep_in.terms, blocks, numbers.split([c for _, c in self.rep_in.terms], -1)):
            own = own.reshape(*own.shape[:-1], *[1] * len(W.shape), c)
            out.append(own.expand_as(block) if is_invariant(W) else block * own)
        return self.rep_out.join(out)
