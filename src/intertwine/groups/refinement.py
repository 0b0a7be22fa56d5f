"""The search for the automorphisms of a graph: individualise a vertex, refine colours, backtrack, compare.

Two vertices are told apart by how many neighbours of each colour they have; what that leaves open is tried. One
automorphism is kept for each level of the stabiliser chain and each new point of an orbit, so the empty graph on n
vertices takes n - 1 of them, not n!. Exponential in the worst case, as all known algorithms of this kind are.
"""

from functools import cached_property

import numpy as np

Trace = list[tuple[np.ndarray, np.ndarray]]  # of each round of refinement, the keys that occurred and how often


class Colouring:
    """Vertices of a labelled graph, coloured stably: `colour` int64 [n], numbered 0.. whatever the vertices are called.

    `trace` is how it came about; two colourings with one trace look alike to the refinement.
    """

    def __init__(self, graph: "LabelledGraph", colour: np.ndarray, trace: Trace):
        self.graph, self.colour, self.trace = graph, colour, trace
        self._after: dict[int, Colouring] = {}

    @cached_property
    def sizes(self) -> np.ndarray:
        """Vertices of each colour."""
        return np.bincount(self.colour)

    @cached_property
    def branch(self) -> int | None:
        """The first vertex of the smallest cell that has more than one; None where every vertex has its own colour."""
        open_ = self.sizes > 1
        if not open_.any():
            return None
        cell = np.where(open_, self.sizes, len(self.colour) + 1).argmin()
        return int((self.colour == cell).argmax())

    def cell(self, vertex: int) -> np.ndarray:
        """The vertices with the colour of this one, ascending."""
        return np.flatnonzero(self.colour == self.colour[vertex])

    def after(self, vertex: int) -> "Colouring":
        """Individualise a vertex, and refine."""
        if vertex not in self._after:
            colour, trace = self.graph.refine(self._single(vertex))
            self._after[vertex] = Colouring(self.graph, colour, trace)
        return self._after[vertex]

    def after_like(self, vertex: int, model: "Colouring") -> "Colouring | None":
        """The same, given up as soon as it does not look like `model`."""
        found = self.graph.refine(self._single(vertex), model.trace)
        return None if found is None else Colouring(self.graph, *found)

    def _single(self, vertex: int) -> np.ndarray:
        colour = self.colour.copy()
        colour[vertex] = len(self.sizes)
        return colour


class LabelledGraph:
    """A graph as labels int64 [n, n] of all ordered pairs, 0 for no edge, and colours int64 [n] of the vertices."""

    def __init__(self, labels: np.ndarray, colours: np.ndarray):
        self.n = n = len(labels)
        self.labels, self.colours = labels, colours
        values, label = np.unique(labels, return_inverse=True)
        label = label.reshape(n, n)
        _, kind = np.unique(label * len(values) + label.T, return_inverse=True)  # both directions of a pair
        kind = kind.reshape(n, n)
        np.fill_diagonal(kind, -1)
        counts = np.bincount(kind[kind >= 0], minlength=1)
        # the pairs of the commonest kind are what the others leave over, so they need not be counted
        rows, self.others = np.nonzero((kind >= 0) & (kind != counts.argmax()))
        self.kinds = kind[rows, self.others]
        self.starts = np.searchsorted(rows, np.arange(n + 1))
        self.salt = _mixed(np.arange(1, len(counts) + 1) << 32)
        self.words = _mixed(np.arange(1, 2 * n + 2))

    def refine(self, colour: np.ndarray, model: Trace | None = None) -> tuple[np.ndarray, Trace] | None:
        """Split colours by the colours of the neighbours until nothing splits; None as soon as `model` differs.

        Neighbourhoods are compared by 64-bit sums of mixed words: a coincidence makes a colouring coarser and the
        search longer, never an automorphism wrong.
        """
        trace: Trace = []
        count = int(colour.max()) + 1
        while True:
            words = self.words[colour]
            sums = np.zeros(len(self.kinds) + 1, dtype=np.uint64)
            np.cumsum(self.salt[self.kinds] * words[self.others], out=sums[1:])
            key = _mixed(sums[self.starts[1:]] - sums[self.starts[:-1]]) + words
            values, colour, sizes = np.unique(key, return_inverse=True, return_counts=True)
            trace.append((values, sizes))
            if model is not None:
                step = len(trace) - 1
                if step >= len(model) or not all(map(np.array_equal, trace[step], model[step])):
                    return None
            if len(values) in (count, self.n):
                return colour, trace
            count = len(values)

    def is_automorphism(self, image: np.ndarray) -> bool:
        """Whether a permutation [n] keeps all labels and colours."""
        return np.array_equal(self.colours[image], self.colours) and np.array_equal(
            self.labels[image[:, None], image], self.labels
        )

    def automorphisms(self) -> np.ndarray:
        """Strong generators int64 [r, n] along the base 0, 1, ..: `groups.chain.strong_chain` takes them."""
        _, colour = np.unique(np.stack([self.colours, self.labels.diagonal()]), axis=1, return_inverse=True)
        node = Colouring(self, *self.refine(colour.reshape(-1)))
        levels = []
        for point in range(self.n):
            if len(node.cell(point)) > 1:
                levels.append((point, node))
                node = node.after(point)
        found: list[np.ndarray] = []
        for point, node in reversed(levels):
            # points with the same mark are carried into each other by what is known of this stabiliser
            mark = np.arange(self.n)
            for image in found:
                _join(mark, image)
            hopeless = set()
            for other in node.cell(point):
                if mark[other] == mark[point] or mark[other] in hopeless:
                    continue
                right = node.after_like(int(other), node.after(point))
                image = None if right is None else self._carry(node.after(point), right)
                if image is None:
                    hopeless.add(mark[other])
                else:
                    found.append(image)
                    failed = np.isin(mark, list(hopeless))
                    _join(mark, image)
                    hopeless = set(mark[failed].tolist())
        return np.array(found, dtype=np.int64).reshape(-1, self.n)

    def _carry(self, left: Colouring, right: Colouring) -> np.ndarray | None:
        """An automorphism that sends every cell of one colouring to the cell of that colour in the other, if any."""
        image = _matching(left.colour, right.colour)
        if self.is_automorphism(image):
            return image
        if left.branch is None:
            return None
        vertex = left.branch
        candidates = np.flatnonzero(right.colour == left.colour[vertex])
        for other in sorted(candidates.tolist(), key=lambda w: w != vertex):
            deeper = right.after_like(other, left.after(vertex))
            image = None if deeper is None else self._carry(left.after(vertex), deeper)
            if image is not None:
                return image
        return None


def _matching(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A bijection that keeps colours and moves as little as possible."""
    image = np.arange(len(left))
    rest = np.flatnonzero(left != right)
    image[rest[left[rest].argsort(kind="stable")]] = rest[right[rest].argsort(kind="stable")]
    return image


def _join(mark: np.ndarray, image: np.ndarray) -> None:
    """Give points one mark, the least, where a permutation carries them into each other; in place."""
    while True:
        least = np.minimum(mark, mark[image])
        np.minimum.at(least, image, mark)
        least = least[least]  # a mark is a point, so the mark of the mark is as good and spreads faster
        if np.array_equal(least, mark):
            return
        mark[:] = least


def _mixed(x: np.ndarray) -> np.ndarray:
    """Well mixed 64-bit words, one for each input (the finaliser of splitmix64)."""
    z = x.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
