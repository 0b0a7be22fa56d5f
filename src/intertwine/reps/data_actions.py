"""Actions on data that is not one flat feature: point clouds, vectors at points, sets, and dicts of such things.

Shapes are those of a batch: axis 0 counts samples. An element acts on all samples, or one element on each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ..groups import Group
from ..groups.group import Element
from ..groups.matrix import E
from .action import Action, check_batch


class Points(Action):
    """Positions, Float[Tensor, "*batch points d"]: x -> Rx + t for E(n) and SE(n), x -> Rx for matrix groups."""

    def __init__(self, group: Group):
        self.group, self.d = group, _space(self, group)

    def act(self, g: Element, x: Float[Tensor, "*batch points d"]) -> Float[Tensor, "*batch points d"]:
        """Move every point. Raises ValueError on a wrong last axis or batch."""
        moved = _rotate(self, self.group, self.d, g, x)
        if not isinstance(self.group, E):
            return moved
        shift = self.group.translation_part(g).to(x.device, x.dtype)
        return moved + shift.reshape(*shift.shape[:-1], *[1] * (x.ndim - shift.ndim), self.d)

    def __repr__(self) -> str:
        return f"Points({self.group})"


class Vectors(Action):
    """Directions such as forces and velocities, Float[Tensor, "*batch d"]: v -> Rv; translations do nothing."""

    def __init__(self, group: Group):
        self.group, self.d = group, _space(self, group)

    def act(self, g: Element, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Turn every vector. Raises ValueError on a wrong last axis or batch."""
        return _rotate(self, self.group, self.d, g, x)

    def __repr__(self) -> str:
        return f"Vectors({self.group})"


class Rows(Action):
    """A matrix whose rows are vectors, such as the cell of a crystal, Float[Tensor, "*batch rows d"]: C -> C Rᵀ."""

    def __init__(self, group: Group):
        self.group, self.d = group, _space(self, group)

    def act(self, g: Element, x: Float[Tensor, "*batch rows d"]) -> Float[Tensor, "*batch rows d"]:
        """Turn every row. Raises ValueError on a wrong last axis, batch, or a single row."""
        if x.ndim < 2:
            raise ValueError(f"{self}: the data has shape {tuple(x.shape)}, rows need two axes [rows, {self.d}]")
        return _rotate(self, self.group, self.d, g, x)

    def __repr__(self) -> str:
        return f"Rows({self.group})"


class Tensors(Action):
    """Cartesian tensors of a given rank, Float[Tensor, "*batch d ... d"]: each axis turns; rank 2 is a stress, RσRᵀ."""

    def __init__(self, group: Group, rank: int = 2):
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"Tensors({group}): rank must be an integer of at least 1, got {rank!r}")
        self.group, self.rank, self.d = group, rank, _space(self, group)

    def act(self, g: Element, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Turn the last `rank` axes. Raises ValueError on wrong axes or batch."""
        if x.shape[x.ndim - self.rank :] != (self.d,) * self.rank:
            raise ValueError(f"{self}: the last {self.rank} axes must be {self.d}, the data has {tuple(x.shape)}")
        for axis in range(x.ndim - self.rank, x.ndim):
            x = _rotate(self, self.group, self.d, g, x.movedim(axis, -1), self.rank).movedim(-1, axis)
        return x

    def __repr__(self) -> str:
        return f"Tensors({self.group}, rank={self.rank})"


class Invariant(Action):
    """Data that no element moves: numbers, labels, energies. Without a group it fits any group inside `Nested`."""

    def __init__(self, group: Group | None = None):
        self.group = group

    def act(self, g: Element, x: Any) -> Any:
        """x itself."""
        return x

    def collate(self, samples: Sequence[Any]) -> Any:
        """Stack tensors; keep anything else as a list."""
        return torch.stack(list(samples)) if isinstance(samples[0], Tensor) else list(samples)

    def __repr__(self) -> str:
        return "Invariant()" if self.group is None else f"Invariant({self.group})"


class Permute(Action):
    """Things moved to new places: out[:, p[i]] = x[:, i] along each of `axes` (axis 0 is the batch).

    axes=(1,) for sets [batch, n, ...], axes=(1, 2) for adjacency matrices [batch, n, n]. Any group whose V permutes.
    """

    def __init__(self, group: Group, *, axes: Sequence[int] = (1,)):
        if not group.is_permutation or not hasattr(group, "permutation"):
            raise ValueError(f"Permute: {group} does not permute things; give a permutation group such as S(n)")
        if not axes or any(axis == 0 for axis in axes):
            raise ValueError(
                f"Permute({group}): axes {tuple(axes)} must name at least one axis, and not the batch axis 0"
            )
        self.group, self.axes = group, tuple(axes)

    def act(self, g: Element, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Move the entries. Raises ValueError on a wrong axis size or batch."""
        n = self.group.dim_V
        p = self.group.permutation(g).to(x.device)
        check_batch(self, p.shape[:-1], x.shape[:1])
        source = p.argsort(-1)
        for axis in (axis % x.ndim for axis in self.axes):
            if axis == 0 or x.shape[axis] != n:
                raise ValueError(f"{self}: axis {axis} of the data {tuple(x.shape)} must have size {n}")
            if source.ndim == 1:
                x = x.index_select(axis, source)
            else:
                index = source.reshape(-1, *[1] * (axis - 1), n, *[1] * (x.ndim - axis - 1))
                x = x.gather(axis, index.expand(x.shape))
        return x

    def __repr__(self) -> str:
        return f"Permute({self.group}, axes={self.axes})"


class Nested(Action):
    """One Action for each key of a dict, or each place of a tuple; a key that is not named is an error.

    `Nested({"pos": Points(E(3)), "z": Invariant(), "cell": Rows(O(3))})`. All parts share one group; a part of the
    linear group O(n) or SO(n) inside E(n) or SE(n) gets the linear part of the element.
    """

    def __init__(self, parts: Mapping[str, Action] | Sequence[Action]):
        if not parts:
            raise ValueError("Nested: give at least one part")
        keys = list(parts) if isinstance(parts, Mapping) else range(len(parts))
        self.parts: dict[Any, Action] = {key: parts[key] for key in keys}
        self.is_tuple = not isinstance(parts, Mapping)
        groups = [part.group for part in self.parts.values() if part.group is not None]
        if not groups:
            raise ValueError("Nested: at least one part must name its group, for example Invariant(SO(3))")
        rigid = [group for group in groups if isinstance(group, E)]
        self.group: Group = (rigid or groups)[0]
        linear = self.group.linear if rigid else None
        for key, part in self.parts.items():
            if part.group not in (None, self.group, linear):
                raise ValueError(f"Nested: part {key!r} belongs to {part.group}, the others to {self.group}")

    def act(self, g: Element, x: Any) -> Any:
        """Move each part. Raises ValueError when the keys of the data are not exactly the named ones."""
        values = self._values(x)
        out = {key: part.act(self._element(part, g), values[key]) for key, part in self.parts.items()}
        return self._like(x, out)

    def collate(self, samples: Sequence[Any]) -> Any:
        """Collate each part with its own Action."""
        values = [self._values(sample) for sample in samples]
        return self._like(samples[0], {k: part.collate([v[k] for v in values]) for k, part in self.parts.items()})

    def uncollate(self, batch: Any) -> list[Any]:
        """Take each part apart. Raises ValueError when the parts hold different numbers of samples."""
        values = self._values(batch)
        apart = {key: part.uncollate(values[key]) for key, part in self.parts.items()}
        sizes = {key: len(samples) for key, samples in apart.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"{self}: the parts hold different numbers of samples: {sizes}")
        return [self._like(batch, dict(zip(apart, sample))) for sample in zip(*apart.values())]

    def _values(self, x: Any) -> dict[Any, Any]:
        values = dict(enumerate(x)) if self.is_tuple else dict(x)
        if values.keys() != self.parts.keys():
            unnamed, absent = sorted(values.keys() - self.parts.keys()), sorted(self.parts.keys() - values.keys())
            raise ValueError(
                f"Nested: the data has keys {list(values)}, the Action names {list(self.parts)}"
                + (f"; not named: {unnamed}, use Invariant() for what does not move" if unnamed else "")
                + (f"; not in the data: {absent}" if absent else "")
            )
        return values

    def _like(self, x: Any, values: dict[Any, Any]) -> Any:
        if not self.is_tuple:
            return values
        return type(x)(*values.values()) if hasattr(x, "_fields") else tuple(values.values())

    def _element(self, part: Action, g: Element) -> Element:
        if isinstance(self.group, E) and part.group is not None and not isinstance(part.group, E):
            return self.group.linear_part(g)
        return g

    def __repr__(self) -> str:
        if self.is_tuple:
            return f"Nested({list(self.parts.values())!r})"
        return f"Nested({self.parts!r})"


def _space(action: Action, group: Group) -> int:
    if not hasattr(group, "n") or getattr(group, "element_ndim", None) != 2:
        raise ValueError(
            f"{type(action).__name__}: {group} is no matrix group; give E(n), SE(n), O(n), SO(n) or similar"
        )
    return group.n


def _rotate(action: Action, group: Group, d: int, g: Tensor, x: Tensor, tail: int = 1) -> Tensor:
    """The linear part of g on the last axis; the last `tail` axes of x are no batch axes."""
    if x.shape[-1] != d:
        raise ValueError(f"{action}: the last axis of the data {tuple(x.shape)} must be {d}")
    R = (group.linear_part(g) if isinstance(group, E) else g).to(x.device, x.dtype)
    batch = R.shape[:-2]
    check_batch(action, batch, x.shape[: x.ndim - tail])
    if not batch:
        return x @ R.mT
    return torch.einsum("bij,b...j->b...i", R.reshape(-1, d, d), x.reshape(-1, *x.shape[len(batch) :])).reshape(x.shape)
