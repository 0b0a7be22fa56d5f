"""`intertwine md | relax | export`: a trained potential at work on structures from a file."""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intertwine.data.atoms import AtomicBatch, AtomicGraph, Checks, collate, read, to_ase, write
from intertwine.extras import require
from intertwine.models.atoms.dynamics import Langevin, Verlet, velocities
from intertwine.models.atoms.relax import relax as relax_batch

from .ase import Calculator
from .export import export as export_model
from .export import load_model
from .nve import drift, fluctuation
from .trajectory import Trajectory


def md(arguments: argparse.Namespace) -> int:
    """Dynamics of every structure of a file; 0 when all went well."""
    model = _model(arguments)
    graphs, done = _structures(arguments.structures), 0
    if not (arguments.timestep > 0 and arguments.picoseconds > 0 and arguments.every > 0):
        raise ValueError("md: --timestep must be positive, --picoseconds too, and --every must be at least 1")
    steps = round(1000 * arguments.picoseconds / arguments.timestep)
    generator = torch.Generator().manual_seed(arguments.seed)
    for batch in _batches(graphs, arguments):
        options: dict[str, Any] = {
            "timestep": arguments.timestep,
            "velocities": velocities(batch, arguments.temperature, generator=generator),
            "allow_nonconservative": arguments.allow_nonconservative,
        }
        if arguments.friction is None:
            motion = Verlet(model, batch, **options)
        else:
            thermostat = {"temperature": arguments.temperature, "friction": arguments.friction, "generator": generator}
            motion = Langevin(model, batch, **thermostat, **options)
        write_frames = Trajectory(arguments.out, len(batch.cell), first=None if len(graphs) == 1 else done)
        energies, temperatures, started = [], [], time.perf_counter()

        def observe(motion, write_frames=write_frames, energies=energies, temperatures=temperatures):
            energies.append(motion.total_energy.cpu().numpy())
            temperatures.append(motion.temperature.cpu().numpy())
            if motion.steps % arguments.every == 0:
                write_frames(motion)

        motion.run(steps, observe=observe)
        seconds = time.perf_counter() - started
        times = arguments.timestep * np.arange(len(energies))
        for g, path in enumerate(write_frames.paths):
            said = f"{path}: {motion.time / 1000:g} ps, {np.mean([t[g] for t in temperatures]):.0f} K"
            if arguments.friction is None and steps > 1:
                total, atoms = np.array([e[g] for e in energies]), int((batch.batch == g).sum())
                said += f", drift {drift(times, total, atoms):.3g} meV/atom/ps"
                said += f", fluctuation {fluctuation(times, total):.3g} meV"
            _say(said)
        done += len(batch.cell)
        _say(f"{steps} steps of {len(batch.cell)} structures, {steps / max(seconds, 1e-9):.0f} steps/s")
    return 0


def relax(arguments: argparse.Namespace) -> int:
    """Relax every structure of a file; 0 when all converged, 1 when not."""
    model = _model(arguments)
    graphs = _structures(arguments.structures)
    jobs = _relax_cells(model, graphs, arguments) if arguments.cell else _relax_positions(model, graphs, arguments)
    images, converged = [], 0
    for atoms, steps, fmax in jobs:
        good = fmax < arguments.fmax
        converged += good
        atoms.info |= {"converged": bool(good), "steps": steps, "fmax": fmax}
        energy = atoms.get_potential_energy()
        _say(f"{len(images)}: {energy:.6f} eV, {fmax:.4f} eV/Å, {steps} steps{'' if good else ', not converged'}")
        images.append(atoms)
    write(arguments.out, images)
    _say(f"written: {arguments.out}, {converged} of {len(images)} converged")
    return 0 if converged == len(images) else 1


def export(arguments: argparse.Namespace) -> int:
    """Write the potential of a checkpoint as one exported file, checked on structures."""
    model = _model(arguments)
    out = Path(arguments.out or Path(arguments.model).with_suffix(".pt2"))
    example = collate(_structures(arguments.structures)[:8])
    path = export_model(model, out, example=example, target=arguments.target)
    _say(f"written: {path}, for any number of atoms; load it with intertwine.interop.export.load_exported")
    return 0


def _model(arguments: argparse.Namespace) -> Any:
    model = load_model(arguments.model, device=arguments.device)
    dtype = getattr(arguments, "dtype", None)
    if dtype is not None and isinstance(model, torch.nn.Module):
        model = model.to(getattr(torch, dtype))
    return model


def _structures(path: str) -> list[AtomicGraph]:
    graphs = list(read(path, checks=Checks(require=())))
    if not graphs:
        raise ValueError(f"{path} holds no structure of more than one atom")
    return graphs


def _batches(graphs: list[AtomicGraph], arguments: argparse.Namespace) -> Iterator[AtomicBatch]:
    if arguments.batch < 1:
        raise ValueError(f"--batch must be at least 1, got {arguments.batch}")
    for i in range(0, len(graphs), arguments.batch):
        yield collate(graphs[i : i + arguments.batch]).to(arguments.device)


def _relax_positions(model: Any, graphs: list[AtomicGraph], arguments: argparse.Namespace) -> Iterator[tuple]:
    single = require("ase.calculators.singlepoint", "atoms").SinglePointCalculator
    allow = arguments.allow_nonconservative
    for batch in _batches(graphs, arguments):
        end = relax_batch(model, batch, fmax=arguments.fmax, steps=arguments.steps, allow_nonconservative=allow)
        batch.pos = end.pos
        for g, graph in enumerate(batch.to_data_list()):
            atoms = to_ase(graph)
            forces = end.forces[batch.batch == g].cpu().numpy()
            atoms.calc = single(atoms, energy=float(end.energy[g]), forces=forces)
            yield atoms, int(end.steps[g]), float(end.fmax[g])


def _relax_cells(model: Any, graphs: list[AtomicGraph], arguments: argparse.Namespace) -> Iterator[tuple]:
    filters, optimize = require("ase.filters", "atoms"), require("ase.optimize", "atoms")
    for number, graph in enumerate(graphs):
        if not bool(graph.pbc.all()):
            raise ValueError(
                f"relax --cell: structure {number} is not periodic in all three directions; leave out --cell"
            )
        atoms = to_ase(graph)
        atoms.calc = Calculator(model, device=arguments.device)
        box = filters.FrechetCellFilter(atoms)
        search = optimize.FIRE(box, logfile=None)
        search.run(fmax=arguments.fmax, steps=arguments.steps)
        yield atoms, search.nsteps, float(np.linalg.norm(box.get_forces(), axis=1).max())


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
