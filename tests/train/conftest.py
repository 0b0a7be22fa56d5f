"""A small labelled set and a way to train on it quietly: rattled water and methanol with EMT energies."""

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from intertwine.train import AtomicDataModule, EnergyForceLoss, Optimizer, PotentialModule, fit_potential


def labelled(count: int, seed: int = 0) -> list:
    """Alternating water and methanol, positions displaced by 0.08 Å, energies and forces from EMT."""
    rng = np.random.RandomState(seed)
    images = []
    for i in range(count):
        atoms = molecule(("H2O", "CH3OH")[i % 2])
        atoms.positions += 0.08 * rng.randn(len(atoms), 3)
        atoms.info["config_type"] = ("water", "methanol")[i % 2]
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        images.append(atoms)
    return images


@pytest.fixture(scope="session")
def structures(tmp_path_factory):
    """A file with 30 labelled structures."""
    path = tmp_path_factory.mktemp("data") / "structures.extxyz"
    write(path, labelled(30))
    return path


def data(path, **options) -> AtomicDataModule:
    """24 structures to train on, 4 to validate, 2 to test."""
    defaults = {"val": 4, "test": 2, "cutoff": 3.5, "batch_size": 5, "shift": "mean", "split": "random"}
    return AtomicDataModule(str(path), **(defaults | options))


def module(network: str = "Pair", *, loss: EnergyForceLoss | None = None, **options) -> PotentialModule:
    """A module that trains in a blink."""
    settings = {"NequIP": {"layers": 2, "channels": 2, "radial": [4], "readout": 2}, "Pair": {}}[network]
    optimizer = Optimizer(**({"warmup": 2} | options))
    return PotentialModule(network, options=settings, loss=loss or EnergyForceLoss(), optimizer=optimizer)


def fit(path, folder, made: PotentialModule, *, data_options: dict | None = None, **options):
    """Train on one thread without a bar."""
    options.setdefault("log_every_n_steps", 1)
    return fit_potential(
        data(path, **(data_options or {})),
        folder,
        module=made,
        accelerator="cpu",
        enable_progress_bar=False,
        **options,
    )


def weights(made: PotentialModule) -> dict[str, torch.Tensor]:
    """The weights a module is left with."""
    return {name: p.detach().clone() for name, p in made.potential.named_parameters()}
