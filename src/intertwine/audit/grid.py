"""Orbits laid out to be seen: a stack of group elements with the coordinates at which each is drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..groups import SE, SO, Group
from ..groups.group import Element
from ..groups.matrix import E, O
from .elements import describe, exponential

GOLDEN = 2.399963229728653  # π (3 − √5)


@dataclass(frozen=True)
class OrbitGrid:
    """Elements of a group with their places in a plot; made by the constructors below.

    coordinates: "angle" in degrees (circle, sphere), "axis" unit vectors [K, 3] (sphere), "x" and "y" (torus, plane).
    weight: share of each element in averages over the orbit, sums to 1 (Haar where the grid is uneven).
    shape: (rows, columns) of a heat map or of tiles; (angles, axes) of a sphere; (elements,) of a circle.
    """

    kind: Literal["circle", "torus", "finite", "sphere", "plane"]
    group: Group
    elements: Element
    labels: list[str]
    weight: Float[Tensor, " K"]
    shape: tuple[int, ...]
    coordinates: dict[str, Tensor] = field(default_factory=dict)
    axis_labels: tuple[str, str] = ("", "")
    turn: tuple[int, int] = (0, 1)  # the plane of a circle

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def circle(cls, n: int = 72, *, group: Group | None = None, plane: tuple[int, int] = (0, 1)) -> "OrbitGrid":
        """n turns in one coordinate plane of SO(d), O(d), SE(d) or E(d) (default SO(2)), counter-clockwise from 0°."""
        group = group or SO(2)
        i, j = plane
        if n < 3 or i == j or max(i, j) >= _dimension(group):
            raise ValueError(f"circle: needs n ≥ 3 and two different axes of {group}, got n = {n}, plane {plane}")
        angle = torch.arange(n, dtype=torch.float64) * (360 / n)
        R = _turn(_dimension(group), i, j, angle * math.pi / 180)
        labels = [f"{a:.4g}°" for a in angle.tolist()]
        uniform = torch.full((n,), 1 / n, dtype=torch.float64)
        return cls("circle", group, _embed(group, R), labels, uniform, (n,), {"angle": angle}, ("angle", ""), plane)

    @classmethod
    def torus(cls, nx: int, ny: int, max_shift: float, *, group: Group | None = None) -> "OrbitGrid":
        """Shifts by up to ±max_shift along the first two axes, nx × ny of them, of SE(d) or E(d) (default SE(2))."""
        group = group or SE(2)
        if not isinstance(group, E) or group.n < 2:
            raise ValueError(f"torus: needs SE(d) or E(d) with d ≥ 2, got {group}")
        if min(nx, ny) < 2 or max_shift <= 0:
            raise ValueError(f"torus: needs nx, ny ≥ 2 and max_shift > 0, got {nx}, {ny}, {max_shift}")
        dy, dx = torch.meshgrid(_steps(max_shift, ny), _steps(max_shift, nx), indexing="ij")
        dx, dy = dx.flatten(), dy.flatten()
        shift = torch.zeros(len(dx), group.n, dtype=torch.float64)
        shift[:, 0], shift[:, 1] = dx, dy
        eye = torch.eye(group.n, dtype=torch.float64).expand(len(dx), group.n, group.n)
        labels = [f"shift ({a:.3g}, {b:.3g})" for a, b in zip(dx.tolist(), dy.tolist())]
        return cls(
            "torus", group, group.element(eye, shift), labels, _uniform(len(dx)), (ny, nx), {"x": dx, "y": dy},
            ("shift x", "shift y"),
        )  # fmt: skip

    @classmethod
    def plane(
        cls, group: Group, generator_a: Tensor, generator_b: Tensor, n: int = 17, *, scale: float = 1.0
    ) -> "OrbitGrid":
        """exp(s A + t B) for s, t in [-scale, scale], n × n of them; A, B Lie algebra elements [d, d] of `group`."""
        if n < 2 or scale <= 0 or generator_a.shape != generator_b.shape:
            raise ValueError(f"plane: needs n ≥ 2, scale > 0 and generators of one shape, got {n}, {scale}")
        t, s = torch.meshgrid(_steps(scale, n), _steps(scale, n), indexing="ij")
        s, t = s.flatten(), t.flatten()
        X = s[:, None, None] * generator_a.double() + t[:, None, None] * generator_b.double()
        g = exponential(group, X, 1.0)
        if not group.contains(g, 1e-6):
            raise ValueError(f"plane: the exponential of these generators leaves {group}")
        labels = [f"exp({a:.3g} A + {b:.3g} B)" for a, b in zip(s.tolist(), t.tolist())]
        return cls("plane", group, g, labels, _uniform(n * n), (n, n), {"x": s, "y": t}, ("s along A", "t along B"))

    @classmethod
    def finite(
        cls,
        group: Group,
        elements: Element | None = None,
        labels: Sequence[str] | None = None,
        columns: int | None = None,
    ) -> "OrbitGrid":
        """All elements of a finite group as tiles, in the order of `elements()`; or these, with these labels."""
        g = group.elements() if elements is None else elements
        k = group.batch_shape(g)[0]
        names = list(labels) if labels is not None else [describe(group, group.take(g, i)) for i in range(k)]
        if len(names) != k:
            raise ValueError(f"finite: {k} elements of {group} but {len(names)} labels")
        columns = columns or (group.order // 2 if type(group).__name__ == "Dihedral" else math.ceil(math.sqrt(k)))
        return cls("finite", group, g, names, _uniform(k), (math.ceil(k / columns), columns))

    @classmethod
    def sphere_axis_angle(cls, n_axes: int = 162, n_angles: int = 37, *, group: Group | None = None) -> "OrbitGrid":
        """Rotations of space by angle (0° to 180°, n_angles of them) about n_axes axes spread evenly over the sphere.

        group: SO(3) (default), O(3), SE(3) or E(3). The axes are a Fibonacci lattice. Averages over the orbit weigh an
        angle by 1 − cos, its share of the Haar measure, so they estimate the average over all rotations.
        """
        group = group or SO(3)
        if _dimension(group) != 3:
            raise ValueError(f"sphere_axis_angle: needs SO(3), O(3), SE(3) or E(3), got {group}")
        if n_axes < 2 or n_angles < 2:
            raise ValueError(f"sphere_axis_angle: needs at least 2 axes and 2 angles, got {n_axes} and {n_angles}")
        axes = fibonacci_sphere(n_axes)
        angle = torch.linspace(0, 180, n_angles, dtype=torch.float64)
        ends = torch.ones(n_angles, dtype=torch.float64)
        ends[0] = ends[-1] = 0.5
        haar = (1 - torch.cos(angle * math.pi / 180)) * ends
        haar = (haar / haar.sum() / n_axes)[:, None].expand(n_angles, n_axes).reshape(-1)
        a = angle[:, None].expand(n_angles, n_axes).reshape(-1)
        v = axes.repeat(n_angles, 1)
        labels = [f"{x:.4g}° about ({p:.2f}, {q:.2f}, {r:.2f})" for x, (p, q, r) in zip(a.tolist(), v.tolist())]
        R = torch.linalg.matrix_exp(a[:, None, None] * (math.pi / 180) * cross_matrix(v))
        return cls("sphere", group, _embed(group, R), labels, haar, (n_angles, n_axes), {"angle": a, "axis": v})


def fibonacci_sphere(n: int) -> Float[Tensor, "n 3"]:
    """n unit vectors, each with an equal share of the sphere to within a few percent, from the south pole up."""
    i = torch.arange(n, dtype=torch.float64)
    z = -1 + (2 * i + 1) / n
    r = (1 - z.square()).sqrt()
    return torch.stack([r * torch.cos(GOLDEN * i), r * torch.sin(GOLDEN * i), z], 1)


def mollweide(axis: Float[Tensor, "k 3"]) -> Float[Tensor, "k 2"]:
    """Equal-area map of the sphere to an ellipse with half axes 2 and 1: z up, the x axis in the middle."""
    latitude = torch.asin(axis[:, 2].clamp(-1, 1))
    longitude = torch.atan2(axis[:, 1], axis[:, 0])
    theta = latitude.clone()
    target = math.pi * torch.sin(latitude)
    for _ in range(50):  # Newton on 2θ + sin 2θ = π sin φ; slow only at the poles, where the step is capped to zero
        slope = 2 + 2 * torch.cos(2 * theta)
        step = (2 * theta + torch.sin(2 * theta) - target) / slope.clamp_min(1e-9)
        theta = theta - torch.where(slope > 1e-9, step, 0)
    return torch.stack([2 * longitude / math.pi * torch.cos(theta), torch.sin(theta)], 1)


def cross_matrix(v: Float[Tensor, "k 3"]) -> Float[Tensor, "k 3 3"]:
    """The matrices of v × ·, generators of turns about v."""
    K = torch.zeros(len(v), 3, 3, dtype=v.dtype)
    K[:, 2, 1], K[:, 0, 2], K[:, 1, 0] = v.unbind(1)
    return K - K.mT


def _turn(d: int, i: int, j: int, angle: Tensor) -> Tensor:
    R = torch.eye(d, dtype=torch.float64).repeat(len(angle), 1, 1)
    c, s = torch.cos(angle), torch.sin(angle)
    quarter = (angle * 2 / math.pi).round()
    exact = (angle - quarter * math.pi / 2).abs() < 1e-12  # quarter turns hold 0 and ±1, so that images need no mixing
    c, s = torch.where(exact, c.round(), c), torch.where(exact, s.round(), s)
    R[:, i, i], R[:, j, j], R[:, j, i], R[:, i, j] = c, c, s, -s
    return R


def _dimension(group: Group) -> int:
    if not isinstance(group, (O, E)):
        raise ValueError(f"OrbitGrid: turns need SO(d), O(d), SE(d) or E(d), got {group}")
    return group.n


def _embed(group: Group, R: Tensor) -> Tensor:
    return group.element(R) if isinstance(group, E) else R


def _steps(limit: float, n: int) -> Tensor:
    return torch.linspace(-limit, limit, n, dtype=torch.float64)


def _uniform(k: int) -> Tensor:
    return torch.full((k,), 1 / k, dtype=torch.float64)
