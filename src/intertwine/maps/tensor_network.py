"""Tensor networks: products of tensors of space with indices summed in pairs, the operations that rotations keep."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from . import tensor_text
from .contraction import Contraction, Leg
from .tensor_types import BUILT_IN, DELTA, Cartesian, TensorType, constant


@dataclass(frozen=True, repr=False)
class TensorNetwork:
    """Nodes are tensors, edges are summed pairs of indices, open legs are the indices of the result.

    nodes: names, as often as they occur; δ and ε are always there. A leg is (node, index). types: the kind of each
    name. outputs: kinds that consecutive open legs are projected to, such as a symmetric one; none leaves them as they
    are.
    Without open legs the value is an invariant: of SO(3), and of O(3) where the parities of nodes multiply to +1 and
    there is no ε, or to -1 and there is one.
    Raises ValueError for an unknown name, and for a leg that is not used exactly once.
    Source: arXiv:2508.12596.
    """

    nodes: tuple[str, ...]
    edges: tuple[tuple[Leg, Leg], ...]
    open_legs: tuple[Leg, ...] = ()
    types: Mapping[str, TensorType] | tuple[tuple[str, TensorType], ...] = ()
    outputs: tuple[TensorType, ...] = ()

    def __post_init__(self):
        types = dict(self.types)
        for name in types.keys() & BUILT_IN.keys():
            raise ValueError(f"TensorNetwork: the name {name} is taken by the isotropic tensor")
        if unknown := set(self.nodes) - types.keys() - BUILT_IN.keys():
            raise ValueError(f"TensorNetwork: the nodes {sorted(unknown)} have no type; there are {sorted(types)}")
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "edges", tuple((tuple(a), tuple(b)) for a, b in self.edges))
        object.__setattr__(self, "open_legs", tuple(tuple(leg) for leg in self.open_legs))
        object.__setattr__(self, "types", tuple(sorted((n, types[n]) for n in set(self.nodes) - BUILT_IN.keys())))
        kinds = types | BUILT_IN
        legs = [(node, leg) for node, name in enumerate(self.nodes) for leg in range(kinds[name].rank)]
        used = sorted([*self.open_legs, *(leg for edge in self.edges for leg in edge)])
        if used != legs:
            raise ValueError(f"TensorNetwork: the legs are {legs}, edges and open legs use {used}")
        if self.outputs and sum(kind.rank for kind in self.outputs) != len(self.open_legs):
            raise ValueError(
                f"TensorNetwork: outputs of {[kind.rank for kind in self.outputs]} indices, {len(self.open_legs)} "
                "open legs"
            )

    @property
    def kinds(self) -> dict[str, TensorType]:
        """The type of each name that occurs, δ and ε left out."""
        return dict(self.types)

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of the result."""
        if not self.outputs:
            return (3,) * len(self.open_legs)
        return tuple(axis for kind in self.outputs for axis in kind.shape)

    def degree(self, name: str) -> int:
        """How often a tensor occurs."""
        return self.nodes.count(name)

    def evaluate(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The value [*batch, *shape] for inputs [*batch, *type.shape]; batch axes are broadcast.

        Raises ValueError for an input that is absent or of the wrong shape.
        """
        (value,) = evaluate([self], inputs)
        return value

    def diff(self, name: str) -> "NetworkSum":
        """The derivative by a tensor: each of its nodes is taken out in turn, its legs are left open, at the end.

        A gradient among tensors of that kind: symmetric, traceless or spherical as the input is. Raises ValueError for
        δ and ε.
        """
        if name in BUILT_IN:
            raise ValueError(f"TensorNetwork: {name} is a constant")
        terms = [self._without(node) for node, other in enumerate(self.nodes) if other == name]
        return NetworkSum.of([(1, term) for term in terms], (*self.shape, *(self._kind(name).shape if terms else ())))

    def _kind(self, name: str) -> TensorType:
        return (self.kinds | BUILT_IN)[name]

    def _without(self, gone: int) -> "TensorNetwork":
        kind = self._kind(self.nodes[gone])
        nodes = list(self.nodes)
        partner = {leg: other for edge in self.edges for leg, other in (edge, edge[::-1])}
        slots: list[Leg | None] = [leg if leg[0] != gone else None for leg in self.open_legs]
        slots += [None] * kind.rank
        done: set[int] = set()
        for k in range(kind.rank):
            leg, slot = (gone, k), len(self.open_legs) + k
            if slot in done:
                continue
            if leg in partner and partner[leg][0] != gone:
                slots[slot] = partner[leg]
                continue
            other = len(self.open_legs) + partner[leg][1] if leg in partner else self.open_legs.index(leg)
            slots[min(slot, other)], slots[max(slot, other)] = (len(nodes), 0), (len(nodes), 1)
            nodes.append(DELTA)
            done |= {other, slot}
        edges = [edge for edge in self.edges if gone not in (edge[0][0], edge[1][0])]

        def moved(leg: Leg) -> Leg:
            return (leg[0] - (leg[0] > gone), leg[1])

        del nodes[gone]
        outputs = (*(self.outputs or (Cartesian(1),) * len(self.open_legs)), kind)
        return TensorNetwork(
            tuple(nodes),
            tuple((moved(a), moved(b)) for a, b in edges),
            tuple(moved(leg) for leg in slots),
            self.types,
            outputs,
        )

    def latex(self) -> str:
        """In index notation, summed over repeated indices; open legs are i, j, ... in order."""
        return tensor_text.latex(self)

    def ascii(self) -> str:
        """The nodes and how many legs tie them, one tie a line."""
        return tensor_text.ascii_lines(self)

    def __repr__(self) -> str:
        return tensor_text.plain(self)


@dataclass(frozen=True, repr=False)
class NetworkSum:
    """A sum of networks with whole coefficients and one shape: what the derivative of a network is."""

    terms: tuple[tuple[int, TensorNetwork], ...]
    shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, terms: list[tuple[int, TensorNetwork]], shape: tuple[int, ...]) -> "NetworkSum":
        """The sum, with terms that are computed alike counted together."""
        counts: dict[int, list] = {}
        plan = Contraction({name: kind for _, network in terms for name, kind in network.types})
        for coefficient, network in terms:
            step = plan.add(network.nodes, network.edges, network.open_legs)
            counts.setdefault(step, [0, network])[0] += coefficient
        return cls(tuple((coefficient, network) for coefficient, network in counts.values()), shape)

    def evaluate(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The value [*batch, *shape]; sub-networks that terms share are computed once. See `TensorNetwork.evaluate`."""
        if not self.terms:
            some = next(iter(inputs.values()))
            return some.new_zeros(self.shape)
        values = evaluate([network for _, network in self.terms], inputs)
        return sum(coefficient * value for (coefficient, _), value in zip(self.terms, values))

    def diff(self, name: str) -> "NetworkSum":
        """The derivative by a tensor, of every term."""
        parts = [(c, network.diff(name)) for c, network in self.terms]
        shape = next((part.shape for _, part in parts), self.shape)
        return NetworkSum.of([(c * d, network) for c, part in parts for d, network in part.terms], shape)

    def latex(self) -> str:
        """The sum in index notation; 0 for no terms."""
        return " + ".join(("" if c == 1 else f"{c} ") + network.latex() for c, network in self.terms) or "0"

    def ascii(self) -> str:
        """Every term, after its coefficient."""
        return "\n".join(f"{c} times\n{network.ascii()}" for c, network in self.terms) or "0"

    def __repr__(self) -> str:
        return " + ".join(("" if c == 1 else f"{c} ") + repr(network) for c, network in self.terms) or "0"


def evaluate(networks: list[TensorNetwork], inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Values of several networks [*batch, *shape]; what they have in common is computed once.

    Raises ValueError for an input that is absent, whose shape does not fit its type, or whose batch does not broadcast.
    """
    plan, steps = planned(tuple(networks))
    kinds = {name: kind for network in networks for name, kind in network.types}
    batch, flat = flattened(inputs, kinds)
    some = next(iter(flat.values()), None)
    if some is None:
        some = next(iter(inputs.values()), torch.zeros(()))

    def leaves(name: str) -> Tensor:
        if name in BUILT_IN:
            return some.new_tensor(constant(name).tolist())[None]
        lift = kinds[name].lift
        return flat[name] if lift is None else flat[name] @ _matrix(lift, some).mT

    values = plan.run(leaves, steps)
    return [
        _lowered(value, network, some).expand(batch.numel(), -1).reshape(*batch, *network.shape)
        for network, value in zip(networks, values)
    ]


def flattened(inputs: Mapping[str, Tensor], kinds: Mapping[str, TensorType]) -> tuple[torch.Size, dict[str, Tensor]]:
    """The common batch shape, and each input as [batch, entries]. Raises ValueError as `evaluate` does."""
    if absent := sorted(kinds.keys() - inputs.keys()):
        raise ValueError(f"TensorNetwork: it takes {sorted(kinds)}, the inputs lack {absent}")
    shapes = {}
    for name, kind in kinds.items():
        axes, tail = inputs[name].ndim - len(kind.shape), tuple(kind.shape)
        if axes < 0 or tuple(inputs[name].shape[axes:]) != tail:
            given = tuple(inputs[name].shape)
            raise ValueError(f"TensorNetwork: {name} is {kind}, its last axes are {list(tail)}; got {given}")
        shapes[name] = inputs[name].shape[:axes]
    try:
        batch = torch.broadcast_shapes(*shapes.values())
    except RuntimeError:
        raise ValueError(f"TensorNetwork: the batch axes of the inputs do not fit each other: {shapes}") from None
    return batch, {
        name: inputs[name].expand(*batch, *kind.shape).reshape(batch.numel(), int(np.prod(kind.shape)))
        for name, kind in kinds.items()
    }


@lru_cache(maxsize=256)
def planned(networks: tuple[TensorNetwork, ...]) -> tuple[Contraction, list[int]]:
    """One plan for several networks, and the step of each."""
    plan = Contraction({name: kind for network in networks for name, kind in network.types})
    return plan, [plan.add(network.nodes, network.edges, network.open_legs) for network in networks]


def _lowered(value: Tensor, network: TensorNetwork, like: Tensor) -> Tensor:
    """Each group of open legs projected to the kind it stands for; [batch, 3^legs] -> [batch, entries]."""
    before, after = 1, 3 ** len(network.open_legs)
    for kind in network.outputs:
        after //= 3**kind.rank
        size = 3**kind.rank
        if kind.lower is not None:
            grouped = value.unflatten(-1, (before, size, after)).movedim(-2, -1)
            grouped = grouped @ _matrix(kind.lower, like)
            size = grouped.shape[-1]
            value = grouped.movedim(-1, -2).flatten(1)
        before *= size
    return value


def _matrix(constant: Float[np.ndarray, "rows columns"], like: Tensor) -> Tensor:
    return torch.tensor(constant, dtype=like.dtype, device=like.device)
