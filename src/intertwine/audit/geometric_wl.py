"""Which graphs in space an architecture cannot tell apart: the geometric Weisfeiler-Leman tests (arXiv:2301.09308).

GWL bounds every equivariant message passing network of that depth, IGWL every invariant one. Colours are orbits: two
neighbourhoods have the same colour when a rotation turns one into the other. An orbit is named by the smallest name of
its coordinates over a finite set of frames that turns with the object.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path
from torch import Tensor

from .geometric_frames import GROUPS, frames, named
from .geometric_graph import GeometricGraph, Points, points

TOL = 1e-6
LARGEST = 30_000_000  # coordinates of edges in frames, at a time
TESTS = ("gwl", "igwl")


def gwl(
    graphs: Sequence[GeometricGraph], *, group: str = "O", iterations: int | None = None, tol: float = TOL
) -> list[Int[Tensor, "steps n"]]:
    """Colours of the nodes after 0, 1, 2 ... rounds of equivariant messages, of all graphs together.

    group: "O" (with reflections) or "SO". iterations: rounds, by default until no further one can change anything.
    tol: distance, in the unit of the positions, below which two vectors are equal. Colours can be compared between the
    nodes and graphs of one round, not between rounds. Cost: frames of a node × edges × rounds; meant for up to some
    30 nodes. Raises ValueError for graphs of different dimensions or too many frames, AmbiguousTolerance where tol
    lies among the distances. Source: arXiv:2301.09308, eq. 3 to 5.
    """
    joint = _Joint(graphs, group, iterations, tol, "gwl")
    return joint.histories(list(_equivariant_rounds(joint)))


def igwl(
    graphs: Sequence[GeometricGraph],
    *,
    body: int | None = None,
    group: str = "O",
    iterations: int | None = None,
    tol: float = TOL,
) -> list[Int[Tensor, "steps n"]]:
    """Colours of the nodes after 0, 1, 2 ... rounds of invariant messages, of all graphs together.

    body: how many atoms a message may relate, the centre included (2: distances, 3: angles, 4: dihedrals); None for the
    whole neighbourhood at once. The rest, and the errors, as in `gwl`. Source: arXiv:2301.09308, eq. 6 and 7.
    """
    joint = _Joint(graphs, group, iterations, tol, "igwl")
    return joint.histories(list(_invariant_rounds(joint, body)))


def distinguishes(
    a: GeometricGraph,
    b: GeometricGraph,
    test: str = "gwl",
    *,
    body: int | None = None,
    group: str = "O",
    iterations: int | None = None,
    tol: float = TOL,
) -> int | None:
    """The first round after which the colours of two graphs differ, or None: no network within the bound parts them.

    test: "gwl" or "igwl", with options as there; body is for "igwl". Raises ValueError for another name.
    """
    if test not in TESTS:
        raise ValueError(f"distinguishes: test must be one of {TESTS}, got {test!r}")
    if test == "gwl" and body is not None:
        raise ValueError(f"distinguishes: gwl sees whole neighbourhoods, body={body} is for test='igwl'")
    joint = _Joint([a, b], group, iterations, tol, test)
    rounds = _equivariant_rounds(joint) if test == "gwl" else _invariant_rounds(joint, body)
    for t, colours in enumerate(rounds):
        first, second = colours[: joint.sizes[0]], colours[joint.sizes[0] :]
        if not np.array_equal(np.sort(first), np.sort(second)):
            return t
    return None


def _equivariant_rounds(joint: "_Joint") -> Iterator[np.ndarray]:
    yield joint.first_colours
    told = label = None
    for t in range(1, joint.rounds + 1):
        if t <= joint.diameter + 1:  # more comes within reach: other frames
            told = _Told(joint, *joint.frames_within(t))
            label = told.after(t)
        else:
            classes = label.max(initial=-1)
            label = told.next(label)
            if label.max(initial=-1) == classes and joint.until_stable:
                return
        yield _smallest(label[told.own], told.owner, joint.n)


def _invariant_rounds(joint: "_Joint", body: int | None) -> Iterator[np.ndarray]:
    if body is not None and body < 2:
        raise ValueError(f"igwl: a body order is 2 or more (the centre and a neighbour), got {body}")
    stars, colours = _Stars(joint, body), joint.first_colours
    yield colours
    for _ in range(joint.rounds):
        before, colours = colours, stars.next(colours)
        if colours.max(initial=-1) == before.max(initial=-1) and joint.until_stable:
            return
        yield colours


class _Joint:
    """The graphs side by side, as one graph without edges in between."""

    def __init__(self, graphs, group: str, iterations: int | None, tol: float, who: str):
        if group not in GROUPS:
            raise ValueError(f"{who}: group must be one of {GROUPS}, got {group!r}")
        if iterations is not None and iterations < 0:
            raise ValueError(f"{who}: iterations must not be negative, got {iterations}")
        if not tol > 0:
            raise ValueError(f"{who}: tol must be positive, got {tol}")
        parts: list[Points] = [points(graph, who) for graph in graphs]
        if not parts:
            raise ValueError(f"{who}: no graph was given")
        shapes = {(p.pos.shape[1], p.scalars.shape[1], p.vectors.shape[1]) for p in parts}
        if len(shapes) > 1:
            raise ValueError(
                f"{who}: graphs need the same dimension, scalars and vectors; got (d, a, b) {sorted(shapes)}"
            )
        self.group, self.tol, self.who = group, tol, who
        self.sizes = [len(p.pos) for p in parts]
        offset = np.cumsum([0, *self.sizes])
        self.n, self.d = int(offset[-1]), parts[0].pos.shape[1]
        self.graph_of = np.repeat(np.arange(len(parts)), self.sizes)
        self.sender = np.concatenate([p.sender + start for p, start in zip(parts, offset)])
        self.receiver = np.concatenate([p.receiver + start for p, start in zip(parts, offset)])
        self.steps = np.concatenate([p.steps for p in parts])
        self.vectors = np.concatenate([p.vectors for p in parts])
        scalars = np.concatenate([p.scalars for p in parts])
        self.first_colours = _dense(named(scalars, tol))
        everything = np.concatenate([self.steps, self.vectors.reshape(-1, self.d)])
        name = named(everything, tol)
        self.step_name, self.vector_name = name[: len(self.steps)], name[len(self.steps) :]
        self.vector_name = self.vector_name.reshape(self.vectors.shape[:2])
        self.by_name = np.zeros((name.max(initial=-1) + 1, self.d))
        self.by_name[name] = everything
        links = coo_array((np.ones(len(self.sender)), (self.receiver, self.sender)), shape=(self.n, self.n))
        self.hops = shortest_path(links.tocsr(), unweighted=True)
        self.diameter = int(self.hops[np.isfinite(self.hops)].max(initial=0))
        self.until_stable = iterations is None
        self.rounds = iterations if iterations is not None else self.diameter + 1 + self.n
        self.incoming = _incoming(self.receiver, self.n)

    def frames_within(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames made of all that reaches each node in t rounds, and the nodes they belong to."""
        made, owner = [], []
        for i in range(self.n):
            used = [self.step_name[(self.hops[i] <= t - 1)[self.receiver]], self.vector_name[self.hops[i] <= t].ravel()]
            found = frames(self.by_name[np.unique(np.concatenate(used))], self.group, self.tol)
            made.append(found)
            owner.append(np.full(len(found), i))
        return _stacked(made, self.d), np.concatenate(owner) if owner else np.zeros(0, np.int64)

    def histories(self, rounds: list[np.ndarray]) -> list[Tensor]:
        return [h.clone() for h in torch.from_numpy(np.stack(rounds)).split(self.sizes, 1)]


class _Told:
    """What every node knows in every frame of its own graph, in numbers that agree where the knowledge does."""

    def __init__(self, joint: _Joint, made: np.ndarray, owner: np.ndarray):
        self.joint, self.owner = joint, owner
        here = joint.graph_of[owner][:, None]
        frame, node = np.nonzero(here == joint.graph_of[None])
        at, edge = np.nonzero(here == joint.graph_of[joint.receiver][None])
        if (len(at) + len(frame)) * joint.d > LARGEST:
            raise ValueError(
                f"{joint.who}: {len(made)} frames of {len(joint.sender)} edges need {len(at) * joint.d} coordinates, "
                f"more than {LARGEST}; the graphs are too large or too symmetric for this test"
            )
        number = np.full((len(made), joint.n), -1)
        number[frame, node] = np.arange(len(frame))
        slot = np.full((len(made), len(joint.sender) + 1), -1)
        slot[at, edge] = np.arange(len(at))
        moved = np.einsum("krd,kd->kr", made[at], joint.steps[edge])
        carried = np.einsum("krd,kbd->kbr", made[frame], joint.vectors[node])
        name = named(np.concatenate([moved, carried.reshape(-1, joint.d)]), joint.tol)
        self.where, carried = name[: len(at)], name[len(at) :].reshape(carried.shape[:2])
        self.source = number[at, joint.sender[edge]]
        self.incoming = slot[frame[:, None], joint.incoming[node]]
        self.own = number[np.arange(len(owner)), owner]
        self.start = _dense_rows(np.column_stack([joint.first_colours[node], carried]))

    def next(self, label: np.ndarray) -> np.ndarray:
        return _gathered(label, _dense_rows(np.column_stack([label[self.source], self.where])), self.incoming)

    def after(self, t: int) -> np.ndarray:
        label = self.start
        for _ in range(t):
            label = self.next(label)
        return label


class _Stars:
    """Neighbours of a node that are seen together, in the frames of their own directions."""

    def __init__(self, joint: _Joint, body: int | None):
        centre, edges = [], []
        for i in range(joint.n):
            near = np.flatnonzero(joint.receiver == i)
            size = len(near) if body is None else min(body - 1, len(near))
            for chosen in combinations(near, size):
                centre.append(i)
                edges.append(np.array(chosen, dtype=np.int64))
        made, star = [], []
        for s, (i, chosen) in enumerate(zip(centre, edges)):
            used = [joint.step_name[chosen], joint.vector_name[i], joint.vector_name[joint.sender[chosen]].ravel()]
            found = frames(joint.by_name[np.unique(np.concatenate(used))], joint.group, joint.tol)
            made.append(found)
            star.append(np.full(len(found), s))
        made, self.star = _stacked(made, joint.d), np.concatenate(star) if star else np.zeros(0, np.int64)
        self.centre, self.n, self.stars = np.array(centre, dtype=np.int64), joint.n, len(centre)
        leaves = [edges[s] for s in self.star]
        at = np.repeat(np.arange(len(leaves)), [len(chosen) for chosen in leaves])
        edge = np.concatenate(leaves) if leaves else np.zeros(0, np.int64)
        if len(at) * joint.d > LARGEST:
            raise ValueError(
                f"{joint.who}: {len(made)} frames need {len(at) * joint.d} coordinates, more than {LARGEST}; "
                "choose a smaller body order or smaller graphs"
            )
        self.sender = joint.sender[edge]
        ends = np.concatenate([joint.vectors[self.sender], joint.steps[edge][:, None]], 1)
        ends = np.einsum("krd,kbd->kbr", made[at], ends)
        middle = np.einsum("krd,kbd->kbr", made, joint.vectors[self.centre[self.star]])
        name = named(np.concatenate([ends.reshape(-1, joint.d), middle.reshape(-1, joint.d)]), joint.tol)
        cut = ends.shape[0] * ends.shape[1]
        self.ends = _dense_rows(name[:cut].reshape(ends.shape[:2]))
        self.middle = _dense_rows(name[cut:].reshape(middle.shape[:2]))
        self.incoming, self.around = _incoming(at, len(made)), _incoming(self.centre, joint.n)

    def next(self, colour: np.ndarray) -> np.ndarray:
        label = _dense_rows(np.column_stack([colour[self.centre[self.star]], self.middle]))
        label = _gathered(label, _dense_rows(np.column_stack([colour[self.sender], self.ends])), self.incoming)
        return _gathered(colour, _smallest(label, self.star, self.stars), self.around)


def _incoming(target: np.ndarray, n: int) -> np.ndarray:
    """Row k: the positions where target is k, filled up with -1."""
    order, count = np.argsort(target, kind="stable"), np.bincount(target, minlength=n)
    table = np.full((n, int(count.max(initial=0))), -1)
    rank = np.arange(len(target)) - np.repeat(np.cumsum(count) - count, count)
    table[target[order], rank] = order
    return table


def _gathered(own: np.ndarray, sent: np.ndarray, incoming: np.ndarray) -> np.ndarray:
    """Names of own names and the multisets of what is sent."""
    arrived = np.sort(np.append(sent, -1)[incoming], axis=1)
    return _dense_rows(np.column_stack([own, arrived]))


def _smallest(label: np.ndarray, owner: np.ndarray, n: int) -> np.ndarray:
    """The orbit of each owner: the smallest name among its frames."""
    least = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(least, owner, label)
    return _dense(least)


def _stacked(made: list[np.ndarray], d: int) -> np.ndarray:
    return np.concatenate(made) if made else np.zeros((0, d, d))


def _dense(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _dense_rows(rows: np.ndarray) -> np.ndarray:
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
