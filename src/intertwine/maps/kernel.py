"""What every rule of `between` hands over: a basis of Hom(U, W) for two multiplicity-free terms, and a way to apply it.

The mathematics (`Kernel`) is kept apart from its execution (`Plan`), because the cheapest execution depends on the
numbers of channels, and the closed forms share the execution of nothing.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Plan(ABC):
    """One way to compute y = sum_n B_n x w_n; features are [..., components, channels], weights [N, c_in, c_out].

    `constants` are NumPy arrays (float64 or int64); whoever runs the plan passes them back as tensors of the dtype and
    device of x. `flops` counts multiplications and additions for one sample.
    """

    constants: tuple[np.ndarray, ...]
    flops: int

    @abstractmethod
    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        """y [..., dim_out, c_out] of x [..., dim_in, c_in] and w [N, c_in, c_out]."""


def mix_channels(x: Tensor, w: Tensor) -> Tensor:
    """x w, [..., components, c_out], for one w [c_in, c_out], as one product of all rows. Where x is not contiguous and
    no derivative is wanted, torch.matmul takes a product for every sample instead, in two to four times the time."""
    return (x.flatten(0, -2) @ w).view(*x.shape[:-1], w.shape[-1])


class Kernel(ABC):
    """A basis B_1..B_N of the maps that commute with the group, from a term U (columns) to a term W (rows)."""

    route: str  # the rule that found it, for `explain()`
    dim_in: int
    dim_out: int
    labels: tuple[str, ...]  # a name for each basis map, the same in every process and on every machine

    @property
    def N(self) -> int:
        """Number of basis maps."""
        return len(self.labels)

    @abstractmethod
    def dense(self) -> np.ndarray:
        """The basis as float64 [N, dim_out, dim_in]."""

    @abstractmethod
    def plan(self, c_in: int, c_out: int) -> Plan:
        """The cheapest way to apply the basis between so many channels."""

    @property
    @abstractmethod
    def transpose(self) -> "Kernel":
        """The basis of the transposed maps, in the same order."""

    def squares(self) -> np.ndarray:
        """The squared Frobenius norm of every basis map, [N]."""
        return (self.dense() ** 2).sum((1, 2))

    def row_norms(self) -> np.ndarray:
        """The largest Euclidean norm of a row of every basis map, [N]."""
        return np.sqrt((self.dense() ** 2).sum(2).max(1, initial=0.0))

    def row_sums(self) -> np.ndarray:
        """The largest sum of absolute values in a row of every basis map, [N]."""
        return np.abs(self.dense()).sum(2).max(1, initial=0.0)
