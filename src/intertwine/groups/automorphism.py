"""The symmetry of one fixed graph: all permutations of its vertices that keep its edges and labels."""

import hashlib
import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from .chain import strong_chain
from .permutation import LONGEST_NAME, PermutationGroup
from .refinement import LabelledGraph


class Automorphism(PermutationGroup):
    """The automorphism group of a graph; elements int64 [..., n] as in S(n), p[i] the image of vertex i.

    graph: a networkx graph, directed or not, whose vertices are numbered in the order in which it lists them and whose
    edges are labelled by their `weight` (1 where there is none); or an array or tensor [n, n] of whole numbers, the
    labels of all ordered pairs, 0 for no edge, loops on the diagonal; or a text of edges, `"0-1 1-2 2>0 4"`: `>` is
    directed, a number alone a vertex without edges. node_labels: whole numbers [n], in the order of the vertices.
    Equal when the numbered, labelled graphs are. Generators are searched by individualisation and colour refinement.
    Raises ValueError for a graph without vertices, of the wrong shape, with parallel edges or fractional labels.
    """

    def __init__(self, graph, node_labels: Int[Tensor, " n"] | Sequence[int] | None = None):
        if isinstance(graph, str):
            labels, nodes = _read(graph), None
        elif hasattr(graph, "is_multigraph"):
            labels, nodes = _from_networkx(graph)
        else:
            labels, nodes = _labels(graph), None
        self._adjacency = labels
        self._node_labels = _node_labels(node_labels, len(labels))
        self._nodes = tuple(range(len(labels))) if nodes is None else nodes
        self._keep(strong_chain(len(labels), LabelledGraph(labels, self._node_labels).automorphisms()))
        self._text = f"Automorphism({_name(labels, self._node_labels)})"

    @property
    def adjacency(self) -> Int[Tensor, "n n"]:
        """The label of every ordered pair of vertices, 0 for no edge."""
        return torch.from_numpy(self._adjacency.copy())

    @property
    def node_labels(self) -> Int[Tensor, " n"]:
        """The label of every vertex; zeros where none were given."""
        return torch.from_numpy(self._node_labels.copy())

    @property
    def nodes(self) -> tuple:
        """The vertices by the names the graph gave them: vertex i of the group is nodes[i]."""
        return self._nodes


def _whole(values: np.ndarray, what: str) -> np.ndarray:
    """Numbers as int64; labels are compared for equality, so fractions are refused."""
    if values.dtype == bool:
        return values.astype(np.int64)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"Automorphism: {what} must be whole numbers, got {values.dtype}")
    whole = np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 2**53)
    if not whole.all():
        place = tuple(int(i) for i in np.argwhere(~whole)[0])
        raise ValueError(
            f"Automorphism: {what} must be whole numbers, got {values[place]} at {place}; give equal weights equal "
            "labels first, for instance by numpy.unique(weights, return_inverse=True)"
        )
    return values.astype(np.int64)


def _array(values) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _labels(adjacency) -> np.ndarray:
    array = _array(adjacency)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(f"Automorphism: the adjacency has shape {array.shape}, it must be square, [n, n]")
    return _checked(_whole(array, "edge labels"))


def _checked(labels: np.ndarray) -> np.ndarray:
    if len(labels) == 0:
        raise ValueError("Automorphism: the graph has no vertices")
    return labels


def _node_labels(given, n: int) -> np.ndarray:
    if given is None:
        return np.zeros(n, dtype=np.int64)
    array = _array(given)
    if array.shape != (n,):
        raise ValueError(f"Automorphism: node_labels has shape {array.shape}, but the graph has {n} vertices: give [n]")
    return _whole(array, "node labels")


def _from_networkx(graph) -> tuple[np.ndarray, tuple]:
    if graph.is_multigraph():
        raise ValueError(
            f"Automorphism: {type(graph).__name__} may have parallel edges; give a Graph or DiGraph whose "
            "edges count them in the attribute 'weight'"
        )
    nodes = tuple(graph.nodes)
    place = {node: i for i, node in enumerate(nodes)}
    weights = [(place[u], place[v], weight) for u, v, weight in graph.edges(data="weight", default=1)]
    values = _whole(np.array([weight for _, _, weight in weights] or [1]), "edge weights")
    labels = np.zeros((len(nodes), len(nodes)), dtype=np.int64)
    for (u, v, _), value in zip(weights, values):
        if value == 0:
            raise ValueError(f"Automorphism: the edge {nodes[u]}, {nodes[v]} has weight 0, which means no edge")
        labels[u, v] = value
        if not graph.is_directed():
            labels[v, u] = value
    return _checked(labels), nodes


def _read(text: str) -> np.ndarray:
    """The labels 0 and 1 of a graph written as edges."""
    words = re.split(r"[\s,]+", text.strip())
    edges = []
    for word in words:
        found = re.fullmatch(r"(\d+)(?:([->])(\d+))?", word)
        if found is None:
            raise ValueError(f"Automorphism: {word!r} is no edge such as 0-1 or 0>1, nor a vertex such as 5")
        edges.append((int(found[1]), found[2], int(found[3] or found[1])))
    n = 1 + max(max(i, j) for i, _, j in edges)
    labels = np.zeros((n, n), dtype=np.int64)
    for i, sign, j in edges:
        if sign:
            labels[i, j] = 1
        if sign == "-":
            labels[j, i] = 1
    return labels


def _name(labels: np.ndarray, node_labels: np.ndarray) -> str:
    """The edges, which read back; for a large or labelled graph its size and a hash."""
    n = len(labels)
    if not node_labels.any() and np.isin(labels, (0, 1)).all():
        text = " ".join(_words(labels))
        if len(text) <= LONGEST_NAME:
            return f"'{text}'"
    digest = hashlib.blake2s(labels.astype("<i8").tobytes() + node_labels.astype("<i8").tobytes(), digest_size=8)
    return f"{n} vertices, #{digest.hexdigest()}"


def _words(labels: np.ndarray) -> Iterable[str]:
    for i, j in np.argwhere(labels).tolist():
        if not labels[j, i]:
            yield f"{i}>{j}"
        elif i <= j:
            yield f"{i}-{j}"
    last = len(labels) - 1
    if not labels[last].any() and not labels[:, last].any():
        yield str(last)
