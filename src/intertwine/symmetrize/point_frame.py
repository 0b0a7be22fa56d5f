"""Frames made of the points themselves: exact where principal axes are not: regular, linear, single points."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..groups import SO, Group, O
from ..groups.matrix import SE, E
from ..reps import Action, Points
from .average import Elements, ElementSource, refuse_export
from .cloud import Cloud, CloudReader, Weights, tensor_rank
from .designs import rotation_design

INDEPENDENT = 1e-3  # part of a vector outside the span of those before it, in units of the cloud's size
COINCIDENT = 1e-12  # size of a cloud, in units of its distance from the origin, below which its points are one


class PointFrame(ElementSource):
    """The frames in which chosen points come first: exact for every cloud, and a finite set, but slower than PCA.

    Points (then vectors) are taken one after the other, d - 1 of them: the ones of the largest length, then largest dot
    products with those before; every choice within `tol` of the largest is kept, and each choice gives by Gram-Schmidt
    one rotation, with its mirror image under O(d) and E(d). Where the points span less, the remaining directions are
    averaged over a finite set of rotations that is exact for outputs of rank_out vector axes and their gradients.
    SO(3): one frame for a generic cloud, 12 for methane, 24 for a cube. tol: relative to the size of the cloud.
    max_size: a larger frame raises ValueError. weights: see `PCAFrame`. rank_out: vector axes of the output, where
    `rep_out` does not tell; 2 if not given.
    """

    work = "O(n·d²) per step of Gram-Schmidt, sample by sample"

    def __init__(
        self,
        group: Group,
        *,
        tol: float = 1e-6,
        max_size: int = 240,
        weights: Weights | None = None,
        rank_out: int | None = None,
    ):
        super().__init__()
        self.group, self.tol, self.max_size, self.weights = spatial("PointFrame", group), tol, max_size, weights
        self.special = isinstance(group, (SO, SE))
        self.rank_out = 2 if rank_out is None else rank_out
        self._rank_given = rank_out is not None
        self.reader = CloudReader(group, Points(group), weights)

    @property
    def calls(self) -> tuple[float, int]:
        """One frame per sample (two with reflections) unless points are tied, at most `max_size`."""
        return 1.0 if self.special else 2.0, self.max_size

    def bind(self, rep_in: Action, rep_out: Action) -> None:
        """Read points and vectors by rep_in, and the rank of the output from rep_out."""
        super().bind(rep_in, rep_out)
        self.reader = CloudReader(self.group, rep_in, self.weights)
        rank = tensor_rank(rep_out)
        if rank is not None and not self._rank_given:
            self.rank_out = rank

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Elements:
        """All frames of each sample, with equal weights."""
        refuse_export(type(self).__name__, "use PCAFrame(group, on_degenerate='warn')")
        cloud = self.reader(x)
        B, d = len(cloud.points), cloud.points.shape[-1]
        R, mask = pad([self.rotations(cloud, b) for b in range(B)], cloud.points.new_zeros(0, d, d))
        return Elements.uniform(motion(self.group, R, cloud.shift), mask, {})

    def rotations(self, cloud: Cloud, b: int) -> Float[Tensor, "frames d d"]:
        """The frames of sample b, as rotations whose columns are the frame."""
        try:
            return point_rotations(cloud, b, self.special, self.tol, self.rank_out + 1, self.max_size)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: sample {b}: {error}") from error

    def extra_repr(self) -> str:
        """The group."""
        return str(self.group)


def spatial(name: str, group: Group) -> Group:
    """The group itself. Raises ValueError unless it turns points of space."""
    if type(group) not in (O, SO, E, SE):
        raise ValueError(f"{name}: {group} has no frames of points; give E(d), SE(d), O(d) or SO(d)")
    return group


def motion(
    group: Group, R: Float[Tensor, "batch frames d d"], shift: Float[Tensor, "batch d"] | None
) -> Float[Tensor, "batch frames n n"]:
    """The elements with linear part R, and for E(d) and SE(d) the translation `shift`."""
    if not isinstance(group, E):
        return R
    return group.element(R, shift[:, None].expand(R.shape[:-1]))


def pad(
    frames: list[Float[Tensor, "frames d d"]], like: Float[Tensor, "0 d d"]
) -> tuple[Float[Tensor, "batch most d d"], Bool[Tensor, "batch most"]]:
    """Frames of different sizes as one tensor, filled up with the identity, and which are no filling."""
    d, most = like.shape[-1], max((len(f) for f in frames), default=1)
    if not frames:
        return like.new_zeros(0, most, d, d), torch.zeros(0, most, dtype=torch.bool, device=like.device)
    eye = torch.eye(d, dtype=like.dtype, device=like.device)
    padded = [torch.cat([f, eye.expand(most - len(f), d, d)]) for f in frames]
    sizes = torch.tensor([len(f) for f in frames], device=like.device)
    return torch.stack(padded), torch.arange(most, device=like.device) < sizes[:, None]


def point_rotations(
    cloud: Cloud, b: int, special: bool, tol: float, degree: int, max_size: int
) -> Float[Tensor, "frames d d"]:
    """All frames of one sample: see `PointFrame`. Raises ValueError for more than `max_size`."""
    vectors, kinds = _sizable(cloud, b)
    d = cloud.points.shape[-1]
    basis = _chosen(vectors, kinds, max(tol, 100 * cloud.eps), max_size)
    q = d - basis.shape[1]
    turns = rotation_design(q, degree if q > 1 else 0, reflections=not special).to(basis.device)
    if len(basis) * len(turns) > max_size:
        raise ValueError(f"the frame has {len(basis) * len(turns)} elements, more than max_size={max_size}")
    rest = _complement(basis)
    frames = torch.cat([basis.mT[:, None].expand(-1, len(turns), -1, -1), rest[:, None] @ turns], -1)
    return frames.flatten(0, 1)


def _sizable(cloud: Cloud, b: int) -> tuple[Float[Tensor, "count d"], Int[Tensor, " count"]]:
    """Points and vectors of one sample in units of the size of their kind, without kinds that are zero."""
    there = cloud.weight[b] > 0
    far = 0.0 if cloud.shift is None else cloud.shift[b].detach().norm()
    parts = [cloud.points[b, there], *(cloud.vectors[b, cloud.kinds == k] for k in cloud.kinds.unique())]
    vectors, kinds = [cloud.points.new_zeros(0, cloud.points.shape[-1])], []
    for kind, part in enumerate(parts):
        size = part.detach().square().sum(-1).mean().sqrt() if len(part) else part.new_zeros(())
        if size > (COINCIDENT * far if kind == 0 else 0) and torch.isfinite(size):
            vectors.append(part / size)
            kinds += [kind] * len(part)
    return torch.cat(vectors), torch.tensor(kinds, dtype=torch.int64, device=cloud.points.device)


def _chosen(
    v: Float[Tensor, "count d"], kinds: Int[Tensor, " count"], tol: float, max_size: int
) -> Float[Tensor, "choices steps d"]:
    """Orthonormal vectors from every best choice of at most d - 1 independent vectors, fewer where they span less."""
    d, exact = v.shape[-1], v.detach()
    index = torch.zeros(1, 0, dtype=torch.int64, device=v.device)
    basis = v.new_zeros(1, 0, d)
    length = exact.norm(dim=-1)
    for _ in range(d - 1):
        fixed = basis.detach()
        outside = exact - (exact @ fixed.mT) @ fixed  # [choices, count, d]
        best = (outside.norm(dim=-1) > INDEPENDENT).nonzero()
        if not len(best):
            break
        dots = exact[index] @ exact.mT  # [choices, steps, count]
        keys = [-kinds.to(exact).expand(len(index), -1), length.expand(len(index), -1), *dots.unbind(1)]
        for key in keys:
            value = key[tuple(best.T)]
            best = best[value >= value.max() - tol]
        if len(best) > max_size:
            raise ValueError(f"{len(best)} choices of points are tied, more than max_size={max_size}")
        choice, j = best.T
        index = torch.cat([index[choice], j[:, None]], 1)
        before = basis[choice]
        new = v[j] - (before.mT @ (before @ v[j][..., None]))[..., 0]
        basis = torch.cat([before, (new / new.norm(dim=-1, keepdim=True))[:, None]], 1)
    return basis


def _complement(basis: Float[Tensor, "choices steps d"]) -> Float[Tensor, "choices d rest"]:
    """Orthonormal columns that complete each basis to a rotation, differentiable in the basis."""
    steps, d = basis.shape[1:]
    start = torch.linalg.qr(basis.detach().mT, mode="complete").Q[..., steps:]
    columns: list[Tensor] = []
    for k in range(d - steps):
        known = torch.cat([basis.mT, *(c[..., None] for c in columns)], -1)
        new = start[..., k] - (known @ (known.mT @ start[..., k, None]))[..., 0]
        columns.append(new / new.norm(dim=-1, keepdim=True))
    rest = torch.stack(columns, -1)
    sign = torch.linalg.det(torch.cat([basis.mT, rest], -1).detach()).sign()
    return torch.cat([rest[..., :-1], rest[..., -1:] * sign[:, None, None]], -1)
