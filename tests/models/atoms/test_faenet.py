"""What is FAENet's own: no symmetry without frames, all of it with them, in molecules and crystals; its variants."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from intertwine.data.atoms import AtomsAction, collate, from_ase
from intertwine.groups import SE, E
from intertwine.models.atoms import FAENet, Potential
from intertwine.models.atoms.faenet import place
from models.atoms.conftest import CUTOFF, SCALE, SHIFT, SPECIES, images

SMALL = {"hidden": 12, "filters": 8, "layers": 2, "n_gaussian": 6, "period_group": 2, "avg_num_neighbors": 9.0}


def made(*, cutoff: float = CUTOFF, **options) -> Potential:
    """A small potential in float64."""
    network = FAENet(SPECIES, cutoff=cutoff, generator=torch.Generator().manual_seed(0), **(SMALL | options))
    forces = "direct" if options.get("force_head") else "gradient"
    model = Potential(network, SPECIES, cutoff, energy_shift=SHIFT, energy_scale=SCALE, forces=forces)
    return model.double().eval()


def batch_of(*structures: Atoms, cutoff: float = CUTOFF):
    return collate([from_ase(atoms, cutoff=cutoff) for atoms in structures])


@pytest.fixture(scope="module")
def generic():
    """Structures whose axes are well defined."""
    found = images()
    return batch_of(*(found[name] for name in ("ethanol", "water", "slab", "crystal", "atom")))


def changes(model: Potential, batch, group, generator, *, about_z: bool = False) -> tuple[float, float]:
    """The largest change of energies, and of forces that should have turned."""
    out, energies, forces = model(batch), [], []
    for g in group.sample(4, generator=generator):
        if about_z:
            angle = math.pi * torch.rand((), generator=generator, dtype=torch.float64)
            c, s = torch.cos(angle), torch.sin(angle)
            mirror = -1.0 if group == E(3) else 1.0
            g = torch.eye(4, dtype=torch.float64)
            g[:2, :2] = torch.stack([torch.stack([c, -s * mirror]), torch.stack([s, c * mirror])])
        moved = model(AtomsAction(group)(g, batch))
        energies.append((moved["energy"] - out["energy"]).abs().max().item())
        forces.append((moved["forces"] - out["forces"] @ group.linear_part(g).mT).abs().max().item())
    return max(energies), max(forces)


def test_without_frames_nothing_is_invariant(generic, generator):
    model = made(frames=None)
    assert model.backbone.symmetry == "none"
    assert min(changes(model, generic, SE(3), generator)) > 1e-3


@pytest.mark.parametrize("force_head", [False, True], ids=["gradient", "direct"])
@pytest.mark.parametrize("group", ["E", "SE"])
@pytest.mark.parametrize("frames", ["all", "det", "stochastic"])
def test_frames_make_it_exact(frames, group, force_head, generic, generator):
    """In evaluation, energies and forces, whether derivatives or from a head."""
    model = made(frames=frames, group=group, force_head=force_head)
    assert model.rep_in.group == (E(3) if group == "E" else SE(3))
    assert model.conservative == (not force_head)
    assert max(changes(model, generic, model.rep_in.group, generator)) < 1e-10


def test_rotations_alone_leave_reflections_out(generic):
    model, mirror = made(group="SE"), torch.diag(torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64))
    mirrored = model(AtomsAction(E(3))(mirror, generic))["energy"]
    assert (mirrored - model(generic)["energy"]).abs().max() > 1e-6


@pytest.mark.parametrize("group", ["E", "SE"])
def test_frames_in_the_plane(group, generic, generator):
    model = made(frames="all", group=group, plane=True)
    moves = E(3) if group == "E" else SE(3)
    assert max(changes(model, generic, moves, generator, about_z=True)) < 1e-10
    assert changes(model, generic, moves, generator)[0] > 1e-3


def test_one_drawn_frame_gives_the_mean_in_expectation():
    """A draw is uniform over the frames, so its mean over all of them is the exact output."""
    model, batch = made(frames="stochastic", force_head=True), batch_of(images()["water"], images()["ethanol"])
    exact = model(batch)
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = [model(batch, training=False)["forces"] for _ in range(150)]
    drawn = torch.stack(draws)
    assert (drawn[0] - exact["forces"]).abs().max() > 1e-3
    error = (drawn.mean(0) - exact["forces"]).abs() / (drawn.std(0) / 150**0.5 + 1e-12)
    assert error.max() < 5


def test_the_network_is_called_once_in_training_and_for_every_frame_in_evaluation(generic):
    network = made(frames="stochastic").backbone
    seen, bare = [], network.bare
    network.bare = lambda species, *rest: seen.append(len(species)) or bare(species, *rest)
    model = Potential(network, SPECIES, CUTOFF)
    with torch.no_grad():
        model.train()(generic, training=True)
        model.eval()(generic)
    lonely = len(SPECIES)
    assert seen[0] == len(generic.pos) + lonely
    assert 8 * seen[0] == seen[1]


SYMMETRIC = {
    # second moments of the positions: two or three of them equal, or zero
    "CH4": (1.5832, 1.5832, 1.5832),
    "C6H6": (24.3265, 24.3265, 0.0),
    "NH3": (1.3246, 1.3246, 0.1131),
    "CO2": (2.7785, 0.0, 0.0),
}


@pytest.mark.filterwarnings("ignore:.*principal axes that are not defined")
@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric_molecules(name, generator):
    atoms = molecule(name)
    centred = atoms.positions - atoms.positions.mean(0)
    moments = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    np.testing.assert_allclose(moments, SYMMETRIC[name], atol=5e-5)
    atoms.numbers = np.where(atoms.numbers == 7, 8, atoms.numbers)  # the small network knows no nitrogen
    model, batch = made(frames="stochastic"), batch_of(atoms, images()["water"])
    assert max(changes(model, batch, E(3), generator)) < 1e-10
    model.train()
    out = model(batch, training=True)
    out["forces"].square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.filterwarnings("ignore:.*principal axes that are not defined")
def test_crystals_do_not_depend_on_cell_and_image(generator):
    model = made(frames="all")
    atoms = images()["crystal"]
    out = model(batch_of(atoms))
    moved = atoms.copy()
    moved.positions[0] += atoms.cell.array[0] - 2 * atoms.cell.array[2]
    double = atoms.repeat((1, 2, 1))
    np.testing.assert_allclose(model(batch_of(moved))["energy"], out["energy"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(model(batch_of(moved))["forces"], out["forces"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(model(batch_of(double))["energy"] / 2, out["energy"], rtol=0, atol=1e-10)
    perfect = batch_of(bulk("Cu", "fcc", a=3.6), cutoff=CUTOFF)
    assert max(changes(model, perfect, E(3), generator)) < 1e-10


def test_forces_are_the_derivative_through_the_frame():
    """The frame turns with the atoms, and what that does to the energy counts."""
    model, atoms = made(frames="all"), images()["water"]
    forces = model(batch_of(atoms))["forces"].numpy()
    assert np.abs(forces.sum(0)).max() < 1e-12
    assert np.abs(np.cross(atoms.positions, forces).sum(0)).max() < 1e-10  # no torque
    for i, axis in ((0, 0), (1, 2), (2, 1)):
        energies = []
        for step in (-2, -1, 1, 2):
            shifted = atoms.copy()
            shifted.positions[i, axis] += 1e-3 * step
            energies.append(float(model(batch_of(shifted))["energy"]))
        slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / 12e-3
        assert forces[i, axis] == pytest.approx(-slope, abs=1e-8)


@pytest.mark.parametrize(
    "options",
    [
        {"message": "simple", "filters": 12},
        {"message": "updownscale", "skip": "add"},
        {"message": "updownscale_base", "second_layer": True},
        {"message": "updown_local_env", "skip": "concat_atom"},
        {"complex_message": False, "energy_head": "initial"},
        {"graph_norm": False, "energy_head": None, "skip": None},
        {"period_group": 0, "layers": 1},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_variants_train_every_weight(options, generic):
    model = made(frames="stochastic", force_head=True, **options).train()
    out = model(generic, training=True)
    (out["energy"].sum() + out["forces"].square().sum()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # what adds the same to every atom of a species is taken off again, and groups of other elements are not met
    constant = ("output.1.bias", "skip.bias", "head.bias")
    assert not [name for name in without if not name.endswith(constant) and "norm.bias" not in name], without


def test_a_batch_equals_one_by_one(generic):
    for model in (made(frames="all"), made(frames="det", force_head=True)):
        together, apart = model(generic), [model(collate([graph])) for graph in generic.to_data_list()]
        for key in ("energy", "forces"):
            torch.testing.assert_close(together[key], torch.cat([out[key] for out in apart]), rtol=0, atol=1e-11)


def test_no_edges_and_zero_structures():
    model = made(frames="stochastic")
    out = model(batch_of(Atoms("OH", positions=[[0, 0, 0], [9, 0, 0]])))
    assert float(out["energy"]) == pytest.approx(SHIFT["O"] + SHIFT["H"], abs=1e-9)
    assert out["forces"].eq(0).all()


def test_the_published_network_ends_abruptly():
    with pytest.raises(ValueError, match="energy of this FAENet jumps"):
        made(envelope=False)
    assert made(envelope=False, force_head=True).forces == "direct"


def test_places_in_the_periodic_table():
    from ase.data import atomic_numbers

    expected = {
        **{"H": (0, 0), "He": (0, 17), "Li": (1, 0), "C": (1, 13), "Ne": (1, 17), "Mg": (2, 1), "Al": (2, 12)},
        **{"Sc": (3, 2), "Cu": (3, 10), "Zn": (3, 11), "Ga": (3, 12), "La": (5, 2), "Yb": (5, 2), "Hf": (5, 3)},
        **{"Au": (5, 10), "Hg": (5, 11), "Tl": (5, 12), "Og": (6, 17)},
    }
    assert {name: place(atomic_numbers[name]) for name in expected} == expected


@pytest.mark.slow
def test_the_bare_network_compiles_whole(generic):
    model = made(frames=None)
    expected = model(generic)
    model.compile_training(backend="eager")
    compiled = model(generic, training=True)
    for key in expected:
        torch.testing.assert_close(compiled[key].detach(), expected[key], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"message": "loud"}, "message must be one of base, simple"),
        ({"energy_head": "last"}, "energy_head must be one of final, initial, None"),
        ({"skip": "both"}, "skip must be one of concat"),
        ({"message": "simple"}, "filters=8 and hidden=12 differ"),
        ({"period_group": 6}, "hidden above twice period_group"),
        ({"frames": "some"}, "method must be one of stochastic, all, det"),
        ({"group": "O"}, "group must be 'E' or 'SE'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_options(options, says):
    with pytest.raises(ValueError, match=says):
        made(**options)
