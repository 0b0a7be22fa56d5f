"""Constants of a module are exact in every dtype: computed in float64, rounded once, never part of the state dict.

A buffer that was made in float32 stays wrong in the eighth digit after `module.double()`. These are made anew from
their float64 source whenever the module changes dtype or device.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn


def tensors(arrays: Sequence[np.ndarray], dtype: torch.dtype, device: torch.device | str) -> list[Tensor]:
    """Arrays as tensors: float64 numbers take the dtype asked for, integers stay int64."""
    made = []
    for array in arrays:
        tensor = torch.from_numpy(np.array(array))  # a copy: the source is read-only
        made.append(tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype))
    return made


def known_to_compilers(fn: Callable) -> Callable:
    """`torch.compiler.assume_constant_result`: a compiler calls fn once and keeps the numbers.

    Torch's own decorator only sets this mark, but loads the compiler for it, which takes seconds at import.
    """
    fn._dynamo_marked_constant = True
    return fn


class Constants(nn.Module):
    """Arrays, float64 or int64, as buffers of the dtype and device of the module that holds them, in order.

    any_dtype: keep float64 numbers beside them, for features whose dtype need not be the module's; then calling it with
    a tensor gives the constants in that tensor's dtype.
    """

    def __init__(self, arrays: Sequence[np.ndarray], dtype: torch.dtype | None = None, *, any_dtype: bool = False):
        super().__init__()
        self.arrays = tuple(arrays)
        self.any_dtype = any_dtype
        dtype = dtype or torch.get_default_dtype()
        for i, tensor in enumerate(tensors(self.arrays, dtype, "cpu")):
            self.register_buffer(f"_{i}", tensor, persistent=False)
            if any_dtype:
                self.register_buffer(f"_exact_{i}", torch.from_numpy(np.array(self.arrays[i])), persistent=False)

    def __len__(self) -> int:
        return len(self.arrays)

    def tensors(self) -> list[Tensor]:
        """The constants, in order."""
        return [getattr(self, f"_{i}") for i in range(len(self.arrays))]

    def forward(self, like: Tensor) -> list[Tensor]:
        """The constants in the dtype of `like`; only with `any_dtype`."""
        own, exact = self.tensors(), [getattr(self, f"_exact_{i}") for i in range(len(self.arrays))]
        return [
            a if a.dtype == like.dtype or not a.is_floating_point() else b.to(like.dtype) for a, b in zip(own, exact)
        ]

    def _apply(self, fn, recurse: bool = True) -> "Constants":
        super()._apply(fn, recurse)
        for name, old in list(self.named_buffers()):
            if old.is_floating_point() and not old.is_meta:
                dtype = torch.float64 if name.startswith("_exact") else old.dtype
                setattr(self, name, tensors([self.arrays[int(name.rpartition("_")[2])]], dtype, old.device)[0])
        return self
