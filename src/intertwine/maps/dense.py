"""Apply a basis that is known only as numbers, in two small matrix products instead of one large one."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .kernel import Kernel, Plan, mix_channels


@dataclass(frozen=True)
class Components(Plan):
    """Components first: all B_n x, then one product over (n, channel). Constant: [dim_out * N, dim_in]."""

    N: int
    dim_out: int

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        (B,) = constants
        moved = (x[..., 0] @ B.mT) if x.shape[-1] == 1 else B @ x
        moved = moved.reshape(*x.shape[:-2], self.dim_out, self.N * x.shape[-1])
        return moved @ w.flatten(0, 1)


@dataclass(frozen=True)
class Channels(Plan):
    """Channels first: all x w_n, then one product over (component, n). Constant: [dim_out, dim_in * N]."""

    N: int

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        (B,) = constants
        y = mix_channels(x, w.transpose(0, 1).flatten(1))
        y = y.reshape(*x.shape[:-2], x.shape[-2] * self.N, w.shape[-1])
        # one channel: a single product for the whole batch instead of one matrix-vector product each
        return (y[..., 0] @ B.mT)[..., None] if w.shape[-1] == 1 else B @ y


def costs(N: int, rows: int, columns: int, c_in: int, c_out: int) -> tuple[int, int]:
    """Operations of the two orders, components first and channels first."""
    return 2 * N * rows * c_in * (columns + c_out), 2 * N * columns * c_out * (rows + c_in)


@dataclass(frozen=True, eq=False)
class DenseKernel(Kernel):
    """A basis given as an array [N, dim_out, dim_in]."""

    basis: np.ndarray
    labels: tuple[str, ...]
    route: str

    @property
    def dim_in(self) -> int:
        return self.basis.shape[2]

    @property
    def dim_out(self) -> int:
        return self.basis.shape[1]

    def dense(self) -> np.ndarray:
        return self.basis

    def plan(self, c_in: int, c_out: int) -> Plan:
        N, rows, columns = self.basis.shape
        components, channels = costs(N, rows, columns, c_in, c_out)
        if components <= channels:
            B = np.ascontiguousarray(self.basis.transpose(1, 0, 2)).reshape(rows * N, columns)
            return Components((B,), components, N, rows)
        B = np.ascontiguousarray(self.basis.transpose(1, 2, 0)).reshape(rows, columns * N)
        return Channels((B,), channels, N)

    @property
    def transpose(self) -> "DenseKernel":
        return DenseKernel(self.basis.transpose(0, 2, 1), self.labels, self.route)
