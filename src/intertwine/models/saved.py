"""One safe file per model: tensors in safetensors, everything else as a JSON tree in its metadata, nothing pickled.

It lives here and not with training, so that a potential can be used where no training library is installed.
"""

import json
import math
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from intertwine import __version__
from intertwine.extras import require
from intertwine.files import write_atomically

FORMAT = "intertwine.checkpoint/1"
CONVENTIONS = {
    "degree_1": "(x, y, z)",
    "orders": "-l..l",
    "layout": "components first, channels last",
    "cell": "rows are lattice vectors",
    "edge": "r_ij = pos[j] + shift.cell - pos[i], edge_index = (j, i)",
    "stress": "(1/V) dE/dstrain",
}
UNITS = {"length": "Å", "energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}
_TAG = "__intertwine__"


def _encode(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """JSON form of one node of the tree; tensors move to `tensors` and leave their name behind."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_TAG: "float", "value": repr(value)}
    if isinstance(value, Tensor):
        # A copy, because safetensors refuses tensors that share memory (tied weights, views of one buffer).
        tensors[where] = value.detach().to("cpu", copy=True).contiguous()
        return {_TAG: "tensor", "value": where}
    if isinstance(value, np.ndarray):
        tensors[where] = torch.from_numpy(np.array(value, order="C"))
        return {_TAG: "ndarray", "value": where}
    if isinstance(value, np.generic):
        return _encode(value.item(), where, tensors)
    if isinstance(value, Mapping):
        items = {key: _encode(item, f"{where}/{key}", tensors) for key, item in value.items()}
        if all(isinstance(key, str) for key in items) and _TAG not in items:
            return items
        pairs = [[_encode(key, f"{where}/key", tensors), item] for key, item in items.items()]
        return {_TAG: "dict", "value": pairs}
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{where}/{i}", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {_TAG: "tuple", "value": items}
    if isinstance(value, torch.dtype):
        return {_TAG: "dtype", "value": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {_TAG: "device", "value": str(value)}
    if isinstance(value, Path):
        return {_TAG: "path", "value": str(value)}
    if isinstance(value, timedelta):
        return {_TAG: "timedelta", "value": value.total_seconds()}
    raise TypeError(f"checkpoint: cannot store {where.lstrip('/')}, a {type(value).__qualname__}, without pickling it")


def _decode(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(node, list):
        return [_decode(item, tensors) for item in node]
    if not isinstance(node, dict):
        return node
    if _TAG not in node:
        return {key: _decode(item, tensors) for key, item in node.items()}
    kind, value = node[_TAG], node["value"]
    match kind:
        case "tensor":
            return tensors[value]
        case "ndarray":
            return tensors[value].numpy()
        case "dict":
            return {_decode(key, tensors): _decode(item, tensors) for key, item in value}
        case "tuple":
            return tuple(_decode(item, tensors) for item in value)
        case "float":
            return float(value)
        case "dtype":
            return getattr(torch, value)
        case "device":
            return torch.device(value)
        case "path":
            return Path(value)
        case "timedelta":
            return timedelta(seconds=value)
    raise ValueError(f"checkpoint: a node of unknown kind {kind!r}; it was written by a newer intertwine")


def save(tree: Mapping[str, Any], path: str | Path) -> None:
    """Write a tree of plain values and tensors to one safetensors file.

    Raises TypeError naming the entry that has no safe form; OSError when the file cannot be written.
    """
    safetensors = require("safetensors.torch", "atoms")
    tensors: dict[str, Tensor] = {}
    body = _encode(tree, "", tensors)
    metadata = {"format": FORMAT, "intertwine": __version__, "tree": json.dumps(body, allow_nan=False)}
    write_atomically(path, safetensors.save(tensors, metadata=metadata))


def load(path: str | Path, *, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a tree written by `save`.

    Raises FileNotFoundError; ValueError when the file is no checkpoint of this package or of another format.
    """
    safetensors = require("safetensors", "atoms")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    try:
        with safetensors.safe_open(str(path), framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not an intertwine checkpoint: it is not a safetensors file ({error}); "
            "files pickled by torch.save are never opened here"
        ) from error
    found = metadata.get("format", "none")
    if found != FORMAT:
        raise ValueError(f"{path} has checkpoint format {found!r}, this intertwine {__version__} reads {FORMAT!r}")
    return _decode(json.loads(metadata["tree"]), tensors)


def load_potential(path: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> Any:
    """The `Potential` of a checkpoint, from the file alone: averaged weights, in `eval` mode.

    dtype: of the network, default as trained (energies are float64 in any case).
    Raises FileNotFoundError; ValueError when the file is no checkpoint, or holds something else than a potential.
    """
    from .catalog import potential

    tree = load(path)
    about = tree.get("intertwine", {})
    if about.get("kind") != "potential":
        raise ValueError(f"{path} holds a {about.get('kind', 'model of unknown kind')}, not a potential")
    model = potential(about["potential"])
    weights = {
        name.removeprefix("potential."): value
        for name, value in tree["state_dict"].items()
        if name.startswith("potential.")
    }
    saved_dtype = next(iter(weights.values())).dtype
    model.to(saved_dtype).load_state_dict(weights)
    return model.to(device=device, dtype=saved_dtype if dtype is None else dtype).eval()


def differences(saved: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Names of the fields that differ between two nested configurations, each with both values."""
    found = []
    for key in sorted(set(saved) | set(wanted)):
        a, b, name = saved.get(key), wanted.get(key), f"{prefix}{key}"
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{name}.")
        elif a != b:
            found.append(f"{name} (checkpoint {a!r}, here {b!r})")
    return found
