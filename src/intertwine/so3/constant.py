"""A constant table inside a module: exact in float64 whatever `.to(dtype)` does to the module, not in its state."""

import numpy as np
import torch
from torch import Tensor, nn


class Constant(nn.Module):
    """Holds a float64 array; calling it with a tensor gives the table in that tensor's dtype, on the module's device.

    Casting a module to float32 and back would leave a plain buffer with float32 digits.
    """

    def __init__(self, array: np.ndarray):
        super().__init__()
        self._array = array
        self.register_buffer("_double", torch.tensor(array, dtype=torch.float64), persistent=False)
        self.register_buffer("_single", torch.tensor(array, dtype=torch.float32), persistent=False)

    def _apply(self, fn, recurse: bool = True):
        device = fn(self._single).device
        self._double = torch.tensor(self._array, dtype=torch.float64, device=device)
        self._single = torch.tensor(self._array, dtype=torch.float32, device=device)
        return self

    def forward(self, like: Tensor) -> Tensor:
        """The table in the dtype of `like`."""
        if like.dtype == torch.float32:
            return self._single
        return self._double.to(like.dtype)
