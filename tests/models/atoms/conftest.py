"""Structures that a potential must cope with, and small potentials to cope with them."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from intertwine.data.atoms import from_ase
from intertwine.models.atoms import MACE, Cartesian, Facet, NequIP, Pair, Potential
from intertwine.nn import PolynomialEnvelope

CUTOFF = 4.0
SPECIES = ("H", "C", "O", "Cu")
SHIFT = {"H": -13.6, "C": -1029.5, "O": -2041.8, "Cu": -45.0}
SCALE = {"H": 0.8, "C": 1.2, "O": 1.1, "Cu": 0.5}


def images() -> dict[str, Atoms]:
    """A molecule, a slab, a triclinic crystal, an isolated atom, and a cell whose only edges are self-images."""
    rng = np.random.RandomState(0)
    crystal = bulk("Cu", "fcc", a=3.6).repeat((2, 1, 1))
    crystal.set_cell(crystal.cell.array @ (np.eye(3) + 0.05 * rng.randn(3, 3)), scale_atoms=True)
    slab = fcc111("Cu", (1, 1, 2), a=3.6)
    slab.pbc = (True, True, False)
    slab.center(vacuum=6.0, axis=2)
    chain = Atoms("C", positions=[[0.1, 0.2, 0.3]], cell=[3.1, 9.0, 9.0], pbc=True)
    found = {
        "ethanol": molecule("CH3CH2OH"),
        "water": molecule("H2O"),
        "slab": slab,
        "crystal": crystal,
        "atom": Atoms("O", positions=[[1.0, 2.0, 3.0]]),
        "self-images": chain,
    }
    for name in ("ethanol", "water", "slab", "crystal"):
        found[name].rattle(0.05, seed=1)
    return found


@pytest.fixture(scope="session")
def graphs() -> dict:
    """The graphs of `images`, float64."""
    return {name: from_ase(atoms, cutoff=CUTOFF) for name, atoms in images().items()}


NETWORKS = {
    "NequIP natural": lambda g: NequIP(
        SPECIES, cutoff=CUTOFF, degree=2, channels=4, radial=(8,), avg_num_neighbors=9.0, generator=g
    ),
    "NequIP full": lambda g: NequIP(
        SPECIES, cutoff=CUTOFF, degree=1, channels=4, parity="full", radial=(8,), avg_num_neighbors=9.0, generator=g
    ),
    "NequIP SO(3)": lambda g: NequIP(
        SPECIES, cutoff=CUTOFF, degree=1, channels=4, parity=None, radial=(8,), avg_num_neighbors=9.0, generator=g
    ),
    "NequIP degree 0": lambda g: NequIP(
        SPECIES, cutoff=CUTOFF, degree=0, channels=4, radial=(8,), avg_num_neighbors=9.0, generator=g
    ),
    "MACE": lambda g: MACE(
        SPECIES, cutoff=CUTOFF, channels=4, edge_degree=2, radial=(8,), avg_num_neighbors=9.0, generator=g
    ),
    "Facet": lambda g: awake(
        Facet(
            SPECIES,
            cutoff=CUTOFF,
            irreps=("4x0e + 3x1o + 2x2e",),
            out_channels=4,
            embed=4,
            node="gate",
            radial="bessel_linear",
            avg_num_neighbors=9.0,
            generator=g,
        )
    ),
    "Pair": lambda g: Pair(SPECIES, cutoff=CUTOFF, avg_num_neighbors=9.0, generator=g),
    "Cartesian": lambda g: Cartesian(SPECIES, cutoff=CUTOFF, channels=4, hidden=8, avg_num_neighbors=9.0, generator=g),
}


def awake(network):
    """Facet as after some training: its updates start at zero. Its switch has a kink in its slope, this one not."""
    network.envelope = PolynomialEnvelope(1.0)
    for name, parameter in network.named_parameters():
        if name.endswith("norm.weight"):
            torch.nn.init.constant_(parameter, 0.7)
    return network


def potential(name: str, *, dtype: torch.dtype = torch.float64) -> Potential:
    """A small random potential over one of NETWORKS."""
    network = NETWORKS[name](torch.Generator().manual_seed(3))
    made = Potential(network, SPECIES, CUTOFF, energy_shift=SHIFT, energy_scale=SCALE)
    return made.to(dtype).eval()


@pytest.fixture(params=list(NETWORKS), ids=lambda name: name.replace(" ", "-"))
def model(request) -> Potential:
    """Every network in turn, in float64."""
    return potential(request.param)


@pytest.fixture
def natural() -> Potential:
    """The usual NequIP, in float64."""
    return potential("NequIP natural")
