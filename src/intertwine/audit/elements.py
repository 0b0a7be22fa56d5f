"""Which group elements an audit tries, and how each is named to a human and written down to be tried again."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..groups import E, Group, Lorentz, O, Wreath
from ..groups.group import Element
from ..groups.product import parts

MAX_LITERAL = 400  # numbers in a snippet before it stops being one line anybody reads


def count(group: Group, g: Element) -> int:
    """Number of elements in a stack with one batch axis. Raises ValueError for any other batch shape."""
    batch = group.batch_shape(g)
    if len(batch) != 1:
        raise ValueError(f"elements of {group} must have one leading axis, got batch shape {tuple(batch)}")
    return batch[0]


def concatenate(group: Group, stacks: list[Element]) -> Element:
    """Join stacks of elements along their batch axis."""
    if isinstance(stacks[0], tuple):
        return tuple(concatenate(group, [s[i] for s in stacks]) for i in range(len(stacks[0])))
    return torch.cat([s.to(stacks[0]) for s in stacks])


def draw(group: Group, elements: int | Element, *, generator: torch.Generator) -> tuple[Element, int]:
    """Elements for a pass/fail check: all of a small finite group, else that many samples and the generators."""
    if not isinstance(elements, int):
        return elements, count(group, elements)
    if group.is_finite and group.order <= elements:
        g = group.elements()
    else:
        g = concatenate(group, [group.sample(elements, generator=generator), group.generators()])
    return g, count(group, g)


def exponential(group: Group, X: Any, t: float) -> Element:
    """exp(tX) for a stack of Lie algebra elements; for a product, part by part (a finite part stays neutral)."""
    if isinstance(X, tuple):
        return tuple(exponential(part, x, t) for part, x in zip(parts(group), X))
    if group.is_finite:
        return concatenate(group, [group.identity(len(X))])
    return group.exp(t * X) if isinstance(group, Wreath) else torch.linalg.matrix_exp(t * X)


def special_elements(group: Group) -> tuple[Element, list[str]]:
    """Identity, discrete generators (a reflection per reflection component), and a quarter turn or unit step per
    direction of the Lie algebra: the elements on which hand-made models most often fail."""
    stacks, labels = [group.identity(1)], ["identity"]
    discrete = group.generators()
    if (k := count(group, discrete)) > 0:
        stacks.append(discrete)
        labels += [f"generator {i}: {describe(group, group.take(discrete, i))}" for i in range(k)]
    algebra = group.lie_algebra()
    rows = algebra if isinstance(algebra, tuple) else (algebra,)
    for i in range(len(rows[0])):
        X = tuple(r[i : i + 1] for r in rows) if isinstance(algebra, tuple) else algebra[i : i + 1]
        turn = all(torch.equal(x, -x.mT) for x in (X if isinstance(X, tuple) else (X,)))
        g = exponential(group, X, torch.pi / 2 if turn else 1.0)
        if turn:
            g = _rounded(g)
        stacks.append(g)
        labels.append(("quarter turn: " if turn else "unit step: ") + describe(group, group.take(g, 0)))
    return concatenate(group, stacks), labels


def _rounded(g: Any) -> Any:
    """Quarter turns hold only 0 and ±1: without the 1e-17 of the exponential, images turn without interpolation."""
    if isinstance(g, tuple):
        return tuple(_rounded(part) for part in g)
    return g.round() if g.is_floating_point() else g


class Sampler:
    """Draws elements of a group at a stated scale; needed where there is no uniform distribution to draw from.

    For E(n), SE(n): Haar rotations and translations from N(0, scale²) per axis, in the length unit of the data (Å for
    atoms). For other non-compact groups: exp of a Lie algebra element with N(0, scale²) coefficients, times a random
    product of the discrete generators. Compact groups: Haar, the scale has no meaning.
    """

    def __init__(self, group: Group, scale: float = 1.0):
        if scale <= 0:
            raise ValueError(f"Sampler({group}): scale must be positive, got {scale}")
        self.group, self.scale = group, scale

    def __call__(self, k: int, *, generator: torch.Generator) -> Element:
        return self._draw(self.group, k, generator)

    def _draw(self, group: Group, k: int, generator: torch.Generator) -> Element:
        if len(parts(group)) > 1:
            return tuple(self._draw(part, k, generator) for part in parts(group))
        if group.is_compact or isinstance(group, Wreath):
            return group.sample(k, generator=generator)
        if isinstance(group, E):
            g = group.sample(k, generator=generator)
            return group.element(group.linear_part(g), self.scale * group.translation_part(g))
        algebra = group.lie_algebra()
        weights = self.scale * torch.randn(k, len(algebra), generator=generator, dtype=torch.float64)
        g = torch.linalg.matrix_exp(torch.einsum("kd,dij->kij", weights, algebra))
        for reflection in group.generators():
            coin = torch.rand(k, generator=generator) < 0.5
            g = torch.where(coin[:, None, None], g @ reflection, g)
        return g

    def __str__(self) -> str:
        return f"{self.group} at scale {self.scale:g}"


ElementSampler = Callable[..., Element]


def axis_angle(R: Tensor) -> tuple[Tensor, float]:
    """Unit axis and angle in [0, π] of a 3 × 3 rotation."""
    R = R.double()
    skew = torch.stack([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    angle = torch.atan2(skew.norm(), R.trace() - 1).item()
    if skew.norm() > 1e-9:
        return skew / skew.norm(), angle
    if angle < 1:
        return torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), 0.0
    symmetric = (R + torch.eye(3, dtype=R.dtype)) / 2  # a half turn: n nᵀ
    axis = symmetric[symmetric.diagonal().argmax()]
    return axis / axis.norm(), angle


def describe(group: Group, g: Element) -> str:
    """One element in words: cycles of a permutation, angle (and axis) of a rotation, else its numbers."""
    members = parts(group)
    if len(members) > 1:
        return "; ".join(f"{part}: {describe(part, x)}" for part, x in zip(members, g))
    if isinstance(group, Wreath):
        moved = f"{group.places}: {describe(group.places, g[1])}"
        kept = [f"part {i}: {describe(group.G, group.G.take(g[0], i))}" for i in range(group.m)]
        return "; ".join([moved, *kept])
    if isinstance(group, E):
        n, shift = group.n, group.translation_part(g).double()
        text = describe(group.linear, group.linear_part(g))
        if shift.abs().max() > 0:
            text += " then shift (" + ", ".join(f"{v:.3g}" for v in shift.tolist()) + ")"
        return text if n else "identity"
    if isinstance(group, O):
        return _describe_orthogonal(g.double())
    if not g.is_floating_point():
        return _describe_discrete(group, g)
    name = "boost" if isinstance(group, Lorentz) else "matrix"
    rows = "; ".join(" ".join(f"{v:.3g}" for v in row) for row in g.tolist()[:6])
    return f"{name} [{rows}]"


def _describe_orthogonal(R: Tensor) -> str:
    n = len(R)
    if torch.allclose(R, torch.eye(n, dtype=R.dtype), atol=1e-12):
        return "identity"
    mirror = bool(torch.linalg.det(R) < 0)
    if n == 1:
        return "reflection"
    if n == 2:
        if mirror:
            return f"reflection in the line at {torch.atan2(R[1, 0], R[0, 0]).item() * 90 / torch.pi % 180:.4g}°"
        return f"turn by {torch.atan2(R[1, 0], R[0, 0]).item() * 180 / torch.pi:.4g}°"
    if n == 3:
        axis, angle = axis_angle(-R if mirror else R)
        if mirror and angle == 0:
            return "inversion"
        turn = (
            f"turn by {angle * 180 / torch.pi:.4g}° about (" + ", ".join(f"{v + 0.0:.3f}" for v in axis.tolist()) + ")"
        )
        return f"inversion and {turn}" if mirror else turn
    angles = torch.linalg.eigvals(R).angle().abs().max().item() * 180 / torch.pi
    return f"{'reflection' if mirror else 'rotation'}, largest angle {angles:.4g}°"


def _describe_discrete(group: Group, g: Tensor) -> str:
    name = type(group).__name__
    if name == "Cyclic":
        return f"turn by {int(g)}/{group.order}"
    if name == "Dihedral":
        j, k = g.tolist()
        turn = [f"turn by {k}/{group.order // 2}"] if k else []
        return ", then ".join(["flip"] * j + turn) or "identity"
    if g.ndim == 1 and hasattr(group, "permutation"):
        return _cycles(group.permutation(g).tolist())
    return f"element {g.tolist()}"


def _cycles(p: list[int]) -> str:
    seen, text = set(), ""
    for start in range(len(p)):
        cycle, i = [], start
        while i not in seen:
            seen.add(i)
            cycle.append(i)
            i = p[i]
        if len(cycle) > 1:
            text += "(" + " ".join(map(str, cycle)) + ")"
    return text if text else "identity"


def describe_generator(group: Group, A: Any) -> str:
    """One Lie algebra element in words: plane of a turn, axis of a shift, else the entries that are not zero."""
    if isinstance(A, tuple):
        named = [describe_generator(part, a) for part, a in zip(parts(group), A) if a.abs().max() > 0]
        return "; ".join(named)
    n = group.n if isinstance(group, E) else len(A)
    names = "xyz" if n <= 3 else [str(i) for i in range(n)]
    entries = [(i, j) for i, j in A.nonzero().tolist()]
    if isinstance(group, E) and entries and all(j == n for _, j in entries):
        return "shift along " + ", ".join(names[i] for i, _ in entries)
    if torch.equal(A, -A.mT) and len(entries) == 2:
        return f"turn in plane {names[entries[0][0]]}{names[entries[0][1]]}"
    return "generator " + " ".join(f"{A[i, j]:+.2g}·E({i},{j})" for i, j in entries[:6])


def literal(g: Element) -> str | None:
    """Python source of one element, exact to the last bit; None when it is too long for one line."""
    if isinstance(g, tuple):
        items = [literal(part) for part in g]
        return None if None in items else "(" + ", ".join(items) + ",)"
    if g.numel() > MAX_LITERAL:
        return None
    dtype = ", dtype=torch.float64" if g.is_floating_point() else ""
    return f"torch.tensor({(g.double() if g.is_floating_point() else g).tolist()!r}{dtype})"
