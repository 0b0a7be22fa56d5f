"""The formula that makes a model symmetric, φ(x) = Σ_k w_k ρ_out(g_k) f(ρ_in(g_k)⁻¹ x); a source chooses the g_k."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..groups import Group
from ..groups.group import Element
from ..reps import Action, Invariant
from ..reps.containers import map_tensors, named_tensors
from .fold import (
    add,
    batch_size,
    is_separable,
    owner_of,
    pick,
    repeat,
    repeat_arguments,
    scattered_sum,
    unfold,
    weighted_sum,
)

Guarantee = Literal["exact", "in expectation", "approximate"]


@dataclass
class Elements:
    """K group elements for each of B samples: `g` has batch shape (B, K), the rows of `weight` sum to 1.

    `mask` is False, and the weight 0, for padding. `info` holds what a source found, with one entry per sample.
    """

    g: Element
    weight: Float[Tensor, "batch copies"]
    mask: Bool[Tensor, "batch copies"]
    info: dict[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def uniform(g: Element, mask: Bool[Tensor, "batch copies"], info: dict[str, Tensor]) -> "Elements":
        """Equal weights for the elements that the mask keeps."""
        kept = mask.to(torch.float64)
        return Elements(g, kept / kept.sum(1, keepdim=True).clamp_min(1), mask, info)


@dataclass(frozen=True)
class SymmetrizeCost:
    """What one sample costs: calls of the model on average and at most, and the work of the source.

    `peak_activation_multiplier`: memory of activations without gradients, as a multiple of the bare model's; with
    gradients the graphs of all calls are kept.
    """

    calls_per_sample: tuple[float, int]
    source: str
    peak_activation_multiplier: float


class ElementSource(nn.Module, ABC):
    """Chooses group elements for each sample; φ is equivariant when source(h·x) = h·source(x) as a weighted set.

    `guarantee` is "exact" only where that holds for every input the source does not flag in `info`; sources that draw
    say "in expectation" (the mean over draws is equivariant, one call is not).
    """

    group: Group
    guarantee: Guarantee = "exact"
    independent: bool = False  # whether the elements are independent draws, so that their spread gives a variance
    work: str = "none"

    @abstractmethod
    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Elements:
        """The elements for a batch."""

    @property
    @abstractmethod
    def calls(self) -> tuple[float, int]:
        """Elements per sample: usual and largest number."""

    def bind(self, rep_in: Action, rep_out: Action) -> None:
        """Learn how to read the data. Raises ValueError for Actions that the source cannot serve."""
        self.rep_in = rep_in


def refuse_export(name: str, remedy: str) -> None:
    """Raises ValueError while torch.export traces a source whose number of elements the data decides."""
    if torch.compiler.is_exporting():
        raise ValueError(f"{name}: the data decides how many elements there are, which torch.export cannot; {remedy}")


class Symmetrizer(nn.Module):
    """Any model made equivariant: φ(x) = Σ_k w_k ρ_out(g_k) f(ρ_in(g_k)⁻¹ x), the g_k and w_k(x) from `source`.

    model takes what `rep_in` moves (tensors, dicts, tuples, graphs; axis 0 counts samples) and returns what `rep_out`
    moves, one row per sample, or per atom in the order of the samples. Further arguments of the call go to the model,
    repeated for each copy unless `invariant_args` names their position (after x, from 0) or keyword.
    chunk: copies per call of the model; None puts all K into one call. The state dict is that of the model under
    "model." and, where a source learns, of the source. Raises TypeError for what is no module, Action or source, and
    ValueError for Actions of different groups or that the source cannot serve.
    """

    def __init__(
        self,
        model: nn.Module,
        rep_in: Action,
        rep_out: Action,
        source: ElementSource,
        *,
        chunk: int | None = None,
        invariant_args: Collection[int | str] = (),
    ):
        super().__init__()
        name = type(self).__name__
        if not isinstance(model, nn.Module):
            raise TypeError(f"{name}: the model must be a torch.nn.Module, got {type(model).__name__}")
        for which, action in (("rep_in", rep_in), ("rep_out", rep_out)):
            if not isinstance(action, Action):
                raise TypeError(f"{name}: {which} must be an Action such as Points(E(3)) or a Rep, got {action!r}")
        if not isinstance(source, ElementSource):
            raise TypeError(f"{name}: source must be an ElementSource such as PCAFrame(E(3)), got {source!r}")
        if isinstance(rep_out, Invariant) and rep_out.group is None:
            rep_out = Invariant(rep_in.group)
        if rep_in.group is None or rep_in.group != rep_out.group:
            raise ValueError(f"{name}: rep_in belongs to {rep_in.group}, rep_out to {rep_out.group}; they must agree")
        if source.group != rep_in.group:
            raise ValueError(
                f"{name}: the source gives elements of {source.group}, the Actions belong to {rep_in.group}"
            )
        if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
            raise ValueError(f"{name}: chunk must be None or an integer of at least 1, got {chunk!r}")
        source.bind(rep_in, rep_out)
        self.rep_in, self.rep_out, self.chunk, self.invariant_args = rep_in, rep_out, chunk, frozenset(invariant_args)
        self.model, self.source = model, source
        if source.calls[0] > 1 and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
            warnings.warn(
                f"{name}: the model has BatchNorm; in train mode its statistics mix the {source.calls[0]:g} copies of "
                "each sample",
                stacklevel=2,
            )

    @property
    def guarantee(self) -> Guarantee:
        """Whether equivariance is exact (for inputs not flagged), in expectation over draws, or approximate."""
        return self.source.guarantee

    @property
    def cost(self) -> SymmetrizeCost:
        """What to expect before training: calls of the model per sample, memory, work of the source."""
        usual, most = self.source.calls
        return SymmetrizeCost((usual, most), self.source.work, min(usual, self.chunk or usual))

    def forward(
        self, x: Any, *args: Any, generator: torch.Generator | None = None, return_info: bool = False, **kwargs: Any
    ) -> Any:
        """φ(x), or with `return_info` the pair (φ(x), info).

        `info` is what the source found, with `weight` and `mask` [batch, copies], and for independent draws `variance`:
        the Monte-Carlo variance of each entry of φ(x). Raises ValueError for outputs that do not fit.
        """
        elements = self.source(x, generator=generator)
        B, K = elements.weight.shape
        if (size := batch_size(self.rep_in, x)) != B:
            raise ValueError(
                f"{type(self).__name__}: {self.source} gives elements for {B} samples, the data has {size}"
            )
        owner, step = owner_of(x), self.chunk or max(K, 1)
        spread = return_info and self.source.independent and K > 1
        total, kept = None, []
        if self.source.calls[0] < K and not (args or kwargs or spread) and self._has_padding(x, elements):
            total, K = self._unpadded(x, elements, step * B), 0
        for start in range(0, K, step):
            y = self._copies(x, elements, start, min(step, K - start), args, kwargs)
            part = weighted_sum(y, elements.weight[:, start : start + step].T, owner)
            total = part if total is None else add(total, part)
            if spread:
                kept.append(map_tensors(torch.Tensor.detach, y))
        if not return_info:
            return total
        info = {**elements.info, "weight": elements.weight, "mask": elements.mask}
        if spread:
            info["variance"] = _variance(kept)
        return total, info

    def _copies(self, x: Any, elements: Elements, start: int, k: int, args: tuple, kwargs: dict) -> Any:
        """ρ_out(g) f(ρ_in(g)⁻¹ x) for k elements per sample, tensors [k, rows, ...]."""
        group, B = self.rep_in.group, len(elements.weight)
        device = group.device_of(elements.g)
        sample = torch.arange(B, device=device).repeat(k)
        copy = torch.arange(start, start + k, device=device).repeat_interleave(B)
        g = group.take(elements.g, (sample, copy))
        more, named = repeat_arguments(args, kwargs, k, self.invariant_args)
        y = self.model(self._moved(x, elements, g, lambda x: repeat(self.rep_in, x, k)), *more, **named)
        return unfold(self.rep_out(g, y), k, type(self).__name__)

    def _has_padding(self, x: Any, elements: Elements) -> bool:
        """Whether a few samples have more elements than is usual, and the batch can do without padding the others."""
        return not torch.compiler.is_compiling() and is_separable(self.rep_in, x) and not bool(elements.mask.all())

    def _unpadded(self, x: Any, elements: Elements, most: int) -> Any:
        """φ(x) by calls of the model with at most `most` moved samples, and none for padding."""
        sample, copy = elements.mask.nonzero().unbind(1)
        parts = []
        for s, c in zip(sample.split(most), copy.split(most)):
            g = self.rep_in.group.take(elements.g, (s, c))
            y = self.model(self._moved(x, elements, g, lambda x, s=s: pick(x, s)))
            rows = unfold(self.rep_out(g, y), len(s), type(self).__name__)
            parts.append(map_tensors(lambda t: t.flatten(0, 1), rows))
        weight, first = elements.weight[sample, copy], torch.ones_like(sample, dtype=torch.bool)
        first[1:] = sample[1:] != sample[:-1]
        return scattered_sum(parts, weight, sample, first, len(elements.weight))

    def _moved(self, x: Any, elements: Elements, g: Element, copies: Callable[[Any], Any]) -> Any:
        """ρ_in(g)⁻¹ x, what the model is given, where `copies` makes of a batch the samples that g moves."""
        return self.rep_in(self.rep_in.group.inverse(g), copies(x))

    def extra_repr(self) -> str:
        """Actions, guarantee and cost."""
        usual, most = self.source.calls
        times = f"×{usual:g} forward cost" + (f", at most ×{most}" if most != usual else "")
        return f"{self.rep_in!r} -> {self.rep_out!r}, {self.guarantee}, {times}"


def _variance(parts: list[Any]) -> Any:
    """Variance of the mean over axis 0 of tensors that come in parts, in the structure of the output."""
    columns = iter(list(zip(*(named_tensors(part).values() for part in parts))))

    def variance(t: Tensor) -> Tensor:
        whole = torch.cat(next(columns))
        return whole.var(0) / len(whole) if whole.is_floating_point() else torch.zeros_like(whole[0])

    return map_tensors(variance, parts[0])
