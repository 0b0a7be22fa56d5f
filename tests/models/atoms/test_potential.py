"""What every potential owes: batches, derivatives, limits and symmetry, for each kind of structure."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms

from intertwine.data.atoms import collate, from_ase
from intertwine.groups import E
from intertwine.models import catalog
from intertwine.models.atoms import NequIP, Pair, Potential
from models.atoms.conftest import CUTOFF, SHIFT, SPECIES, images, potential

SYMMETRIC = ("NequIP natural", "NequIP full", "NequIP SO(3)", "NequIP degree 0", "MACE", "Facet", "Pair")


# The slope at 0 from values at these steps, exact to sixth order.
STEPS, DIFFERENCES = (-3, -2, -1, 1, 2, 3), np.array([-1, 9, -45, 45, -9, 1]) / 60


def run(model, atoms, **options):
    return model(collate([from_ase(atoms, cutoff=CUTOFF)]), **options)


def test_a_batch_equals_one_by_one(model, graphs):
    together = model(collate(list(graphs.values())))
    apart = [model(collate([graph])) for graph in graphs.values()]
    for key in ("energy", "atom_energy", "forces", "stress"):
        torch.testing.assert_close(together[key], torch.cat([out[key] for out in apart]), rtol=0, atol=1e-12 * 2048)


def test_an_isolated_atom_has_its_shift_and_no_force(model, graphs):
    out = model(collate([graphs["atom"]]))
    assert float(out["energy"]) == SHIFT["O"]
    assert out["forces"].eq(0).all()
    assert all(value.isfinite().all() for value in out.values())


def test_a_molecule_that_comes_apart_ends_at_the_shifts(model):
    atoms = images()["water"]
    atoms.positions *= 30
    assert float(run(model, atoms)["energy"]) == pytest.approx(SHIFT["O"] + 2 * SHIFT["H"], abs=1e-9)


def test_only_self_images(model, graphs):
    out = model(collate([graphs["self-images"]]))
    assert out["forces"].abs().max() < 1e-12
    assert out["stress"].isfinite().all()
    assert out["stress"][0, 0, 0].abs() > 0


def test_forces_are_the_derivative_of_the_energy(model, graphs):
    for name in ("ethanol", "crystal", "slab"):
        atoms = images()[name]
        forces = run(model, atoms)["forces"].numpy()
        for i, axis in ((0, 0), (1, 2)):
            energies = []
            for step in STEPS:
                moved = atoms.copy()
                moved.positions[i, axis] += 1e-3 * step
                energies.append(float(run(model, moved)["energy"]))
            slope = np.dot(DIFFERENCES, energies) / 1e-3
            assert forces[i, axis] == pytest.approx(-slope, abs=3e-9), (name, i, axis)


def test_stress_is_the_derivative_under_strain(model):
    atoms = images()["crystal"]
    stress = run(model, atoms)["stress"][0].numpy()
    volume = atoms.get_volume()
    for a, b in ((0, 0), (0, 1), (1, 2), (2, 2)):
        energies = []
        for step in STEPS:
            strain = np.zeros((3, 3))
            strain[a, b] += 0.5e-3 * step
            strain[b, a] += 0.5e-3 * step
            moved = atoms.copy()
            moved.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(float(run(model, moved)["energy"]))
        slope = np.dot(DIFFERENCES, energies) / 1e-3
        assert stress[a, b] * volume == pytest.approx(slope, rel=1e-7, abs=1e-8), (a, b)
    assert np.array_equal(stress, stress.T)


def test_stress_of_open_structures_is_zero(natural, graphs):
    out = natural(collate([graphs["ethanol"], graphs["slab"], graphs["crystal"]]))
    assert out["stress"][:2].eq(0).all()
    assert out["stress"][2].abs().max() > 0


@pytest.mark.parametrize("name", SYMMETRIC)
def test_rigid_motions(name, graphs, generator):
    model = potential(name)
    group = model.rep_in.group
    assert group.is_connected == (name == "NequIP SO(3)")
    batch = collate(list(graphs.values()))
    out = model(batch)
    for g in group.sample(4, generator=generator):
        moved = model(model.rep_in(g, batch))
        expected = model.rep_out(g, out)
        for key in out:
            torch.testing.assert_close(moved[key], expected[key], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["NequIP natural", "NequIP full", "NequIP SO(3)", "MACE"])
def test_it_stays_equivariant_when_trained(name, graphs, generator):
    """At initialisation many mistakes are invisible: check again after steps that move every weight."""
    model = potential(name).train()
    batch = collate([graphs["ethanol"], graphs["crystal"]])
    wanted = torch.randn(len(batch.pos), 3, generator=generator, dtype=torch.float64)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(4):
        optimizer.zero_grad()
        (model(batch)["forces"] - wanted).square().mean().backward()
        optimizer.step()
    moved = [bool((p - q).abs().max() > 1e-3) for p, q in zip(model.parameters(), before)]
    assert all(moved), [n for (n, _), m in zip(model.named_parameters(), moved) if not m]
    model.eval()
    out = model(batch)
    for g in model.rep_in.group.sample(3, generator=generator):
        turned, expected = model(model.rep_in(g, batch)), model.rep_out(g, out)
        for key in out:
            torch.testing.assert_close(turned[key], expected[key], rtol=0, atol=1e-10)


def test_without_parity_reflections_are_no_symmetry(graphs):
    model = potential("NequIP SO(3)")
    mirror = E(3).identity().clone()
    mirror[0, 0] = -1
    # Two layers of degree 1 and a chiral environment tell left from right.
    graph = collate([graphs["ethanol"]])
    from intertwine.data.atoms.action import AtomsAction

    turned = model(AtomsAction(E(3))(mirror, graph))["energy"]
    assert (turned - model(graph)["energy"]).abs().max() > 1e-8


def test_permutations_of_atoms(model):
    atoms = images()["ethanol"]
    order = np.random.RandomState(0).permutation(len(atoms))
    out, shuffled = run(model, atoms), run(model, atoms[order])
    torch.testing.assert_close(shuffled["energy"], out["energy"], rtol=0, atol=1e-11)
    torch.testing.assert_close(shuffled["forces"], out["forces"][order], rtol=0, atol=1e-11)
    torch.testing.assert_close(shuffled["atom_energy"], out["atom_energy"][order], rtol=0, atol=1e-11)


def test_lattice_translations_and_other_cells(model):
    atoms = images()["crystal"]
    out = run(model, atoms)
    moved = atoms.copy()
    moved.positions[0] += atoms.cell.array[0] - 2 * atoms.cell.array[2]
    sheared = atoms.copy()
    sheared.set_cell(np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]]) @ atoms.cell.array, scale_atoms=False)
    for other in (moved, sheared):
        for key in ("energy", "forces", "stress"):
            torch.testing.assert_close(run(model, other)[key], out[key], rtol=0, atol=1e-10)
    double = run(model, atoms.repeat((1, 2, 1)))
    assert float(double["energy"]) / 2 == pytest.approx(float(out["energy"]), abs=1e-10)
    torch.testing.assert_close(double["stress"], out["stress"], rtol=0, atol=1e-10)


def test_energy_and_forces_are_continuous_at_the_cutoff(model):
    def at(distance):
        return run(model, Atoms("CHO", positions=[[0, 0, 0], [0, 0, 1.1], [distance, 0, 0]]))

    inside, outside = at(CUTOFF - 1e-6), at(CUTOFF + 1e-6)
    assert (inside["forces"] - outside["forces"]).abs().max() < 1e-8
    assert (inside["energy"] - outside["energy"]).abs().max() < 1e-8


def test_second_derivatives_exist(model, graphs):
    batch = collate([graphs["water"]])

    def forces(pos):
        moved = batch.clone()
        moved.pos = pos
        return model(moved, training=True)["forces"]

    pos = batch.pos.clone().requires_grad_()
    assert torch.autograd.gradcheck(forces, (pos,), atol=1e-6)


def test_training_and_evaluation_agree_and_only_training_keeps_a_graph(natural, graphs):
    batch = collate([graphs["ethanol"], graphs["crystal"]])
    quiet, trained = natural(batch, training=False), natural(batch, training=True)
    for key in quiet:
        torch.testing.assert_close(trained[key].detach(), quiet[key], rtol=0, atol=1e-12 * 2048)
        assert not quiet[key].requires_grad
    assert trained["forces"].requires_grad
    assert natural.train()(batch)["forces"].requires_grad
    natural.eval()


def test_float32_stays_close_and_energies_are_float64(graphs):
    batch = collate([graphs["ethanol"], graphs["crystal"]])
    exact, rough = potential("NequIP natural")(batch), potential("NequIP natural", dtype=torch.float32)(batch)
    assert rough["energy"].dtype == torch.float64
    assert rough["forces"].dtype == torch.float32
    torch.testing.assert_close(rough["energy"], exact["energy"], rtol=0, atol=1e-4)
    torch.testing.assert_close(rough["forces"].double(), exact["forces"], rtol=0, atol=1e-4)


def test_shifts_survive_a_change_of_precision(natural):
    shifts = natural.shift.clone()
    natural.float().half().double()
    assert natural.shift.dtype == torch.float64
    assert torch.equal(natural.shift, shifts)
    assert not any("shift" in name or "scale" in name for name in natural.state_dict())


def test_unknown_species_are_named(natural):
    with pytest.raises(ValueError, match=r"holds O, S; this model knows H, C, O, Cu"):
        run(natural, Atoms("SO2", positions=np.eye(3) * 1.2))


def network():
    return Pair(SPECIES, cutoff=CUTOFF)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Potential(network(), SPECIES, 5.0), r"cutoff is 4.0 Å, the graphs' is 5.0 Å"),
        (lambda: Potential(network(), SPECIES, -1.0), "cutoff must be positive"),
        (lambda: Potential(network(), ("H", "H"), CUTOFF), "distinct"),
        (lambda: Potential(network(), ("H", "Qq"), CUTOFF), "Qq"),
        (lambda: Potential(network(), ("H", "C"), CUTOFF, energy_shift={"H": 0.0}), "energy_shift has no entry for C"),
        (lambda: Potential(network(), SPECIES, CUTOFF, forces="both"), "'gradient', 'direct' or 'none'"),
        (lambda: NequIP(SPECIES, cutoff=0.0), "cutoff must be positive"),
        (lambda: NequIP(SPECIES, degree=-1), "degree"),
        (lambda: NequIP(SPECIES, parity="odd"), "natural"),
        (lambda: NequIP(SPECIES, avg_num_neighbors=math.nan), "avg_num_neighbors"),
    ],
)
def test_bad_options(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_without_forces_there_are_none(graphs):
    out = Potential(network().double(), SPECIES, CUTOFF, forces="none")(collate([graphs["water"]]))
    assert set(out) == {"energy", "atom_energy"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "backend"), [("NequIP", "aot_eager"), ("MACE", "aot_eager"), ("Pair", "inductor")])
def test_training_compiles_whole_and_agrees(name, backend, graphs):
    """Energy, forces and the gradient of a loss on them, at several sizes, without a break in the graph."""
    small = {"layers": 2, "channels": 2, "radial": (4,)}
    options = {"NequIP": small | {"degree": 2}, "MACE": small | {"edge_degree": 1, "layers": 1}}.get(name, {})

    def made():
        generator = torch.Generator().manual_seed(0)
        network = catalog.build(name, species=SPECIES, cutoff=CUTOFF, generator=generator, **options)
        return Potential(network, SPECIES, CUTOFF, energy_shift=SHIFT).double()

    eager, compiled = made(), made()
    compiled.compile_training(backend=backend)
    # numbers of structures that are no other size, such as the 2 rows of edge_index: one compilation serves both
    for names in (("ethanol", "water", "slab", "crystal"), ("crystal", "ethanol", "slab", "water", "ethanol")):
        batch = collate([graphs[name] for name in names])
        gradients = []
        for model in (eager, compiled):
            out = model(batch, training=True)
            model.zero_grad()
            (out["energy"].square().sum() * 1e-6 + out["forces"].square().sum()).backward()
            gradients.append([p.grad for p in model.parameters()] + [out["forces"].detach(), out["stress"].detach()])
        for a, b in zip(*gradients):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
