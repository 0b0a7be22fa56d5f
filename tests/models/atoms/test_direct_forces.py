"""Forces from a head of the network: what they are, what they are not, and who must ask for them."""

import numpy as np
import pytest
import torch
from ase import units
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.verlet import VelocityVerlet

from intertwine.data.atoms import collate
from intertwine.interop.ase import Calculator
from intertwine.interop.nve import nve
from intertwine.models import catalog, saved
from intertwine.models.atoms import Pair, Potential
from models.atoms.conftest import CUTOFF, SCALE, SHIFT, SPECIES, images
from models.atoms.two_heads import TwoHeads


def made(forces: str = "direct", **options) -> Potential:
    network = TwoHeads(SPECIES, cutoff=CUTOFF, generator=torch.Generator().manual_seed(0))
    return Potential(network, SPECIES, CUTOFF, energy_shift=SHIFT, forces=forces, **options).double().eval()


def test_they_are_the_heads_in_units_of_the_scale(graphs):
    batch = collate(list(graphs.values()))
    plain, scaled = made(), made(energy_scale=SCALE)
    factor = torch.tensor([SCALE[SPECIES[i]] for i in plain.species_index(batch.z)], dtype=torch.float64)
    out = scaled(batch)
    torch.testing.assert_close(out["forces"], plain(batch)["forces"] * factor[:, None], rtol=1e-14, atol=0)
    assert set(out) == {"energy", "atom_energy", "forces"}
    torch.testing.assert_close(out["energy"], made("none", energy_scale=SCALE)(batch)["energy"], rtol=0, atol=0)
    assert not (out["forces"] - made("gradient", energy_scale=SCALE)(batch)["forces"]).abs().max() < 1e-3


def test_a_gradient_uses_the_energies_only(graphs):
    batch = collate(list(graphs.values()))
    both = made("gradient")
    one = Potential(Pair(SPECIES, cutoff=CUTOFF), SPECIES, CUTOFF, energy_shift=SHIFT).double()
    one.backbone.weight.data = both.backbone.weight.data
    for training in (False, True):
        out, expected = both(batch, training=training), one(batch, training=training)
        for key in ("energy", "forces", "stress"):
            torch.testing.assert_close(out[key], expected[key], rtol=0, atol=1e-12 * 2048)


def test_rigid_motions(graphs, generator):
    model, batch = made(), collate(list(graphs.values()))
    out = model(batch)
    for g in model.rep_in.group.sample(4, generator=generator):
        moved, expected = model(model.rep_in(g, batch)), model.rep_out(g, out)
        for key in out:
            torch.testing.assert_close(moved[key], expected[key], rtol=0, atol=1e-10)


def test_the_network_is_told_the_graph_of_each_atom(graphs):
    model = made()
    model(collate([graphs["water"], graphs["atom"]]))
    # Three atoms, one atom, and one lonely atom of each species, each a graph of its own.
    assert model.backbone.seen.tolist() == [0, 0, 0, 1, 2, 3, 4, 5]


def test_they_train_and_only_training_keeps_a_graph(graphs):
    model, batch = made(), collate([graphs["ethanol"]])
    assert not model(batch)["forces"].requires_grad
    model(batch, training=True)["forces"].square().sum().backward()
    assert model.backbone.head.grad.abs().max() > 0


def test_who_has_no_head_is_refused():
    with pytest.raises(ValueError, match=r"forces='direct', but Pair has no force head; take forces='gradient'"):
        Potential(Pair(SPECIES, cutoff=CUTOFF), SPECIES, CUTOFF, forces="direct")


def test_who_jumps_has_no_gradient():
    network = TwoHeads(SPECIES, cutoff=CUTOFF)
    network.smooth = False
    with pytest.raises(ValueError, match=r"this TwoHeads jumps .* take forces='direct'"):
        Potential(network, SPECIES, CUTOFF)
    assert not Potential(network, SPECIES, CUTOFF, forces="direct").conservative


def test_it_is_recorded(tmp_path, monkeypatch, graphs):
    entry = catalog.Entry("TwoHeads", "models.atoms.two_heads", "", "")
    monkeypatch.setattr(catalog, "ENTRIES", (*catalog.ENTRIES, entry))
    model = made()
    assert not model.conservative and made("gradient").conservative
    again = catalog.potential(model.config)
    assert again.forces == "direct" and not again.conservative
    weights = {f"potential.{name}": value for name, value in model.state_dict().items()}
    saved.save({"intertwine": {"kind": "potential", "potential": model.config}, "state_dict": weights}, tmp_path / "x")
    batch = collate([graphs["ethanol"]])
    assert torch.equal(saved.load_potential(tmp_path / "x")(batch)["forces"], model(batch)["forces"])


def test_the_calculator_gives_them_without_stress(graphs):
    model = made()
    atoms = images()["crystal"]
    atoms.calc = Calculator(model)
    expected = model(collate([graphs["crystal"]]))["forces"].numpy()
    np.testing.assert_allclose(atoms.get_forces(), expected, rtol=0, atol=1e-10)
    with pytest.raises(PropertyNotImplementedError, match="the model gives none"):
        atoms.get_stress()
    VelocityVerlet(atoms, 0.1 * units.fs).run(1)


def test_dynamics_at_constant_energy_must_be_asked_for():
    atoms = molecule("H2O")
    atoms.calc = Calculator(made())
    with pytest.raises(ValueError, match=r"come from a force head .* allow_nonconservative=True"):
        nve(atoms, picoseconds=0.002)
    assert len(nve(atoms, picoseconds=0.002, allow_nonconservative=True).total) == 5
    atoms.calc = Calculator(made("gradient"))
    assert len(nve(atoms, picoseconds=0.002).total) == 5
