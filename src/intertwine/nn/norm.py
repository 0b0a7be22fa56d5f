"""Normalisations that commute with a group: lengths are scaled, and only invariants are shifted."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..reps import Rep
from .activation import is_invariant


class _Norm(nn.Module):
    """Checks and parameters that the norms share: a scale for each channel of each term, a shift for invariants."""

    def __init__(self, rep: Rep, eps: float, affine: bool):
        super().__init__()
        name = type(self).__name__
        if not rep.is_orthogonal:
            raise ValueError(f"{name}: lengths are not invariant under {rep!r}, which is not orthogonal")
        if not eps > 0:
            raise ValueError(f"{name}: eps must be positive, got {eps}")
        self.rep_in = self.rep_out = rep
        self.eps = eps
        self.invariant = tuple(is_invariant(W) for W, _ in rep.terms)
        self.weight = nn.Parameter(torch.ones(sum(c for _, c in rep.terms))) if affine else None
        shifts = sum(c for (_, c), invariant in zip(rep.terms, self.invariant) if invariant)
        self.bias = nn.Parameter(torch.zeros(shifts)) if affine and shifts else None

    def extra_repr(self) -> str:
        """The representation."""
        return str(self.rep_in)

    def _blocks(self, x: Tensor) -> list[Tensor]:
        """The terms as [..., components, channels]."""
        return [
            block.reshape(*x.shape[:-1], W.dim, c) for (W, c), block in zip(self.rep_in.terms, self.rep_in.split(x))
        ]

    def _centered(self, x: Tensor) -> list[Tensor]:
        """The terms, invariants without their mean over the channels."""
        return [
            block - block.mean(-1, keepdim=True) if invariant else block
            for invariant, block in zip(self.invariant, self._blocks(x))
        ]

    def _join(self, blocks: list[Tensor]) -> Tensor:
        """Scale, shift and join what `_blocks` gave."""
        out, scale, shift = [], 0, 0
        for (_, c), invariant, block in zip(self.rep_in.terms, self.invariant, blocks):
            if self.weight is not None:
                block = block * self.weight[scale : scale + c]
            if self.bias is not None and invariant:
                block = block + self.bias[shift : shift + c]
                shift += c
            out.append(block.flatten(-2))
            scale += c
        return torch.cat(out, -1)


class EquivariantBatchNorm(_Norm):
    """Batch normalisation: invariants by mean and variance, other terms by the mean of |x|²/dim, channel by channel.

    Statistics run over all leading axes. Evaluation uses running ones (buffers `running_mean`, `running_square`; weight
    `momentum` for the newest batch). An empty batch passes unchanged. Raises ValueError for a representation that is
    not orthogonal.
    """

    def __init__(self, rep: Rep, *, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True):
        super().__init__(rep, eps, affine)
        self.momentum = momentum
        means = sum(c for (_, c), invariant in zip(rep.terms, self.invariant) if invariant)
        self.register_buffer("running_mean", torch.zeros(means))
        self.register_buffer("running_square", torch.ones(sum(c for _, c in rep.terms)))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Normalise; in training mode the running statistics move."""
        blocks = [block.flatten(0, -3) if x.ndim > 1 else block[None] for block in self._blocks(x)]
        learn = self.training and x.numel() > 0
        new, means, squares, mean_at, square_at = [], [], [], 0, 0
        for (_, c), invariant, block in zip(self.rep_in.terms, self.invariant, blocks):
            if invariant:
                mean = block.mean((0, 1)) if learn else self.running_mean[mean_at : mean_at + c]
                means.append(mean)
                block = block - mean
                mean_at += c
            square = block.square().mean((0, 1)) if learn else self.running_square[square_at : square_at + c]
            squares.append(square)
            new.append(block * torch.rsqrt(square + self.eps))
            square_at += c
        if learn:
            with torch.no_grad():
                self.running_square.lerp_(torch.cat(squares).detach().to(self.running_square), self.momentum)
                if means:
                    self.running_mean.lerp_(torch.cat(means).detach().to(self.running_mean), self.momentum)
        return self._join(new).reshape(x.shape)


class InstanceNorm(_Norm):
    """As `EquivariantBatchNorm`, with the statistics of each sample: over its points, channel by channel.

    Features are [.., points, dim]. With `graph`, the sample that each point belongs to, samples lie one after the other
    in one axis, [points, dim]. No running statistics: the same in training and evaluation.
    Raises ValueError for a representation that is not orthogonal.
    """

    def __init__(self, rep: Rep, *, eps: float = 1e-5, affine: bool = True):
        super().__init__(rep, eps, affine)

    def forward(
        self, x: Float[Tensor, "*batch points dim"], graph: Int[Tensor, " points"] | None = None, graphs: int = 0
    ) -> Float[Tensor, "*batch points dim"]:
        """Normalise. graphs: how many samples `graph` numbers. Raises ValueError where shapes do not fit."""
        if x.ndim < 2 or (graph is not None and graph.shape != x.shape[:-1]):
            index = "" if graph is None else f" with graph {tuple(graph.shape)}"
            raise ValueError(f"InstanceNorm: expected [.., points, dim], got {tuple(x.shape)}{index}")
        new = []
        for invariant, block in zip(self.invariant, self._blocks(x)):
            if invariant:
                block = block - _mean(block, graph, graphs)
            square = block.square().mean(-2, keepdim=True)
            new.append(block * torch.rsqrt(_mean(square, graph, graphs) + self.eps))
        return self._join(new)


def _mean(x: Tensor, graph: Tensor | None, graphs: int) -> Tensor:
    """The mean over the points of each sample, given to each of its points; [.., points, components, channels]."""
    if graph is None:
        return x.mean(-3, keepdim=True)
    sums = x.new_zeros(graphs, *x.shape[1:]).index_add(0, graph, x)
    counts = x.new_zeros(graphs).index_add(0, graph, x.new_ones(len(x)))
    return (sums / counts.clamp(min=1)[:, None, None]).index_select(0, graph)


class DegreeRMSNorm(_Norm):
    """Each term divided by its root mean square over components and channels, sample by sample.

    center: first take from invariants their mean over the channels, which for them is layer normalisation.
    Raises ValueError for a representation that is not orthogonal.
    """

    def __init__(self, rep: Rep, *, center: bool = False, eps: float = 1e-5, affine: bool = True):
        super().__init__(rep, eps, affine)
        self.center = center

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Normalise."""
        blocks = self._centered(x) if self.center else self._blocks(x)
        return self._join(
            [block * torch.rsqrt(block.square().mean((-2, -1), keepdim=True) + self.eps) for block in blocks]
        )


class SeparableLayerNorm(_Norm):
    """Invariants by layer normalisation; all other terms by one common root mean square (arXiv:2306.12059, sec. 4.3).

    That is √(mean over the terms of their mean square over components and channels, + eps), sample by sample; each
    invariant term has its own mean and variance over its channels. separate=False: invariants lose their mean, and
    share the root mean square with all others ("rms_norm_sh" in the paper's code).
    Raises ValueError for a representation that is not orthogonal.
    """

    def __init__(self, rep: Rep, *, separate: bool = True, eps: float = 1e-5, affine: bool = True):
        super().__init__(rep, eps, affine)
        self.separate = separate

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Normalise."""
        blocks = self._centered(x)
        squares = [block.square().mean((-2, -1), keepdim=True) for block in blocks]
        alone = [self.separate and invariant for invariant in self.invariant]
        shared = [square for square, own in zip(squares, alone) if not own]
        common = torch.rsqrt(sum(shared) / len(shared) + self.eps) if shared else None
        return self._join(
            [
                block * (torch.rsqrt(square + self.eps) if own else common)
                for block, square, own in zip(blocks, squares, alone)
            ]
        )
