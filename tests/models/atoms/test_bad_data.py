"""Structures that break careless code: no edges, cells below the cutoff, everything in one batch, very large boxes."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from intertwine.data.atoms import collate, from_ase
from intertwine.interop.ase import Calculator
from intertwine.train import EnergyForceLoss
from models.atoms.conftest import CUTOFF, SHIFT, images, potential

FAR = Atoms("CHO", positions=[[0, 0, 0], [0, 0, 30], [40, 0, 0]])
SPARSE = Atoms("Cu", cell=[20, 20, 20], pbc=True)  # an atom that does not reach its own images


def labelled(atoms, generator, *, stress=False):
    """A graph with random labels."""
    graph = from_ase(atoms, cutoff=CUTOFF)
    graph.energy = torch.randn(1, generator=generator, dtype=torch.float64)
    graph.forces = torch.randn(len(atoms), 3, generator=generator, dtype=torch.float64)
    graph.has_energy, graph.has_forces = torch.tensor([True]), torch.tensor([True])
    if stress:
        graph.stress, graph.has_stress = torch.eye(3, dtype=torch.float64)[None], torch.tensor([True])
    return graph


def step(model, graphs):
    """Gradients of a loss on energies, forces and stress, by name."""
    batch = collate(graphs)
    model.train().zero_grad()
    out = model(batch)
    assert all(value.isfinite().all() for value in out.values())
    EnergyForceLoss(1.0, 10.0, 1.0)(out, batch)["loss"].backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_a_training_step_on_everything_at_once(model, generator):
    """Molecules, a slab, crystals, lonely atoms, self-images, labels missing here and there."""
    graphs = [labelled(atoms, generator, stress=bool(atoms.pbc.all())) for atoms in (*images().values(), FAR, SPARSE)]
    graphs[1].has_forces = torch.tensor([False])
    graphs[2].has_energy = torch.tensor([False])
    found = step(model, graphs)
    assert found and all(gradient.isfinite().all() for gradient in found.values())
    assert any(gradient.abs().max() > 0 for gradient in found.values())


@pytest.mark.parametrize("atoms", [Atoms("O"), FAR, SPARSE], ids=["atom", "far", "sparse"])
def test_a_training_step_without_edges(atoms, model, generator):
    """Energies are the shifts whatever the weights, so there is nothing to learn, and nothing breaks."""
    graphs = [labelled(atoms, generator), labelled(Atoms("H"), generator)]
    assert collate(graphs).edge_index.shape[1] == 0
    assert all(gradient.abs().max() < 1e-9 for gradient in step(model, graphs).values())  # errors are of 2000 eV
    out = model.eval()(collate(graphs))
    expected = sum(SHIFT[symbol] for symbol in atoms.get_chemical_symbols())
    assert out["energy"].tolist() == pytest.approx([expected, SHIFT["H"]], abs=1e-12)
    assert not out["forces"].any() and not out["stress"].any()


def test_cells_smaller_than_the_cutoff(model):
    """Atoms see many images of each other, and the material is the same on a cell that is large enough."""
    small = Atoms(
        "HCu", positions=[[0, 0, 0], [0.8, 0.9, 1.1]], cell=[[1.9, 0, 0], [0.3, 2.0, 0], [0, 0.2, 2.2]], pbc=True
    )
    one, large = (model(collate([from_ase(atoms, cutoff=CUTOFF)])) for atoms in (small, small.repeat((2, 3, 2))))
    assert from_ase(small, cutoff=CUTOFF).edge_index.shape[1] > 100
    scale = max(1.0, float(one["forces"].abs().max()))
    assert float(large["energy"]) / 12 == pytest.approx(float(one["energy"]), abs=1e-9 * scale)
    torch.testing.assert_close(large["forces"], one["forces"].repeat(12, 1), rtol=0, atol=1e-10 * scale)
    torch.testing.assert_close(large["stress"], one["stress"], rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("name", ["Pair", "NequIP degree 0"])
def test_ten_thousand_atoms(name):
    """Beside a lonely atom in one batch, in float32; it is a small crystal many times over, so the answer is known."""
    cell = bulk("Cu", cubic=True, a=3.6).repeat((1, 1, 5))
    cell.rattle(0.1, seed=0)
    large = cell.repeat((10, 10, 5))
    assert len(large) == 10_000
    model = potential(name, dtype=torch.float32)
    one = model(collate([from_ase(cell, cutoff=CUTOFF, dtype=torch.float32)]))
    graphs = [from_ase(atoms, cutoff=CUTOFF, dtype=torch.float32) for atoms in (large, Atoms("O"))]
    out = model(collate(graphs))
    assert float(out["energy"][0]) / 500 == pytest.approx(float(one["energy"]), rel=1e-6)
    assert float(out["energy"][1]) == SHIFT["O"]
    scale = float(one["forces"].abs().max())
    # Up to 90 Å, float32 numbers come in steps of 8e-6 Å, so edges differ by as much from those of the small crystal.
    torch.testing.assert_close(out["forces"][:-1], one["forces"].repeat(500, 1), rtol=0, atol=5e-5 * scale)
    assert not out["forces"][-1].any()
    torch.testing.assert_close(out["stress"][0], one["stress"][0], rtol=0, atol=1e-5 * float(one["stress"].abs().max()))


@pytest.mark.parametrize(
    "atoms", [Atoms("O"), FAR, SPARSE, images()["self-images"]], ids=["atom", "far", "sparse", "self"]
)
def test_the_calculator_takes_them(atoms, natural):
    atoms = atoms.copy()
    atoms.calc = Calculator(natural)
    assert np.isfinite(atoms.get_potential_energy())
    assert atoms.get_forces().shape == (len(atoms), 3) and np.abs(atoms.get_forces()).max() < 1e-12
