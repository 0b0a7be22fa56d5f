"""How fast a machine computes: the constants behind method="auto", built in or measured on the user's machine."""

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ..maps.constants import known_to_compilers


class Rate(NamedTuple):
    """Seconds that one method takes for an operation, for a byte of float32 written or read, for a call of torch.

    The call is counted for each sample of a batch of a thousand.
    """

    operation: float
    byte: float
    call: float = 0.0

    def seconds(self, operations: float, moved: float, calls: float = 0.0) -> float:
        """Predicted time."""
        return operations * self.operation + moved * self.byte + calls * self.call


# One core of x86-64 with AVX-512. Names: those of `TensorProduct` for a weight on each path, then those of functions on
# the sphere ("rings": a grid whose polar and azimuthal sums go one after the other).
BUILT_IN = {
    "cg": Rate(1 / 45e9, 1 / 10e9, 1e-8),
    "so2": Rate(1 / 60e9, 1 / 6e9, 1e-8),
    "gaunt_grid": Rate(1 / 65e9, 1 / 12e9),
    "gaunt_rings": Rate(1 / 30e9, 1 / 12e9),
    "gaunt_fourier": Rate(1 / 4e9, 1 / 12e9),
    "gaunt_cg": Rate(1 / 50e9, 1 / 12e9),
}


def rates_file() -> Path:
    """Where `tune` writes: $INTERTWINE_RATES, else intertwine/so3-rates.json in the user's folder of settings."""
    if given := os.environ.get("INTERTWINE_RATES"):
        return Path(given)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "intertwine" / "so3-rates.json"


def rate(method: str) -> Rate:
    """What is known of a method. Raises ValueError for a file of rates that cannot be read."""
    return Rate(*dict(_rates())[method])


@known_to_compilers
@lru_cache(maxsize=1)
def _rates() -> tuple[tuple[str, Rate], ...]:
    """The rates in the file, where there is one, else those built in; read once in a process."""
    file = rates_file()
    if not file.is_file():
        return tuple(BUILT_IN.items())
    try:
        found = {name: Rate(*map(float, numbers)) for name, numbers in json.loads(file.read_text())["rates"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ValueError(
            f"{file} holds no rates ({problem}): remove it, or write it anew by intertwine bench so3 --tune"
        ) from problem
    return tuple((BUILT_IN | found).items())


def write_rates(rates: dict[str, Rate], machine: str, file: Path | None = None) -> Path:
    """Keep measured rates; processes started from then on take them. Returns the file."""
    file = rates_file() if file is None else file
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": machine, "rates": {name: list(found) for name, found in rates.items()}}, indent=1)
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text + "\n")
    partial.replace(file)
    return file
