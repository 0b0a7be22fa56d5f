"""A Map plus parameters: the linear layer for any pair of representations of any group."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from .. import maps
from ..maps import Block, Map
from ..maps.constants import Constants
from ..reps import Rep

NORMALIZATIONS = ("rms", "mean", "none")


class Linear(nn.Module):
    """y = sum_b w_b B_b x + bias, where the B_b span all linear maps that commute with the group.

    One scalar weight for each (basis map, input channel, output channel), and in the bias one for each (invariant of a
    term of rep_out, channel); a rep_out without invariants has `bias = None`. The basis maps are scaled so that for x
    with independent entries of mean 0 and variance 1 the output variance, averaged over the entries of each term, is
    gain² (exactly, in the mean over weights). The bias starts at zero.

    normalize: "rms" scales a basis map by its root mean square row, for permutations by its largest row norm; "mean"
    by the largest row sum for permutations, so that sums over a set become means and features that are not centred
    stay of order one (with "rms" they grow like the root of the set's size); "none" leaves the basis as it is.
    generator: draws the initial weights (torch's default generator otherwise).
    Raises ValueError when the groups differ, when `normalize` is unknown, and when the only map is zero, unless
    `allow_zero`. A state dict made for other representations, or another basis, is refused on loading.
    Source: arXiv:2104.09459 (the space of maps), arXiv:2212.08648 (bias as maps from the trivial representation).
    """

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        *,
        bias: bool = True,
        gain: float = 1.0,
        normalize: str = "rms",
        generator: torch.Generator | None = None,
        allow_zero: bool = False,
        **options,
    ):
        super().__init__()
        if isinstance(rep_in, Rep) and isinstance(rep_out, Rep) and rep_in.group != rep_out.group:
            raise ValueError(f"Linear: rep_in belongs to {rep_in.group}, rep_out to {rep_out.group}")
        if normalize not in NORMALIZATIONS:
            raise ValueError(f"Linear: normalize must be one of {NORMALIZATIONS}, got {normalize!r}")
        self.gain, self.normalize = float(gain), normalize
        space = maps.between(rep_in, rep_out, allow_zero=allow_zero, **options)
        self._use(space, maps.invariants(rep_out, allow_zero=True, **options) if bias else None)
        self.weight = nn.Parameter(torch.empty(space.dim))
        self.register_parameter("bias", nn.Parameter(torch.empty(self.bias_map.dim)) if self.bias_map else None)
        self.reset_parameters(generator)

    def _use(self, space: Map, bias_space: Map | None) -> None:
        """Set what depends on the maps alone."""
        self.rep_in, self.rep_out = space.rep_in, space.rep_out
        self.map, self.bias_map = space, bias_space if bias_space is not None and bias_space.dim else None
        self._apply_map = _Scaled(space, self.normalize)
        if self.bias_map is not None and self.bias_map.is_one_layer:
            self._apply_both = _WithBias(space, self.bias_map, self.normalize)
        elif self.bias_map is not None:
            self._apply_bias = _Scaled(self.bias_map, self.normalize)

    def at_size(self, n: int) -> "Linear":
        """This layer on R^n, for another size of the set or dimension of the space; both share their parameters.

        For layers made of diagrams (see `Map.at_size`, whose ValueErrors it raises). With normalize="mean" the
        functions agree on features that do not depend on n; with "rms" each size is scaled to variance gain².
        """
        other = Linear.__new__(Linear)
        nn.Module.__init__(other)
        other.gain, other.normalize = self.gain, self.normalize
        other._use(self.map.at_size(n), None if self.bias_map is None else self.bias_map.at_size(n))
        other.to(self.weight.device, self.weight.dtype)
        other.weight = self.weight
        other.register_parameter("bias", self.bias)
        return other.train(self.training)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights anew and set the bias to zero."""
        for block, deviation in zip(self.map.blocks, deviations(self.map, self.normalize, self.gain)):
            part = self.weight[block.start : block.stop]
            draw = torch.randn(part.shape, generator=generator, dtype=torch.float64, device=_device(generator))
            part.copy_(draw * deviation)
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        """The layer on features of rep_in; raises ValueError when the trailing dimension is not rep_in.dim."""
        if x.shape[-1] != self.rep_in.dim:
            raise ValueError(
                f"Linear: rep_in is {self.rep_in!r} of dimension {self.rep_in.dim}, "
                f"the data has trailing dimension {x.shape[-1]}"
            )
        if self.bias is None:
            return self._apply_map(x, self.weight)
        if self.bias_map.is_one_layer:
            return self._apply_both(x, self.weight, self.bias)
        return self._apply_map(x, self.weight, self._apply_bias.terms(self.bias.new_ones(1), self.bias))

    def matrix(self) -> Float[Tensor, "dim_out dim_in"]:
        """The dense matrix of the layer, without its bias."""
        return self.map.matrix(self._apply_map.scaled(self.weight))

    def explain(self) -> str:
        """How each block is computed, with counts of weights, operations and bytes."""
        bias = 0 if self.bias is None else len(self.bias)
        return f"{self.map.explain()}\n  bias: {bias} weights"

    def __repr__(self) -> str:
        bias = 0 if self.bias is None else len(self.bias)
        return f"Linear({self.rep_in} -> {self.rep_out} of {self.rep_in.group}, weights={self.map.dim}, bias={bias})"

    # --- a weight means nothing without its basis

    @property
    def label_hash(self) -> str:
        """What the weights stand for, in 16 hexadecimal digits: Reps, normalization and the name of every basis map."""
        text = f"{self.map.labels} {self.normalize} {self.map.options.basis}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if hasattr(destination, "_metadata"):  # where torch keeps the version of a module, outside the tensors
            destination._metadata.setdefault(prefix[:-1], {})["labels"] = self.label_hash

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors):
        saved = local_metadata.get("labels", self.label_hash)
        if saved != self.label_hash:
            errors.append(
                f"{prefix}weight was saved for another pair of representations or another basis "
                f"(label hash {saved}) than {self!r} (label hash {self.label_hash})"
            )
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, unexpected, errors)


def _device(generator: torch.Generator | None) -> torch.device | str:
    return "cpu" if generator is None else generator.device


class _Scaled(nn.Module):
    """A Map whose basis maps are divided by their sizes; holds the constants of both."""

    def __init__(self, space: Map, normalize: str):
        super().__init__()
        self.map = space
        scales = [1 / sizes(block, normalize) for block in space.blocks]
        self.which = tuple(k for k, scale in enumerate(scales) if np.abs(scale - 1).max() > 1e-12)
        self.constants = Constants([*(scales[k][:, None, None] for k in self.which), *space.constants])

    def forward(self, x: Tensor, weight: Tensor, shifts: dict[int, Tensor] | None = None) -> Tensor:
        return self.map.run(x, *self._given(weight), shifts=shifts)

    def terms(self, x: Tensor, weight: Tensor) -> dict[int, Tensor]:
        """The terms of rep_out that are reached, by number."""
        return self.map.terms(x, *self._given(weight))

    def scaled(self, weight: Tensor) -> Tensor:
        """The flat weight of the bare basis that does the same."""
        weights, _ = self._given(weight)
        return torch.cat([weight.new_zeros(0), *(w.flatten() for w in weights)])

    def _given(self, weight: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Weights of the blocks and constants of the map."""
        constants = self.constants.tensors()
        weights = self.map.weights(weight)
        for k, scale in zip(self.which, constants):
            weights[k] = weights[k] * scale
        return weights, constants[len(self.which) :]


class _WithBias(nn.Module):
    """A Map and the invariants of its rep_out as one Map from rep_in + 1, applied to features and the number one: where
    diagrams serve both, the bias costs no pass over the output."""

    def __init__(self, space: Map, bias_space: Map, normalize: str):
        super().__init__()
        self.map, self.bias_map = space, bias_space
        last = len(space.rep_in.terms)
        parts = [(block.index_out, block.index_in, 0, k, block) for k, block in enumerate(space.blocks)]
        parts += [(block.index_out, last, 1, k, block) for k, block in enumerate(bias_space.blocks)]
        parts.sort(key=lambda part: part[:2])
        self.order = tuple((which, k) for _, _, which, k, _ in parts)
        blocks, start = [], 0
        for _, index_in, _, _, block in parts:
            blocks.append(replace(block, index_in=index_in, start=start))
            start = blocks[-1].stop
        self.joint = Map(space.rep_in + space.rep_in.group.trivial, space.rep_out, tuple(blocks), space.options)
        scales = [1 / sizes(block, normalize) for block in blocks]
        self.which = tuple(k for k, scale in enumerate(scales) if np.abs(scale - 1).max() > 1e-12)
        self.constants = Constants([*(scales[k][:, None, None] for k in self.which), *self.joint.constants])

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        constants = self.constants.tensors()
        given = self.map.weights(weight), self.bias_map.weights(bias)
        weights = [given[which][k] for which, k in self.order]
        for k, scale in zip(self.which, constants):
            weights[k] = weights[k] * scale
        one = x.new_ones(1).expand(*x.shape[:-1], 1, 1)
        return self.joint.run(x, weights, constants[len(self.which) :], (one,))


def sizes(block: Block, normalize: str) -> np.ndarray:
    """r_b of every basis map of a block, float64 [N]; see `Linear`."""
    if normalize == "none":
        return np.ones(block.N)
    if all(factor.is_permutation for factor in (*block.U.factors, *block.W.factors)):
        return block.kernel.row_norms() if normalize == "rms" else block.kernel.row_sums()
    return block.norms / math.sqrt(block.W.dim)


def deviations(space: Map, normalize: str, gain: float) -> list[float]:
    """Standard deviation of the initial weights of each block: gain / sqrt(c_in v), with v the sum over all basis maps
    that reach the same term of rep_out of |B_b / r_b|² / dim W."""
    squares = [float(((block.norms / sizes(block, normalize)) ** 2).sum()) / block.W.dim for block in space.blocks]
    total: dict[int, float] = {}
    for block, square in zip(space.blocks, squares):
        total[block.index_out] = total.get(block.index_out, 0.0) + square
    return [gain / math.sqrt(block.c_in * total[block.index_out]) for block in space.blocks]
