"""Solved bases are kept: in memory up to a number of bytes, and on disk where the caller names a folder."""

import hashlib
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np

from ..extras import require
from ..files import write_atomically

MEMORY_BYTES = 256 * 2**20


class Store:
    """A dictionary of arrays that forgets what was used least recently, once it holds more than `limit` bytes."""

    def __init__(self, limit: int):
        self.limit = limit
        self.entries: OrderedDict[str, dict[str, np.ndarray]] = OrderedDict()
        self.bytes = 0
        self.lock = Lock()

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays kept under a key, if they still are."""
        with self.lock:
            if key in self.entries:
                self.entries.move_to_end(key)
            return self.entries.get(key)

    def put(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        """Keep arrays, read-only from now on."""
        for array in arrays.values():
            array.flags.writeable = False
        with self.lock:
            if key in self.entries:
                return
            self.entries[key] = arrays
            self.bytes += _size(arrays)
            while self.bytes > self.limit and len(self.entries) > 1:
                self.bytes -= _size(self.entries.popitem(last=False)[1])


def _size(arrays: dict[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in arrays.values())


@lru_cache(maxsize=1)
def memory() -> Store:
    """The store of this process."""
    return Store(MEMORY_BYTES)


def path_of(folder: Path, key: str) -> Path:
    """The file for a key: a hash of its text, so that any process finds it."""
    return Path(folder) / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"


def load(folder: Path, key: str) -> dict[str, np.ndarray] | None:
    """Arrays from disk; None where there is no file, or the file belongs to another key."""
    path = path_of(folder, key)
    if not path.exists():
        return None
    safetensors = require("safetensors", "atoms")
    with safetensors.safe_open(path, "np") as file:
        if (file.metadata() or {}).get("key") != key:
            return None
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def save(folder: Path, key: str, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays; a reader meets the whole file or none."""
    safe = require("safetensors.numpy", "atoms")
    path = path_of(folder, key)
    write_atomically(
        path, safe.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {"key": key})
    )
