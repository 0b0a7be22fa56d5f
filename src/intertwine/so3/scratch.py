"""Working memory on the CPU that outlives a call.

The system hands out fresh memory page by page, which takes longer than the arithmetic on it, and takes a large piece
back as soon as it is free. What every chunk of every call writes into therefore stays: some megabytes for each thread
and dtype.
"""

import threading
from functools import lru_cache

import torch
from torch import Tensor

Store = dict[str, Tensor]


@lru_cache(maxsize=1)
def _own() -> threading.local:
    return threading.local()


def scratch(like: Tensor) -> Store:
    """Memory by name for tensors such as `like`, of this thread; its contents do not survive the caller.

    Elsewhere than on the CPU, where allocators keep memory themselves, and for tensors that stand for others (in a
    tracer, say), an empty store.
    """
    if type(like) is not Tensor or like.device.type != "cpu":
        return {}
    return _own().__dict__.setdefault(like.dtype, {})


def taken(store: Store, name: str, like: Tensor, size: int) -> Tensor:
    """The first `size` numbers of the memory called `name`."""
    if name not in store or store[name].numel() < size:
        with torch.inference_mode(False):  # memory made inside could not be written to outside
            store[name] = torch.empty(size, dtype=like.dtype, device=like.device)
    return store[name][:size]
