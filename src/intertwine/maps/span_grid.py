"""The spans that are convolutions: their edges, and the call to torch that does the same without listing them."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Grid:
    """The sizes of a convolution: one number for each axis, besides `groups` and `circular`."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    circular: bool = False

    def __post_init__(self):
        lengths = {name: len(getattr(self, name)) for name in ("kernel", "stride", "padding", "dilation")}
        if not self.size or set(lengths.values()) != {len(self.size)}:
            raise ValueError(f"conv: size {self.size} has {len(self.size)} axes, the others have {lengths}")
        for name, least in [("size", 1), ("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)]:
            if any(not isinstance(k, int) or k < least for k in getattr(self, name)):
                raise ValueError(f"conv: {name} must be integers of at least {least}, got {getattr(self, name)}")
        if self.groups < 1:
            raise ValueError(f"conv: groups must be at least 1, got {self.groups}")
        if min(self.out) < 1:
            raise ValueError(f"conv: a kernel of {self.kernel} with dilation {self.dilation} does not fit {self.size}")

    @property
    def out(self) -> tuple[int, ...]:
        """The size of the output."""
        return tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(self.size, self.kernel, self.stride, self.padding, self.dilation)
        )

    @property
    def offsets(self) -> int:
        """The number of positions in the kernel."""
        return math.prod(self.kernel)

    @property
    def count(self) -> int:
        """The number of edges, those that leave the grid counted in."""
        return math.prod(self.out) * self.offsets * self.groups

    def edges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Source, target and weight of every edge, int64 [E]; channel groups innermost."""
        axes, D = len(self.size), range(len(self.size))
        source, inside = np.zeros((), np.int64), np.ones((), bool)
        for a in D:
            start = self.stride[a] * np.arange(self.out[a]) - self.padding[a]
            at = start[:, None] + self.dilation[a] * np.arange(self.kernel[a])
            here = (at >= 0) & (at < self.size[a]) | self.circular
            shape = [1] * (2 * axes)
            shape[a], shape[axes + a] = at.shape
            source = source * self.size[a] + (at % self.size[a]).reshape(shape)
            inside = inside & here.reshape(shape)
        pixels = np.arange(math.prod(self.out)).reshape(*self.out, *[1] * axes)
        offset = np.arange(self.offsets).reshape(*[1] * axes, *self.kernel)
        found = [np.broadcast_to(part, inside.shape)[inside] for part in (source, pixels, offset)]
        block = np.arange(self.groups)
        return tuple((part[:, None] * self.groups + block).reshape(-1) for part in found)


@dataclass(frozen=True, eq=False)
class Convolution:
    """The route of a convolution or, `transposed`, of its adjoint. Constant: the weight of each (offset, group).

    Channels come last, so an image [..., pixels, groups * c] and the features [..., pixels * groups, c] of the span
    are the same memory, and torch reads it as its channels_last format.
    """

    grid: Grid
    labels: np.ndarray | None = None
    transposed: bool = False
    name: str = "convolution"

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return () if self.labels is None else (self.labels,)

    def adjoint(self) -> "Convolution":
        """The same with input and output exchanged."""
        return replace(self, transposed=not self.transposed)

    def tied(self, labels: np.ndarray) -> "Convolution":
        """The same with weight i renamed labels[i]."""
        return replace(self, labels=labels if self.labels is None else labels[self.labels])

    def cost(self, batch: int, c_in: int, c_out: int) -> float:
        """Floats moved, and operations at sixteen to one float."""
        grid = self.grid
        ends = (math.prod(grid.size) + math.prod(grid.out)) * grid.groups * max(c_in, c_out)
        return batch * (ends + grid.count * c_in * c_out / 16) + grid.offsets * grid.groups * c_in * c_out

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        """x [batch, X, c_in], w [W, c_in, c_out] -> [batch, Y, c_out]."""
        grid, c_in, c_out = self.grid, *w.shape[1:]
        if constants:
            w = w.index_select(0, constants[0])
        w = w.reshape(*grid.kernel, grid.groups, c_in, c_out)
        axes = len(grid.size)
        channels = (axes, axes + 1, axes + 2) if self.transposed else (axes, axes + 2, axes + 1)
        w = w.permute(*channels, *range(axes)).flatten(0, 1)
        start, stop = (grid.out, grid.size) if self.transposed else (grid.size, grid.out)
        x = x.reshape(x.shape[0], *start, grid.groups * c_in).movedim(-1, 1)
        y = self._backward(x, w) if self.transposed else self._forward(x, w)
        return y.movedim(1, -1).reshape(x.shape[0], math.prod(stop) * grid.groups, c_out)

    def _forward(self, x: Tensor, w: Tensor) -> Tensor:
        grid = self.grid
        if grid.circular:
            for axis, index in self._wrapped(x.device):
                x = x.index_select(axis, index)
        call = (F.conv1d, F.conv2d, F.conv3d)[len(grid.size) - 1]
        padding = 0 if grid.circular else grid.padding
        return call(x, w, None, grid.stride, padding, grid.dilation, grid.groups)

    def _backward(self, y: Tensor, w: Tensor) -> Tensor:
        grid = self.grid
        call = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[len(grid.size) - 1]
        padded = [n + 2 * p for n, p in zip(grid.size, grid.padding)]
        # pixels at the end that no window reaches
        rest = [
            n - (s * (o - 1) + d * (k - 1) + 1)
            for n, o, k, s, d in zip(padded, grid.out, grid.kernel, grid.stride, grid.dilation)
        ]
        if not grid.circular:
            return call(y, w, None, grid.stride, grid.padding, rest, grid.groups, grid.dilation)
        x = call(y, w, None, grid.stride, 0, rest, grid.groups, grid.dilation)
        for axis, index in self._wrapped(y.device):
            shape = [*x.shape[:axis], grid.size[axis - 2], *x.shape[axis + 1 :]]
            x = x.new_zeros(shape).index_add(axis, index, x)
        return x

    def _wrapped(self, device: torch.device) -> list[tuple[int, Tensor]]:
        """For each padded axis its number in torch's layout, and the pixel that each padded pixel repeats."""
        return [
            (2 + a, torch.arange(-p, n + p, device=device) % n)
            for a, (n, p) in enumerate(zip(self.grid.size, self.grid.padding))
            if p
        ]
