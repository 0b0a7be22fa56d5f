"""Frames from the principal axes of a cloud of points: few, cheap, exact where the axes are well defined."""

import itertools
import math
import warnings
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..groups import SO, Group
from ..groups.matrix import SE
from ..maps.constants import Constants
from ..reps import Action, Points
from .average import Elements, ElementSource, refuse_export
from .cloud import Cloud, CloudReader, Weights, tensor_rank
from .point_frame import COINCIDENT, motion, pad, point_rotations, spatial

VANISHING = 1e-13  # eigenvalues below this part of the largest are zero


class PCAFrame(ElementSource):
    """The principal axes of centred points with all signs: 2^d frames for E(d) and O(d), 2^(d-1) for SE(d) and SO(d).

    Where two eigenvalues of the covariance are closer than gap_tol·(the largest), axes are arbitrary. `on_degenerate`:
    "points" takes the frames of `PointFrame` there, exact too; "warn" keeps the arbitrary axes; "error" raises
    ValueError. `info` has `gap` and `degenerate` for each sample, and `policy_used` (1 for point frames); one warning
    per frame object says how many there were. φ is not continuous where a gap closes.
    detach: do not differentiate through the frame. Gradients are then equivariant but not those of φ, so points that
    require a gradient raise ValueError unless allow_nonconservative.
    weights: a function of the data to one weight per point [batch, n], such as masses; 0 for padding.
    tol, max_size: see `PointFrame`. Under torch.compile use "warn" (there is no warning then, only `info`): the other
    policies choose at run time. Source: arXiv:2110.03336.
    """

    work = "O(n·d² + d³): a covariance and its eigenvectors"

    def __init__(
        self,
        group: Group,
        *,
        gap_tol: float = 1e-4,
        on_degenerate: Literal["points", "warn", "error"] = "points",
        detach: bool = False,
        allow_nonconservative: bool = False,
        weights: Weights | None = None,
        tol: float = 1e-6,
        max_size: int = 240,
    ):
        super().__init__()
        name = type(self).__name__
        self.group = spatial(name, group)
        if on_degenerate not in ("points", "warn", "error"):
            raise ValueError(f"{name}: on_degenerate must be 'points', 'warn' or 'error', got {on_degenerate!r}")
        if not 0 < gap_tol < 1:
            raise ValueError(f"{name}: gap_tol must be between 0 and 1, got {gap_tol!r}")
        self.gap_tol, self.on_degenerate, self.tol, self.max_size = gap_tol, on_degenerate, tol, max_size
        self.detach, self.allow_nonconservative, self.weights = detach, allow_nonconservative, weights
        self.special = isinstance(group, (SO, SE))
        self.signs = Constants([signs(self.d, self.special)])
        self.reader = CloudReader(group, Points(group), weights)
        self.rank_out: int | None = None
        self._warned = False

    @property
    def d(self) -> int:
        """Dimension of what is turned."""
        return self.group.n

    @property
    def calls(self) -> tuple[float, int]:
        """2^d or 2^(d-1) frames; degenerate samples may have more."""
        usual = 2 ** (self.d - self.special)
        return float(usual), max(usual, self.max_size) if self.on_degenerate == "points" else usual

    def bind(self, rep_in: Action, rep_out: Action) -> None:
        """Read points and vectors by rep_in, and the rank of the output from rep_out."""
        super().bind(rep_in, rep_out)
        self.reader = CloudReader(self.group, rep_in, self.weights)
        self.rank_out = tensor_rank(rep_out)

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Elements:
        """All frames of each sample, with equal weights."""
        cloud = self._reduced(self.reader(x))
        if self.detach:
            if cloud.points.requires_grad and not self.allow_nonconservative:
                raise ValueError(
                    f"{type(self).__name__}: detach=True with points that require a gradient gives forces that are no "
                    "derivative of the energy; use detach=False, or allow_nonconservative=True"
                )
            cloud.points, cloud.vectors = cloud.points.detach(), cloud.vectors.detach()
            cloud.shift = None if cloud.shift is None else cloud.shift.detach()
        R, mask, info = self.rotations(cloud)
        return Elements.uniform(motion(self.group, self._lifted(R), cloud.shift), mask, info)

    def rotations(
        self, cloud: Cloud
    ) -> tuple[Float[Tensor, "batch frames d d"], Bool[Tensor, "batch frames"], dict[str, Tensor]]:
        """The frames as rotations whose columns are the axes, which of them are no padding, and what was found."""
        V, eigenvalues, gap = self._axes(cloud)
        small = gap < self.gap_tol
        degenerate = small & ~self._harmless(eigenvalues, cloud) if self.on_degenerate != "points" else small
        if self.special:
            sign = torch.linalg.det(V.detach()).sign()
            V = torch.cat([V[..., :-1], V[..., -1:] * sign[:, None, None]], -1)
        R = V[:, None] * self.signs.tensors()[0].to(V)[:, None, :]
        info = {"gap": gap, "degenerate": degenerate, "policy_used": torch.zeros_like(gap, dtype=torch.int64)}
        mask = torch.ones(R.shape[:2], dtype=torch.bool, device=R.device)
        if self.on_degenerate == "warn" and torch.compiler.is_compiling():
            return R, mask, info
        refuse_export(type(self).__name__, "use on_degenerate='warn'")
        if bool(degenerate.any()):
            self._report(gap, eigenvalues, degenerate)
            if self.on_degenerate == "points":
                R, mask = self._with_points(R, mask, cloud, degenerate)
                info["policy_used"] = degenerate.to(torch.int64)
        return R, mask, info

    def _axes(self, cloud: Cloud) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvectors (without gradient where they are arbitrary), eigenvalues ascending, relative gaps."""
        C = self.reader.covariance(cloud)
        bare, far = C.detach(), 0.0
        size = bare.diagonal(dim1=-2, dim2=-1).sum(-1)
        if cloud.shift is not None:
            count = cloud.points.shape[1] if self.reader.all_count else cloud.weight.sum(1)
            far = count * cloud.shift.detach().square().sum(-1)
        spread, there = size > COINCIDENT**2 * far, size < torch.inf
        if C.requires_grad or torch.compiler.is_compiling() or not bool((spread & there).all()):
            distinct = torch.diag(torch.arange(1, self.d + 1).to(C))
            bare = torch.where(spread[:, None, None], bare, 0 * distinct)
            bare = torch.where(there[:, None, None], bare, distinct)  # what is not finite: any axes will do for it
        eigenvalues, V = torch.linalg.eigh(bare)
        if self.d > 1:
            steps = eigenvalues[:, 1:] - eigenvalues[:, :-1]
            gap = steps.amin(-1) / eigenvalues[:, -1].clamp_min(1e-300)
        else:
            gap = torch.ones_like(size)
        if C.requires_grad:
            # Where a gap closes, the derivative of an eigenvector divides by zero: other numbers go in there.
            clear = (there & (gap >= self.gap_tol))[:, None, None]
            V = torch.where(clear, torch.linalg.eigh(torch.where(clear, C, distinct)).eigenvectors, V)
        return V, eigenvalues, gap

    def _harmless(self, eigenvalues: Tensor, cloud: Cloud) -> Bool[Tensor, " batch"]:
        """Collinear and coincident points: for invariant and vector outputs the signs average arbitrary axes away."""
        if self.rank_out is None or self.rank_out > 1 or cloud.vectors.shape[1] or self.reader.has_tensors:
            return torch.zeros(len(eigenvalues), dtype=torch.bool, device=eigenvalues.device)
        largest = eigenvalues[:, -1:]
        close = eigenvalues.diff(dim=-1) < self.gap_tol * largest
        zero = eigenvalues[:, 1:] <= VANISHING * largest
        return (~close | zero).all(-1)

    def _report(self, gap: Tensor, eigenvalues: Tensor, degenerate: Tensor) -> None:
        name = type(self).__name__
        if self.on_degenerate == "error":
            b = int(degenerate.nonzero()[0])
            raise ValueError(
                f"{name}: sample {b} has principal axes that are not defined: eigenvalues "
                f"{[float(f'{v:.4g}') for v in eigenvalues[b]]}, relative gap {gap[b]:.1e} < gap_tol={self.gap_tol}; "
                "use on_degenerate='points'"
            )
        if not self._warned:
            self._warned = True
            what = (
                "their frames are made of points, which is exact but costs more calls"
                if self.on_degenerate == "points"
                else "their outputs are not equivariant"
            )
            if self.on_degenerate == "points" and self.reader.has_tensors:
                what += ", unless all points lie on a line: the data has tensors or other parts that frames do not see"
            warnings.warn(
                f"{name}: {int(degenerate.sum())} of {len(gap)} samples have principal axes that are not defined "
                f"(relative gap < {self.gap_tol}); {what}. This is said once; `info['degenerate']` tells each time",
                stacklevel=2,
            )

    def _with_points(self, R: Tensor, mask: Tensor, cloud: Cloud, degenerate: Tensor) -> tuple[Tensor, Tensor]:
        """Point frames in the place of principal axes."""
        which = degenerate.nonzero()[:, 0]
        degree = 1 + (2 if self.rank_out is None else self.rank_out)
        frames = []
        for b in which.tolist():
            try:
                frames.append(point_rotations(cloud, b, self.special, self.tol, degree, self.max_size))
            except ValueError as error:
                raise ValueError(f"{type(self).__name__}: sample {b}: {error}") from error
        own, there = pad(frames, R[:0, 0])
        K = max(R.shape[1], own.shape[1])
        R, mask = _widen(R, mask, K)
        own, there = _widen(own, there, K)
        return R.index_put((which,), own), mask.index_put((which,), there)

    def _reduced(self, cloud: Cloud) -> Cloud:
        """What the axes are computed from."""
        return cloud

    def _lifted(self, R: Tensor) -> Tensor:
        """Rotations of the whole space."""
        return R

    def extra_repr(self) -> str:
        """The group and the rule for degenerate samples."""
        return f"{self.group}, on_degenerate={self.on_degenerate!r}"


class PlanarFrame(PCAFrame):
    """Principal axes in the plane across one coordinate axis: exact for the motions that keep that axis, no others.

    For slabs and molecules on a surface. `group` is that of the Actions; of it only turns about the axis (and, under
    O(d) and E(d), mirrors that contain it) and shifts within the plane are used: 4 elements for E(3), 2 for SE(3).
    axis: the coordinate that stays as it is, the last by default. The options are those of `PCAFrame`.
    Source: arXiv:2305.05577.
    """

    def __init__(self, group: Group, *, axis: int = -1, **options: Any):
        super().__init__(group, **options)
        if group.n < 2 or not -group.n <= axis < group.n:
            raise ValueError(f"PlanarFrame({group}): axis {axis} leaves no plane of {group.n} dimensions")
        self.axis = axis % group.n
        self.plane = [i for i in range(group.n) if i != self.axis]

    @property
    def d(self) -> int:
        """Dimension of the plane."""
        return self.group.n - 1

    def _reduced(self, cloud: Cloud) -> Cloud:
        shift = cloud.shift
        if shift is not None:
            keep = torch.ones_like(shift[0])
            keep[self.axis] = 0
            shift = shift * keep
        return replace(cloud, points=cloud.points[..., self.plane], vectors=cloud.vectors[..., self.plane], shift=shift)

    def _lifted(self, R: Tensor) -> Tensor:
        whole = R.new_zeros(self.d + 1, self.d)
        whole[self.plane, list(range(self.d))] = 1
        along = R.new_zeros(self.d + 1, self.d + 1)
        along[self.axis, self.axis] = 1
        return whole @ R @ whole.T + along

    def extra_repr(self) -> str:
        """The group and the axis that stays."""
        return f"{super().extra_repr()}, axis={self.axis}"


def _widen(R: Tensor, mask: Tensor, K: int) -> tuple[Tensor, Tensor]:
    B, k, d = R.shape[:3]
    eye = torch.eye(d, dtype=R.dtype, device=R.device).expand(B, K - k, d, d)
    return torch.cat([R, eye], 1), torch.cat([mask, mask.new_zeros(B, K - k)], 1)


def signs(d: int, special: bool) -> Float[np.ndarray, "frames d"]:
    """All signs of d axes, or those with product 1."""
    rows = itertools.product((1.0, -1.0), repeat=d)
    return np.array([s for s in rows if not special or math.prod(s) > 0])
