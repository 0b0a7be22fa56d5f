"""One library in one process: builds a model, then times steps on request. Runs in any of the compared environments.

It reads requests "train N" or "infer N" from standard input, a line each, and answers with a JSON list of milliseconds.
Only the library that is asked for must be installed, besides torch and ase.
"""

import argparse
import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module

import ase.io
import numpy as np
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers

SIZES = {"copper": {"species": ("Cu",), "neighbors": 42.0}, "acac": {"species": ("H", "C", "O"), "neighbors": 12.1}}
Model = tuple[torch.nn.Module, Callable[[bool], tuple[torch.Tensor, torch.Tensor]], torch.Tensor]


def structures(data: str, count: int) -> list:
    """Frames of a file, or 500 atoms of rattled copper with EMT's energy and forces, so often."""
    if data != "copper":
        return ase.io.read(data, f"0:{count}")
    frames = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True) * (5, 5, 5)
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        frames.append(atoms)
    return frames


def about(frames: list) -> tuple[tuple[str, ...], float]:
    """The elements and the mean number of neighbors within 5 Å."""
    found = SIZES["copper" if frames[0].pbc.any() else "acac"]
    return found["species"], found["neighbors"]


def intertwine_batch(frames: list) -> object:
    """The frames as a batch in float32."""
    from intertwine.data.atoms import collate, from_ase

    batch = collate([from_ase(atoms, cutoff=5.0) for atoms in frames])
    for key in ("pos", "cell", "edge_shift", "forces"):
        batch[key] = batch[key].float()
    return batch


def intertwine(frames: list, network: str, options: dict, compiled: bool) -> Model:
    """Ours, of that name."""
    from intertwine.models import catalog
    from intertwine.models.atoms import Potential

    species, neighbors = about(frames)
    options = {"avg_num_neighbors": neighbors, "cutoff": 5.0, "species": species} | options
    model, batch = Potential(catalog.build(network, **options), species, 5.0), intertwine_batch(frames)
    if compiled:
        model.compile_training()

    def run(training: bool) -> tuple[torch.Tensor, torch.Tensor]:
        out = model(batch, training=training)
        return out["energy"], out["forces"]

    return model, run, batch.forces


def ours_mace(frames: list, channels: int, degree: int, compiled: bool) -> Model:
    """MACE, two layers, l_max 3, correlation 3."""
    options = {"channels": channels, "hidden_degree": degree, "edge_degree": 3, "correlation": 3, "layers": 2}
    return intertwine(frames, "MACE", options, compiled)


def ours_nequip(frames: list, channels: int, degree: int, compiled: bool) -> Model:
    """NequIP, four layers with both parities, one radial layer of 128."""
    options = {"channels": channels, "degree": degree, "parity": "full", "layers": 4, "radial": (128,)}
    return intertwine(frames, "NequIP", options, compiled)


def mace(frames: list, channels: int, degree: int, compiled: bool) -> Model:
    """mace-torch's ScaleShiftMACE at its defaults, otherwise as `ours_mace`."""
    from mace import data, modules, tools
    from mace.tools import torch_geometric

    o3 = import_module("e3nn.o3")  # after mace, which lets its old release read its own constants
    species, neighbors = about(frames)
    numbers = sorted(atomic_numbers[symbol] for symbol in species)
    table, graphs = tools.AtomicNumberTable(numbers), []
    for atoms in frames:
        config = data.Configuration(
            atomic_numbers=atoms.numbers,
            positions=atoms.positions,
            properties={"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()},
            property_weights={"energy": 1.0, "forces": 1.0},
            cell=np.asarray(atoms.cell),
            pbc=tuple(bool(b) for b in atoms.pbc),
        )
        graphs.append(data.AtomicData.from_config(config, z_table=table, cutoff=5.0))
    batch = next(iter(torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs), shuffle=False))).to_dict()
    model = modules.ScaleShiftMACE(
        r_max=5.0,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps([(channels, (l, (-1) ** l)) for l in range(degree + 1)]),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=neighbors,
        atomic_numbers=numbers,
        correlation=3,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )

    def run(training: bool) -> tuple[torch.Tensor, torch.Tensor]:
        out = model(batch, training=training)
        return out["energy"], out["forces"]

    return model, run, batch["forces"]


def nequip(frames: list, channels: int, degree: int, compiled: bool) -> Model:
    """nequip's own network at its defaults."""
    from nequip.utils.global_state import set_global_state

    set_global_state()
    from nequip.data import AtomicDataDict, from_ase
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
    from nequip.model import NequIPGNNModel

    species, neighbors = about(frames)
    mapper, edges = ChemicalSpeciesToAtomTypeMapper(model_type_names=list(species)), NeighborListTransform(r_max=5.0)
    batch = AtomicDataDict.batched_from_list([edges(mapper(from_ase(atoms))) for atoms in frames])
    for key, value in batch.items():
        if torch.is_tensor(value) and value.dtype == torch.float64:
            batch[key] = value.float()
    model = NequIPGNNModel(
        seed=1,
        model_dtype="float32",
        type_names=list(species),
        r_max=5.0,
        num_layers=4,
        l_max=degree,
        parity=True,
        num_features=channels,
        avg_num_neighbors=neighbors,
        compile_mode="eager",
    )
    model = next(iter(model.values())) if isinstance(model, torch.nn.ModuleDict) else model

    def run(training: bool) -> tuple[torch.Tensor, torch.Tensor]:
        out = model(dict(batch))
        return out["total_energy"], out["forces"]

    return model, run, batch["forces"]


BUILDERS = {"intertwine MACE": ours_mace, "intertwine NequIP": ours_nequip, "mace-torch": mace, "nequip": nequip}


def resident() -> float:
    """Peak memory of the process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Build, report, then serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=list(BUILDERS))
    parser.add_argument("data")
    parser.add_argument("--channels", type=int, required=True)
    parser.add_argument("--degree", type=int, required=True)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compiled", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    answers = sys.stdout
    sys.stdout = sys.stderr  # some libraries print while they load
    torch.set_num_threads(options.threads)
    torch.set_default_dtype(torch.float32)
    frames = structures(options.data, options.frames)
    model, run, forces = BUILDERS[options.library](frames, options.channels, options.degree, options.compiled)
    model.train()
    optimizer = torch.optim.Adam(model.parameters())

    def train() -> None:
        optimizer.zero_grad()
        energy, found = run(True)
        ((energy * 1e-4).square().mean() + (found - forces).square().mean()).backward()
        optimizer.step()

    calls = {"train": train, "infer": lambda: run(False)}
    clock = time.process_time if options.threads == 1 else time.perf_counter
    before = resident()
    train()
    about = {"parameters": sum(p.numel() for p in model.parameters()), "before": before, "torch": torch.__version__}
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        what, count = line.split()
        model.train(what == "train")
        times = []
        for _ in range(int(count)):
            start = clock()
            calls[what]()
            times.append(1e3 * (clock() - start))
        print(json.dumps({"ms": times, "peak": resident()}), file=answers, flush=True)


if __name__ == "__main__":
    main()
