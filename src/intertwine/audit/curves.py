"""The error of an audit as a curve: a model may be equivariant at some input sizes only, or drift in training."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..reps import Action
from .document import Section
from .error import measure
from .pack import clean
from .parts import frame, standalone, svg
from .result import AuditResult, number
from .svg import Scale, path, tag

FLOOR = 1e-17  # errors below, and zero, are drawn here


@dataclass(frozen=True)
class Curve:
    """One audit for each value of something: `results[i]` belongs to `values[i]`."""

    name: str  # what changes along the curve
    values: list[Any]
    results: list[AuditResult]

    @property
    def errors(self) -> list[float]:
        """The relative error of each audit."""
        return [result.headline.relative_rms for result in self.results]

    @property
    def words(self) -> list[str]:
        """The verdict of each audit."""
        return [result.verdict.word for result in self.results]

    def to_dict(self) -> dict[str, Any]:
        """Values, errors and verdicts, ready for JSON."""
        tree = {"kind": "curve", "name": self.name, "values": self.values, "relative": self.errors, "words": self.words}
        return clean(tree)

    def plot(self) -> str:
        """A standalone SVG: relative error on a logarithmic axis."""
        drawn = [max(e, FLOOR) if e == e else None for e in self.errors]
        known = [e for e in drawn if e is not None] or [1.0]
        y = Scale(min(*known, 1e-8) / 10, max(*known, 0.1) * 10, 226.0, 30.0, True)
        x = Scale(-0.5, len(self.values) - 0.5, 66.0, 446.0)
        places = [None if e is None else (x(i), y(e)) for i, e in enumerate(drawn)]
        step = max(1, len(self.values) // 8)
        ticks = [float(i) for i in range(0, len(self.values), step)]
        body = frame(y, x, ticks, lambda i: str(self.values[round(i)]), self.name, "relative error")
        body += tag("path", {"d": path(places), "class": "curve a"})
        for place in places:
            if place is not None:
                body += tag("circle", {"cx": place[0], "cy": place[1], "r": 4.0, "class": "pt a"})
        return standalone(svg(460, 274, f"Relative error by {self.name}: {self._sentence()}", body))

    def section(self) -> Section:
        """A block for `write_html(results, path, sections=[curve.section()])`."""
        rows = [[value, number(e), word] for value, e, word in zip(self.values, self.errors, self.words)]
        header = [self.name, "relative error", "verdict"]
        return Section(f"Error by {self.name}", self._sentence(), table=[header, *rows], svg=self.plot())

    def _sentence(self) -> str:
        known = [i for i, e in enumerate(self.errors) if e == e]
        if not known:
            return "no value anywhere."
        low, high = min(known, key=self.errors.__getitem__), max(known, key=self.errors.__getitem__)
        return (
            f"lowest at {self.values[low]} with {number(self.errors[low])}, highest at {self.values[high]} with "
            f"{number(self.errors[high])}."
        )

    def __repr__(self) -> str:
        width = max(len(str(value)) for value in [self.name, *self.values])
        rows = [f"{self.name:>{width}}  relative error  verdict"]
        rows += [f"{v!s:>{width}}  {number(e):<14}  {w}" for v, e, w in zip(self.values, self.errors, self.words)]
        return "\n".join(rows)


def by_resolution(
    fn: Callable[[Tensor], Any],
    rep_in: Action,
    rep_out: Action,
    images: Float[Tensor, "n channels height width"],
    sizes: Sequence[int],
    *,
    generator: torch.Generator,
    resize: Callable[[Tensor, int], Tensor] | None = None,
    **options: Any,
) -> Curve:
    """`measure` on the same images at several sizes, with the same elements: strides and poolings may fit a few only.

    resize: (images, size) -> images; by default bilinear, antialiased, to squares. options go to `measure`.
    """
    if not sizes:
        raise ValueError("by_resolution: give at least one size")
    resize = resize or _squares
    results = []
    for size in sizes:
        same = torch.Generator().manual_seed(generator.initial_seed())
        x = resize(images, size)
        results.append(measure(fn, rep_in, rep_out, x, generator=same, title=f"size {size}", **options))
    return Curve("image size", list(sizes), results)


def by_checkpoint(
    model: nn.Module,
    checkpoints: Mapping[Any, Mapping[str, Tensor]] | Iterable[tuple[Any, Mapping[str, Tensor]]],
    rep_in: Action,
    rep_out: Action,
    data: Any,
    *,
    generator: torch.Generator,
    **options: Any,
) -> Curve:
    """`measure` for each state of a model, on the same data with the same elements: does training break the symmetry?

    checkpoints: (name, state dict) one after the other, such as (step, torch.load(file)); the model is copied, not
    changed. options go to `measure`.
    """
    model = copy.deepcopy(model)
    names, results = [], []
    for name, state in checkpoints.items() if isinstance(checkpoints, Mapping) else checkpoints:
        model.load_state_dict(state)
        same = torch.Generator().manual_seed(generator.initial_seed())
        results.append(measure(model, rep_in, rep_out, data, generator=same, title=f"checkpoint {name}", **options))
        names.append(name)
    if not names:
        raise ValueError("by_checkpoint: there are no checkpoints")
    return Curve("checkpoint", names, results)


def _squares(images: Tensor, size: int) -> Tensor:
    return nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)
