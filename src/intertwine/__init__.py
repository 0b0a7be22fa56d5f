"""Equivariant deep learning for any symmetry, in PyTorch."""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_PARTS = (
    "groups",
    "reps",
    "maps",
    "so3",
    "nn",
    "symmetrize",
    "audit",
    "discover",
    "data",
    "models",
    "train",
    "interop",
)


def __getattr__(name: str) -> ModuleType:
    # `intertwine.nn` works after `import intertwine`, but torch is loaded only when a part is asked for, so that
    # `intertwine --version` answers at once.
    if name in _PARTS:
        return import_module(f"intertwine.{name}")
    raise AttributeError(f"module 'intertwine' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_PARTS]
