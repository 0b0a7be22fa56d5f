"""One block of a Map: the maps from one term of rep_in to one term of rep_out."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..reps import Product
from .kernel import Kernel


@dataclass(frozen=True, eq=False)
class Block:
    """The basis of Hom(U, W) for term `index_in` = c_in·U of rep_in and term `index_out` = c_out·W of rep_out.

    Its weight [N, c_in, c_out] is the slice `start:stop` of the flat weight.
    """

    kernel: Kernel
    U: Product
    W: Product
    index_in: int
    index_out: int
    c_in: int
    c_out: int
    start: int

    @property
    def N(self) -> int:
        """Number of basis maps."""
        return self.kernel.N

    @property
    def stop(self) -> int:
        """End of this block in the flat weight."""
        return self.start + self.N * self.c_in * self.c_out

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each basis map."""
        return self.kernel.labels

    @property
    def route(self) -> str:
        """The rule that found the basis."""
        return self.kernel.route

    @property
    def norms(self) -> np.ndarray:
        """The Frobenius norm of each basis map, float64 [N]."""
        return np.sqrt(self.kernel.squares())

    def weight(self, flat: Float[Tensor, " weights"]) -> Float[Tensor, "N c_in c_out"]:
        """The weight of this block, a view into the flat weight."""
        return flat[self.start : self.stop].view(self.N, self.c_in, self.c_out)

    def dense(self, dtype: torch.dtype = torch.float64) -> Float[Tensor, "N dim_out dim_in"]:
        """The basis as matrices, without channels."""
        return torch.from_numpy(np.array(self.kernel.dense())).to(dtype)

    def __str__(self) -> str:
        channels = f" ({self.c_in} to {self.c_out} channels)" if (self.c_in, self.c_out) != (1, 1) else ""
        return f"{self.U} -> {self.W}{channels}"
