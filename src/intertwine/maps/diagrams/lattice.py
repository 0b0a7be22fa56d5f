"""The contractions of one tensor that the diagrams of a layer need, each made from one that is contracted already.

A node keeps some blocks of the points of a term as axes and has contracted the others away. Partition diagrams take
diagonals and sums, pairings take traces. Nodes with equally many axes lie side by side in one stack, in slots.
Source: arXiv:2304.14165, section 4; the lattice is shared by all diagrams instead of one chain for each.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .steps import Diagonal, Head, Move, Runs, Sum, Trace

Blocks = tuple[tuple[int, ...], ...]
Level = tuple  # ("plain", axes of type 0, axes of type 1) or ("head", through, legs on top, legs below)


@dataclass(frozen=True)
class Node:
    """A contraction: `kept` blocks are its axes, by (type, smallest point), `gone` blocks are contracted.

    With a head, `legs` are the positions in `kept` of the blocks whose index goes to the head, and `meets` the level.
    """

    kept: Blocks
    gone: Blocks = ()
    legs: tuple[int, ...] = ()
    meets: Level | None = None


@dataclass(frozen=True)
class Step:
    """One move on the slots first..last of a level; makes as many slots of the level it belongs to."""

    move: Move
    source: Level
    first: int
    last: int


@dataclass(frozen=True)
class Lattice:
    """The contractions of a term, in an order in which each finds its source made. `root` is the term itself, with its
    axes in the order `axes`: those of type 0 first."""

    n: int
    axes: tuple[int, ...]
    root: Level
    levels: tuple[tuple[Level, tuple[Step, ...]], ...]
    slots: dict[Level, dict[Node, int]]

    def down(self, x: Tensor, constants: list[Tensor]) -> dict[Level, Tensor]:
        """All stacks [batch, n, .., n, slots·channels] of a term [batch, n, .., n, channels]."""
        c, dtype = x.shape[-1], accumulation_dtype(x.dtype)
        stacks = {self.root: permuted(x, self.axes)}
        for level, steps in self.levels:
            parts = []
            for step in steps:
                source = stacks[step.source]
                if step.last - step.first < len(self.slots[step.source]):
                    source = source[..., step.first * c : step.last * c]
                parts.append(step.move.down(source, dtype, constants))
            stacks[level] = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        return stacks

    def up(self, stacks: dict[Level, Tensor], c: int, constants: list[Tensor]) -> Tensor | None:
        """The adjoint of `down`: one term from stacks, which are used up; None if there are none."""
        for level, steps in reversed(self.levels):
            if level not in stacks:
                continue
            pieces, start = [], 0
            for step in steps:
                width = (step.last - step.first) * c
                y = stacks[level][..., start : start + width] if len(steps) > 1 else stacks[level]
                pieces.append((step, y, width == len(self.slots[step.source]) * c))
                start += width
            pieces = self._begun(pieces, stacks)
            for step, y, whole in pieces:
                if step.source not in stacks:
                    sizes = (y.shape[0], *(self.n,) * axes_of(step.source), len(self.slots[step.source]) * c)
                    stacks[step.source] = y.new_zeros(sizes)
                into = stacks[step.source]
                step.move.up(into if whole else into[..., step.first * c : step.last * c], y, constants)
        return permuted(stacks[self.root], inverse(self.axes)) if self.root in stacks else None

    def _begun(self, pieces: list, stacks: dict[Level, Tensor]) -> list:
        """Write the first repeated sums into a stack that is not there yet, two at once, instead of adding to zeros."""
        sums = [k for k, (step, _, whole) in enumerate(pieces) if whole and isinstance(step.move, Sum)]
        if not sums or pieces[sums[0]][0].source in stacks:
            return pieces
        source = pieces[sums[0]][0].source
        first = [k for k in sums if pieces[k][0].source == source][:2]
        spread = [pieces[k][1].unsqueeze(1 + pieces[k][0].move.axis) for k in first]
        if len(first) == 2:
            stacks[source] = (spread[0] + spread[1]).contiguous()
        else:
            sizes = list(spread[0].shape)
            sizes[1 + pieces[first[0]][0].move.axis] = self.n
            stacks[source] = spread[0].expand(sizes).contiguous()
        return [piece for k, piece in enumerate(pieces) if k not in first]

    def entries(self) -> int:
        """Entries that the sums and traces of `down` read, for one channel."""
        total = 0
        for _, steps in self.levels:
            for step in steps:
                axes = axes_of(step.source) - isinstance(step.move, Diagonal | Trace)
                total += (step.last - step.first) * self.n**axes
        return total


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in that dtype; without a call where it is in it."""
    return x if x.dtype == dtype else x.to(dtype)


def axes_of(level: Level) -> int:
    """Axes of the tensors of a level: a head is applied where it leaves fewer of them."""
    kind, *counts = level
    return sum(counts) if kind == "plain" else counts[0] + min(counts[1:])


def permuted(x: Tensor, order: tuple[int, ...]) -> Tensor:
    """A view of x [batch, axes.., channels] whose axis i is axis order[i] of x; axes after those of the order stay."""
    if order == tuple(range(len(order))):
        return x
    return x.permute(0, *(1 + axis for axis in order), *range(1 + len(order), x.ndim))


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The order that undoes `permuted`."""
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for half precision, so that long sums do not lose their small terms; else the dtype itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def build(
    order: int,
    n: int,
    needed: Iterable[Node],
    *,
    types: tuple[int, ...],
    runs: Runs | None,
    head: Callable[[Node], Head],
) -> Lattice:
    """The lattice of all needed nodes and what they are made from.

    runs: the form of a trace, None for partitions. types: 0 or 1 for each point. head: the move that makes a head node.
    """

    def arranged(blocks: Iterable[tuple[int, ...]]) -> Blocks:
        return tuple(sorted(blocks, key=lambda block: (types[block[0]], block)))

    def level_of(node: Node) -> Level:
        if node.meets is not None:
            return node.meets
        count = sum(types[block[0]] for block in node.kept)
        return ("plain", len(node.kept) - count, count)

    def source_of(node: Node) -> tuple[Node, Move] | None:
        if node.meets is not None:
            return Node(node.kept, node.gone), head(node)
        for block in reversed(node.kept):
            if len(block) > 1:
                split = arranged([*(b for b in node.kept if b != block), block[:-1], block[-1:]])
                return Node(split, node.gone), Diagonal(split.index(block[:-1]), split.index(block[-1:]))
        if not node.gone:
            return None
        first, *rest = node.gone
        if runs is None:
            wider = arranged([*node.kept, first])
            return Node(wider, tuple(rest)), Sum(wider.index(first))
        wider = arranged([*node.kept, *((p,) for p in first)])
        i, j = (wider.index((p,)) for p in first)
        form = runs if i < j else tuple((column, row, *other) for row, column, *other in runs)
        return Node(wider, tuple(rest)), Trace(min(i, j), max(i, j), form)

    root = Node(arranged((p,) for p in range(order)))
    sources: dict[Node, tuple[Node, Move] | None] = {root: None}
    pending = list(needed)
    while pending:
        node = pending.pop()
        if node not in sources:
            sources[node] = source_of(node)
            pending.append(sources[node][0])
    levels: dict[Level, list[Node]] = {}
    for node in sorted(
        sources, key=lambda node: (node.meets is not None, -len(node.kept), node.kept, node.gone, node.legs)
    ):
        levels.setdefault(level_of(node), []).append(node)
    slots: dict[Level, dict[Node, int]] = {level_of(root): {root: 0}}
    made = []
    for level, nodes in levels.items():
        if nodes == [root]:
            continue
        placed = []
        for node in nodes:
            source, move = sources[node]
            from_level = level_of(source)
            placed.append((_rank(move), from_level, slots[from_level][source], move, node))
        placed.sort(key=lambda entry: entry[:3])
        slots[level] = {node: slot for slot, (*_, node) in enumerate(placed)}
        made.append((level, _runs_of_slots(placed)))
    axes = tuple(sorted(range(order), key=lambda p: types[p]))
    return Lattice(n, axes, level_of(root), tuple(made), slots)


def _rank(move: Move) -> tuple:
    """Moves of one level in the order that lets the next level read neighbouring slots at once."""
    if isinstance(move, Diagonal):
        return (0, move.i, move.j)
    if isinstance(move, Sum):
        return (1, -move.axis)
    return (2, move.i, move.j) if isinstance(move, Trace) else (3, *move.order)


def _runs_of_slots(placed: list[tuple]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for _, source, slot, move, _ in placed:
        last = steps[-1] if steps else None
        if last and last.move == move and last.source == source and last.last == slot:
            steps[-1] = Step(move, source, last.first, slot + 1)
        else:
            steps.append(Step(move, source, slot, slot + 1))
    return tuple(steps)
