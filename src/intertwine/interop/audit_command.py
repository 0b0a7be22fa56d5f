"""`intertwine audit`: the symmetry of one of our checkpoints, or of any model that can be imported, as an exit code."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intertwine import audit
from intertwine.audit.naming import IMPORT_PATH, load_object, parse_action
from intertwine.data.atoms import AtomsAction, Checks, read
from intertwine.files import write_atomically
from intertwine.models import load_potential
from intertwine.models.saved import load
from intertwine.reps import Action, Invariant

EXPECTED = (ValueError, TypeError, ArithmeticError, FileNotFoundError, ModuleNotFoundError, RuntimeError)


def run(arguments: argparse.Namespace) -> int:
    """0 when the symmetry holds, 1 when the verdict is at or past --fail-on; wrong usage raises."""
    try:
        result = _measure(arguments)
    except EXPECTED:
        raise
    except Exception as error:  # the model is somebody else's: whatever it raises must not look like a verdict
        raise RuntimeError(f"audit: {arguments.model} stopped with {type(error).__name__}: {error}") from error
    sys.stdout.write(f"{result}\n")
    if arguments.json:
        write_atomically(arguments.json, json.dumps(result.to_dict(), indent=1))
    if arguments.html:
        result.to_html(arguments.html)
        sys.stdout.write(f"page: {arguments.html}\n")
    return 1 if result.verdict.fails(arguments.fail_on) else 0


def _measure(arguments: argparse.Namespace) -> audit.AuditResult:
    imported = IMPORT_PATH.fullmatch(arguments.model) is not None and not Path(arguments.model).exists()
    with torch.random.fork_rng(devices=[]):  # a factory may draw its weights
        torch.manual_seed(arguments.seed)
        model = load_object(arguments.model) if imported else load_potential(arguments.model)
        _check_callable(model, arguments.model)
        rep_in, rep_out = _actions(model, arguments)
        torch.manual_seed(arguments.seed)  # the same inputs for every model
        data = _data(model, rep_in, arguments, imported)
    group = rep_out.group
    title = arguments.model if imported else f"{type(model.backbone).__name__}, {arguments.model}"
    return audit.measure(
        model,
        rep_in,
        rep_out,
        data,
        elements=None if group.is_compact else audit.Sampler(group, scale=arguments.scale),
        n_samples=arguments.samples,
        n_elements=arguments.elements,
        generator=torch.Generator().manual_seed(arguments.seed),
        chunk=arguments.batch,
        title=title,
    )


def _check_callable(model: Any, text: str) -> None:
    if isinstance(model, type):
        raise ValueError(f"audit: {text} is a class; call it, such as {text}() with what it needs")
    if not callable(model):
        raise ValueError(f"audit: {text} is a {type(model).__name__}, which cannot be called")


def _actions(model: Any, arguments: argparse.Namespace) -> tuple[Action, Action]:
    """Those of the command line, else those that the model declares."""
    found: list[Action] = []
    for name, text in (("rep_in", arguments.rep_in), ("rep_out", arguments.rep_out)):
        own = getattr(model, name, None)
        if text is None and not isinstance(own, Action):
            raise ValueError(
                f"audit: {arguments.model} does not say how its {'input' if name == 'rep_in' else 'output'} moves; "
                f"give --{name.replace('_', '-')}, such as 'Images(Cyclic(4))', 'Invariant()' or 'V of SO(3)'"
            )
        found.append(own if text is None else parse_action(text))
    group = next((action.group for action in found if action.group is not None), None)
    if group is None:
        raise ValueError("audit: neither --rep-in nor --rep-out names a group, such as Invariant(SO(3))")
    return tuple(Invariant(group) if action.group is None else action for action in found)


def _data(model: Any, rep_in: Action, arguments: argparse.Namespace, imported: bool) -> Any:
    """Inputs: structures for potentials, a .pt or .npy file, or an import path."""
    path = arguments.data
    if path is None and imported:
        raise ValueError(
            "audit: give inputs with --data: a .pt or .npy file, or an import path such as "
            "package.module:images or 'torch:randn(64, 3, 32, 32)'"
        )
    path = path or _test_file(load(arguments.model), arguments.model)
    if IMPORT_PATH.fullmatch(str(path)) and not Path(path).exists():
        return load_object(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"audit: {path} does not exist")
    if Path(path).suffix in (".pt", ".pth"):
        return torch.load(path, weights_only=True)
    if Path(path).suffix == ".npy":
        return torch.from_numpy(np.load(path))
    if isinstance(rep_in, AtomsAction):
        return list(read(path, checks=Checks(require=()), cutoff=getattr(model, "cutoff", None)))
    raise ValueError(f"audit: {path} is no .pt or .npy file; structures are read for models of atoms only")


def _test_file(tree: dict[str, Any], checkpoint: str) -> Any:
    data = tree.get("datamodule_hyper_parameters", {})
    for path in (data.get("test"), data.get("path")):
        if path and not isinstance(path, int | float):
            return path
    raise ValueError(f"audit: {checkpoint} does not name its data; give structures with --data FILE")
