"""What a model tells apart, beside what its kind can: whether a failure is the theory's or the weights'."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .geometric_graph import GeometricGraph
from .geometric_wl import TOL, distinguishes

Model = Callable[[GeometricGraph], Tensor]
FAR = 10.0  # a difference counts when it is this many times the noise
LEAST = 1e-9  # and this part of the output


@dataclass(frozen=True)
class Row:
    """One pair of graphs: the first round at which each test parts them (None: never), and what the models did.

    margin: largest difference of the outputs over the trials, relative to their size. noise: largest difference between
    a graph and itself, moved and renumbered. parted: share of the trials whose own margin is well above the noise.
    """

    pair: str
    gwl: int | None
    igwl: dict[int | None, int | None]
    margin: float
    noise: float
    parted: float

    @property
    def verdict(self) -> str:
        """What to conclude."""
        if self.gwl is None:
            return "told apart, which its bound forbids" if self.parted else "cannot be told apart"
        return "told apart" if self.parted else "not told apart, though a network could"


@dataclass(frozen=True)
class Table:
    """All pairs; prints as a table."""

    rows: tuple[Row, ...]
    bodies: tuple[int | None, ...]

    def __str__(self) -> str:
        tests = ["gwl", *(f"igwl({'all' if k is None else k})" for k in self.bodies)]
        heads = ["pair", *tests, "margin", "noise", "verdict"]
        cells = [heads]
        for row in self.rows:
            tests = [row.gwl, *(row.igwl[k] for k in self.bodies)]
            found = ["-" if t is None else str(t) for t in tests]
            cells.append([row.pair, *found, f"{row.margin:.0e}", f"{row.noise:.0e}", row.verdict])
        widths = [max(len(line[c]) for line in cells) for c in range(len(heads))]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in cells)


def audit_model(
    make: Callable[[int], Model],
    pairs: Iterable[tuple[str, GeometricGraph, GeometricGraph]],
    *,
    trials: int = 10,
    bodies: Iterable[int | None] = (2, 3, None),
    group: str = "O",
    seed: int = 0,
    tol: float = TOL,
) -> Table:
    """Run models on pairs of graphs and put the outcome beside the geometric WL tests.

    make: called with seeds seed, seed + 1, ...; gives a model with random weights (or always the same, trained one): a
    function of a GeometricGraph whose output does not change when the graph moves. pairs: (name, first, second), for
    instance `data.standard_pairs()`. group: "O" for models that cannot see handedness, "SO" for those that can. Use
    float64 models: a margin is worth no more than the noise. Raises ValueError for no trial.
    Source: arXiv:2301.09308, section 5.
    """
    if trials < 1:
        raise ValueError(f"audit_model: at least one trial is needed, got {trials}")
    bodies, pairs = tuple(bodies), tuple(pairs)
    models = [make(seed + k) for k in range(trials)]
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for name, a, b in pairs:
        measured = [_measured(model, a, b, group, generator) for model in models]
        rows.append(
            Row(
                name,
                distinguishes(a, b, group=group, tol=tol),
                {k: distinguishes(a, b, "igwl", body=k, group=group, tol=tol) for k in bodies},
                max(margin for margin, _ in measured),
                max(noise for _, noise in measured),
                sum(margin > max(FAR * noise, LEAST) for margin, noise in measured) / trials,
            )
        )
    return Table(tuple(rows), bodies)


@torch.no_grad()
def _measured(model: Model, a: GeometricGraph, b: GeometricGraph, group: str, generator) -> tuple[float, float]:
    """Difference between two graphs, and between each and a moved copy, relative to the size of the outputs."""
    first, second = model(a), model(b)
    scale = max(float(first.abs().max()), float(second.abs().max())) or 1.0
    noise = 0.0
    for graph, y in ((a, first), (b, second)):
        moved = graph.moved(*_motion(graph, group, generator))
        noise = max(noise, float((model(moved) - y).abs().max()) / scale)
    return float((first - second).abs().max()) / scale, noise


def _motion(graph: GeometricGraph, group: str, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    d = graph.pos.shape[1]
    g = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q
    if group == "SO" and torch.linalg.det(g) < 0:
        g[:, 0] = -g[:, 0]
    return g, torch.randn(d, generator=generator), torch.randperm(graph.n, generator=generator)
