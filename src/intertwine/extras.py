"""Optional dependencies are asked for late, and a missing one names the extra that brings it."""

from importlib import import_module
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra of the package installs it.

    Raises ModuleNotFoundError naming the command that helps.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(f"{module} is needed here: pip install 'intertwine[{extra}]'") from missing
