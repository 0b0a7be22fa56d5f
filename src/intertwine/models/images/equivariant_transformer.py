"""Images brought to a canonical pose, by stages that each see one transformation as a shift and undo it."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...groups import SO, Group, MatrixGroup
from ...maps.constants import Constants
from ...reps import Images, Invariant
from ...symmetrize.coordinates import NAMES, SHEETS, ranges
from .pose_predictor import PosePredictor
from .warp import Range, Warp, look, places

# The coordinates of each kind, and the entries of the generator A of exp(tA) for each axis that it shifts by t.
KINDS = {
    "translation": ("identity", {"u": {(0, 2): 1.0}, "v": {(1, 2): 1.0}}),
    "rotation": ("polar", {"v": {(0, 1): -1.0, (1, 0): 1.0}}),
    "scale": ("log-polar", {"u": {(0, 0): 1.0, (1, 1): 1.0}}),
    "rotation-scale": ("log-polar", {"u": {(0, 0): 1.0, (1, 1): 1.0}, "v": {(0, 1): -1.0, (1, 0): 1.0}}),
    "x-shear": ("x-shear", {"v": {(0, 1): 1.0}}),
    "y-shear": ("y-shear", {"v": {(1, 0): 1.0}}),
    "x-scale": ("x-scale", {"u": {(0, 0): 1.0}}),
    "y-scale": ("y-scale", {"u": {(1, 1): 1.0}}),
    "hyperbolic": ("hyperbolic", {"v": {(0, 0): 1.0, (1, 1): -1.0}}),
    "x-perspective": ("x-perspective", {"u": {(2, 0): 1.0}}),
    "y-perspective": ("y-perspective", {"u": {(2, 1): 1.0}}),
}


class EquivariantTransformer(nn.Module):
    """One stage: look at the image in canonical coordinates of `kind`, predict the shift ψ there, T = exp(ψA).

    Moving the image by exp(tA) adds t to ψ, so the image seen at T·p is the same for all t: as far as nothing leaves
    the image or the ranges of the coordinates, and to interpolation. kind: "rotation", "scale", "rotation-scale",
    "x-shear", "x-scale", "hyperbolic" (the ratio of height and width at equal area), "x-perspective", the same with y,
    or "translation". `predictor`: any module from the image in canonical coordinates, [batch, channels, nv, nu], to a
    `Pose`; a `PosePredictor` with `width` channels unless replaced. The two sheets of the coordinates, where they have
    two, are channels to it, `in_channels` each, because the shift is the same on both.

    size: (nv, nu), by default the height and width of the images; ulim, vlim: ranges, see
    `symmetrize.canonical_coordinates`, except that u of "log-polar" starts at -log 10. Further arguments go to
    `PosePredictor`. `group`: SO(2) or the `MatrixGroup` of the kind; None for translations and perspectives, which do
    not keep the centre or are no group on images. Raises ValueError for an unknown kind, or a vlim where v is an angle.
    Source: arXiv:1901.11399.
    """

    def __init__(
        self,
        kind: str,
        in_channels: int,
        width: int,
        *,
        size: tuple[int, int] | None = None,
        ulim: Range | None = None,
        vlim: Range | None = None,
        **pose: Any,
    ):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"EquivariantTransformer: kind must be one of {tuple(KINDS)}, got {kind!r}")
        self.kind, self.size = kind, size
        self.coords, shifts = KINDS[kind]
        periodic = "polar" in self.coords
        if periodic and vlim is not None:
            raise ValueError(f"EquivariantTransformer: v of {kind!r} is an angle and has no other range, got {vlim}")
        self.ulim = (-math.log(10), math.log(2) / 2) if self.coords == "log-polar" and ulim is None else ulim
        self.vlim, self.sheets = vlim, SHEETS.get(self.coords, 1)
        A = np.zeros((len(shifts), 3, 3))
        for generator, entries in zip(A, shifts.values()):
            for place, entry in entries.items():
                generator[place] = entry
        self.axes, self.generators = tuple(shifts), Constants([A])
        self.predictor = PosePredictor(
            in_channels * self.sheets, width, periodic=(False, periodic), outputs=self.axes, **pose
        )
        self.group = _group(A)

    def forward(self, x: Float[Tensor, "batch channels height width"], transform: Warp | None = None) -> Warp:
        """The warp of each image, after `transform` if that is given: the image is then looked at through it."""
        size = self.size or (x.shape[-2], x.shape[-1])
        points = places(x, self.coords, size, self.ulim, self.vlim)
        seen = look(x, points, None if transform is None else transform.matrix)
        pose = self.predictor(seen.unflatten(2, (self.sheets, -1)).flatten(1, 2))
        found = torch.stack([pose.at[axis] * self._half(axis, x, size) for axis in self.axes], -1)
        (A,) = self.generators.tensors()
        matrix = torch.linalg.matrix_exp(torch.einsum("bk,kij->bij", found, A.to(found)))
        if transform is None:
            return Warp(matrix, [pose])
        return Warp(transform.matrix @ matrix, [*transform.poses, pose])

    def _half(self, axis: str, x: Tensor, size: tuple[int, int]) -> float:
        """Half the range of a coordinate."""
        usual = ranges(self.coords, size)
        first, last = (self.ulim or usual[0]) if axis == "u" else (self.vlim or usual[1])
        wide = x.shape[-1] / x.shape[-2] if (self.coords, axis, self.ulim) == ("identity", "u", None) else 1.0
        return (last - first) / 2 * wide

    def extra_repr(self) -> str:
        """The kind, and the coordinates it is a shift in."""
        return f"{self.kind!r}, coords={self.coords!r}"


class TransformerSequence(nn.Module):
    """Stages one after the other, each looking through the warps found before: T = T₁T₂…, resampled from the input.

    The result is the same for all images that differ by the group of the first stage; by the group of a later one, if
    the stages before find the same in both. Raises ValueError without stages. Source: arXiv:1901.11399, section 3.3.
    """

    def __init__(self, *transformers: nn.Module):
        super().__init__()
        if not transformers:
            raise ValueError(f"{type(self).__name__}: needs at least one transformer")
        self.transformers = nn.ModuleList(transformers)

    @property
    def group(self) -> Group | None:
        """That of the first stage, which is removed whatever the others do."""
        return self.transformers[0].group

    def forward(self, x: Float[Tensor, "batch channels height width"], transform: Warp | None = None) -> Warp:
        """The product of all warps, after `transform` if that is given."""
        for transformer in self.transformers:
            transform = transformer(x, transform)
        return transform


class TransformerParallel(TransformerSequence):
    """Stages that all look at the same image, T = T₁T₂… of what each finds in it: as good if they commute."""

    @property
    def group(self) -> Group | None:
        """None: a stage sees what the others will remove."""
        return None

    def forward(self, x: Float[Tensor, "batch channels height width"], transform: Warp | None = None) -> Warp:
        """The product of all warps, after `transform` if that is given."""
        found = [transformer(x, transform) for transformer in self.transformers]
        matrix, before = found[0].matrix, 0 if transform is None else len(transform.poses)
        for warp in found[1:]:
            own = warp.matrix if transform is None else torch.linalg.solve(transform.matrix, warp.matrix)
            matrix = matrix @ own
        return Warp(matrix, found[0].poses + [pose for warp in found[1:] for pose in warp.poses[before:]])


class TransformedClassifier(nn.Module):
    """A network behind a transformer: it sees images in the pose that was found, in coordinates `coords`.

    `net` is any network on images [batch, channels, height // downsample, width // downsample]; with polar coordinates
    its convolutions should pad axis 2 circularly (`torch.nn.CircularPad2d((0, 0, 1, 1))`). The image is resampled once.
    `rep_in` and `rep_out` say what the output is invariant to, to interpolation, where the transformer has a `group`.
    Raises ValueError for unknown coordinates or a downsample below 1. Source: arXiv:1901.11399.
    """

    def __init__(
        self, net: nn.Module, transformer: nn.Module | None = None, coords: str = "identity", downsample: int = 1
    ):
        super().__init__()
        if coords not in NAMES or downsample < 1:
            raise ValueError(
                f"TransformedClassifier: coords must be one of {NAMES} and downsample at least 1, got {coords!r} and "
                f"{downsample}"
            )
        self.net, self.transformer, self.coords, self.downsample = net, transformer, coords, downsample
        if group := getattr(transformer, "group", None):
            self.rep_in, self.rep_out = Images(group), Invariant(group)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Any:
        """What the network says of the images in their canonical pose."""
        return self.net(self.canonical(x))

    def canonical(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels nv nu"]:
        """The images as the network sees them."""
        size = (x.shape[-2] // self.downsample, x.shape[-1] // self.downsample)
        matrix = None if self.transformer is None else self.transformer(x).matrix
        return look(x, places(x, self.coords, size), matrix)


def _group(A: np.ndarray) -> Group | None:
    """What the generators generate, if it acts on the plane by linear maps."""
    if A[:, 2].any() or A[:, :, 2].any():
        return None
    algebra = torch.from_numpy(A[:, :2, :2].copy())
    return SO(2) if bool((algebra + algebra.mT == 0).all()) else MatrixGroup(lie_algebra=algebra)
