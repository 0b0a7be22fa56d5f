"""A potential as one file that runs without its Python code: traced for any size, compiled ahead of time if possible.

`torch.export` does not trace through a derivative, so that is first written out as plain operations (make_fx).
"""

import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intertwine import __version__
from intertwine.data.atoms.neighbors import batch_neighbor_list
from intertwine.data.atoms.species import look_up, species_table
from intertwine.files import replacing
from intertwine.models.saved import load_potential

Target = Literal["aoti", "torch.export"]

_NOTE = "intertwine.json"
_KEY = "intertwine"
# Atoms, graphs and edges while tracing: unlike every other size there is, or the tracer would think them equal to it.
_SIZES = {"atoms": 1009, "graphs": 211, "edges": 3001}
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}  # of the largest entry; a wrong program is off by far more


class Exported:
    """What `load_exported` gives: it takes the place of a `Potential` in calculators, dynamics and relaxation.

    species, cutoff (Å), forces, stress, conservative: of the potential that was exported; dtype: of its network;
    device: where it runs; target: "aoti" or "torch.export". Weights are fixed; there is no gradient to them.
    """

    def __init__(self, program: Callable[..., dict[str, Tensor]], note: dict[str, Any], target: Target):
        self._program, self.target = program, target
        self.species, self.cutoff = tuple(note["species"]), float(note["cutoff"])
        self.forces, self.stress, self.conservative = note["forces"], note["stress"], note["conservative"]
        self.dtype, self.device = getattr(torch, note["dtype"]), torch.device(note["device"])
        self._table = species_table(self.species).to(self.device)

    def species_index(self, z: Int[Tensor, " atoms"]) -> Int[Tensor, " atoms"]:
        """As `Potential.species_index`; raises ValueError naming both sets for an element never seen."""
        return look_up(self._table, z, self.species)

    def evaluate(
        self,
        pos: Float[Tensor, "atoms 3"],
        cell: Float[Tensor, "graphs 3 3"],
        pbc: Bool[Tensor, "graphs 3"],
        species: Int[Tensor, " atoms"],
        edge_index: Int[Tensor, "2 edges"],
        edge_shift: Float[Tensor, "edges 3"],
        batch: Int[Tensor, " atoms"],
    ) -> dict[str, Tensor]:
        """As `Potential.evaluate`, for any number of atoms, graphs and edges."""
        args = (pos.double(), cell.double(), pbc, species, edge_index, edge_shift.double(), batch)
        return self._program(*(x.contiguous() for x in args))

    def __call__(self, batch: Any) -> dict[str, Tensor]:
        """As `Potential.forward`."""
        return self.evaluate(*_arguments(self, batch))


def export(model: Any, path: str | Path, *, example: Any, target: Target = "aoti") -> Path:
    """Write a potential to `path` (.pt2), for any number of atoms, graphs and edges, and check it on `example`.

    example: an AtomicBatch; the file must give there what the model gives. target: "aoti" compiles ahead of time, for
    this kind of machine and device, in about a minute: the fastest way to evaluate; "torch.export" keeps the operations
    and runs wherever the same torch does. Where there is no C++ compiler "aoti" writes that too, with a UserWarning.
    Raises ValueError for another suffix, an unknown target, and a network that a tracer cannot keep open in size;
    RuntimeError when the file disagrees with the model.
    """
    path = Path(path)
    if target not in ("aoti", "torch.export"):
        raise ValueError(f"export: target must be 'aoti' or 'torch.export', got {target!r}")
    if path.suffix != ".pt2":
        raise ValueError(f"export: the file must be named *.pt2, as torch wants it; got {path.name}")
    if target == "aoti" and not _has_compiler():
        warnings.warn(
            f"export: no C++ compiler was found (set CXX, or install g++), so {path.name} holds the exported program "
            "and is not compiled: right, but not faster than the model",
            stacklevel=2,
        )
        target = "torch.export"
    with _frozen(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own deprecated parts while tracing
        program = _trace(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            note = json.dumps(_note(model))
            if target == "aoti":
                configs = {"aot_inductor.metadata": {_KEY: note}}
                torch._inductor.aoti_compile_and_package(program, package_path=str(made), inductor_configs=configs)
            else:
                torch.export.save(program, made, extra_files={_NOTE: note})
            _compare(model, load_exported(made), example)
            with replacing(path) as temporary:
                made.replace(temporary)
    return path


def load_exported(path: str | Path) -> Exported:
    """A potential from a file that `export` wrote. A compiled one is machine code: load only what you trust.

    Raises FileNotFoundError, and ValueError for a file that `export` did not write.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"exported potential {path} does not exist")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not an exported potential: it is no .pt2 archive")
    with zipfile.ZipFile(path) as archive:
        compiled = any("/data/aotinductor/" in name for name in archive.namelist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if compiled:
            program = torch._inductor.aoti_load_package(str(path))
            note, run = program.get_metadata().get(_KEY, ""), program
        else:
            extra = {_NOTE: ""}
            program = torch.export.load(path, extra_files=extra)
            note, run = extra[_NOTE], program.module()
    if not note:
        raise ValueError(f"{path} is a .pt2 archive, but no potential that intertwine exported")
    return Exported(run, json.loads(note), "aoti" if compiled else "torch.export")


def load_model(path: str | Path, *, device: str | torch.device = "cpu") -> Any:
    """A checkpoint as a `Potential`, a .pt2 file as an `Exported`; raises as `load_potential`, `load_exported` do."""
    return load_exported(path) if Path(path).suffix == ".pt2" else load_potential(path, device=device)


def _note(model: Any) -> dict[str, Any]:
    weight = next(model.parameters())
    return {
        "intertwine": __version__,
        "torch": torch.__version__,
        "species": list(model.species),
        "cutoff": model.cutoff,
        "forces": model.forces,
        "stress": model.stress,
        "conservative": model.conservative,
        "dtype": str(weight.dtype).removeprefix("torch."),
        "device": weight.device.type,
    }


def _trace(model: Any) -> torch.export.ExportedProgram:
    """The model as an exported program of open sizes, its derivative written out."""
    from torch._export.utils import _compiling_state_context
    from torch.fx.experimental.proxy_tensor import make_fx

    n, g, e = _SIZES.values()
    device, double = next(model.parameters()).device, torch.float64
    args = (
        torch.zeros(n, 3, dtype=double, device=device),
        torch.zeros(g, 3, 3, dtype=double, device=device),
        torch.zeros(g, 3, dtype=torch.bool, device=device),
        torch.zeros(n, dtype=torch.int64, device=device),
        torch.zeros(2, e, dtype=torch.int64, device=device),
        torch.zeros(e, 3, dtype=double, device=device),
        torch.zeros(n, dtype=torch.int64, device=device),
    )
    # Layers choose by `torch.compiler.is_compiling` what a compiler can see through; make_fx alone does not set it.
    with _compiling_state_context(), torch.no_grad():
        graph = make_fx(lambda *args: model.evaluate(*args), tracing_mode="symbolic", _allow_non_fake_inputs=True)(
            *args
        )
    atoms, graphs, edges = (torch.export.Dim(name, min=1, max=2**31) for name in _SIZES)
    sizes = ({0: atoms}, {0: graphs}, {0: graphs}, {0: atoms}, {1: edges}, {0: edges}, {0: atoms})
    try:
        return torch.export.export(graph, args, dynamic_shapes=sizes, prefer_deferred_runtime_asserts_over_guards=True)
    except torch._dynamo.exc.UserError as error:
        fixed = [name for name, size in _SIZES.items() if f"{name} = {size}" in str(error)]
        if not fixed:
            raise
        raise ValueError(
            f"export: the network fixes the number of {fixed[0]} while it is traced; in its forward write x.shape[0] "
            "instead of len(x), and do not branch on a size"
        ) from error


def _compare(model: Any, exported: Exported, example: Any) -> None:
    arguments = _arguments(exported, example)
    with torch.no_grad():
        ours, theirs = model.evaluate(*arguments), exported.evaluate(*arguments)
    for name, value in ours.items():
        off, size = (float(x.abs().max()) if x.numel() else 0.0 for x in (value - theirs[name], value))
        if not off <= _TOLERANCE[exported.dtype] * max(size, 1.0):
            raise RuntimeError(
                f"export: {name} of the exported program is off by {off:.1e} (the largest is {size:.1e}); nothing was "
                "written; try target='torch.export', and report it"
            )


def _arguments(model: Any, batch: Any) -> tuple[Tensor, ...]:
    pos, cell = batch.pos.to(model.device, torch.float64), batch.cell.to(model.device, torch.float64)
    pbc, index = batch.pbc.to(model.device), batch.batch.to(model.device)
    edge_index, edge_shift = batch_neighbor_list(pos, cell, pbc, index, model.cutoff)
    return pos, cell, pbc, model.species_index(batch.z.to(model.device)), edge_index, edge_shift, index


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """In eval mode and without gradients to weights, which would otherwise be kept open in the program."""
    training, wanted = model.training, [p.requires_grad for p in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(training)
        for parameter, before in zip(model.parameters(), wanted):
            parameter.requires_grad_(before)


def _has_compiler() -> bool:
    from torch._inductor import exc
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except (exc.InvalidCxxCompiler, RuntimeError):
        return False
    return True
