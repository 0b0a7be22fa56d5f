"""Batched motions are those of ASE one by one; temperatures, momenta and mean energies are those of the textbook."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from intertwine.data.atoms import collate, from_ase
from intertwine.interop.ase import Calculator
from intertwine.models.atoms import Langevin, Verlet, velocities
from intertwine.models.atoms.dynamics import acceleration, boltzmann, masses
from intertwine.models.atoms.potential import tape_works
from models.atoms.conftest import images, potential
from models.atoms.springs import STIFF, springs


def batch_of(*atoms):
    return collate([from_ase(each, cutoff=None) for each in atoms])


def dimers(count: int, length: float = 1.0) -> list[Atoms]:
    return [Atoms("H2", positions=[[0, 0, 0], [0, 0, length]]) for _ in range(count)]


def soft():
    """Random, so made weak: nothing collapses, and rounding does not grow."""
    model = potential("Pair")
    model.energy_scale = tuple(0.02 for _ in model.energy_scale)
    return model.double()  # writes the constants anew


@pytest.fixture(scope="module")
def eight() -> list[Atoms]:
    """A molecule, a slab, a crystal, a lonely atom, a chain, and copies that start differently."""
    found = list(images().values())
    return [*found, found[1].copy(), found[3].copy()]


def test_units_are_those_of_the_specification():
    assert acceleration() == pytest.approx(9.648533e-3, rel=1e-7)
    assert boltzmann() == pytest.approx(8.6173303e-5, rel=1e-8)


def test_eight_different_structures_move_as_eight_runs_of_ase(eight, generator):
    """Must hold: within 1e-9 Å after 200 steps; and a skin changes nothing beyond 1e-12."""
    batch = batch_of(*eight)
    start = velocities(batch, 300.0, generator=generator)
    ends = []
    for skin in (0.0, 0.5):
        motion = Verlet(soft(), batch, timestep=1.0, velocities=start, skin=skin).run(200)
        ends.append((motion.pos, motion.total_energy, motion.evaluator.neighbors.rebuilds))
    torch.testing.assert_close(ends[0][0], ends[1][0], rtol=0, atol=1e-12)
    assert ends[0][2] == 201
    assert ends[1][2] < 100
    assert motion.time == 200.0
    assert (motion.pos - batch.pos).abs().max() > 0.3
    for g, one in enumerate(eight):
        atoms, here = one.copy(), batch.batch == g
        atoms.calc = Calculator(soft())
        atoms.set_velocities(start[here].numpy() / units.fs)
        VelocityVerlet(atoms, 1.0 * units.fs).run(200)
        np.testing.assert_allclose(motion.pos[here].numpy(), atoms.positions, rtol=0, atol=1e-9)
        assert float(motion.total_energy[g]) == pytest.approx(atoms.get_total_energy(), abs=1e-9)
        assert float(motion.temperature[g]) == pytest.approx(atoms.get_temperature(), rel=1e-7)


def test_a_spring_swings_at_its_own_frequency():
    """ω = √(k / μ): after a whole period the dimer is where it began."""
    omega = np.sqrt(STIFF * acceleration() / (0.5 * 1.008))
    batch = batch_of(*dimers(1, 1.02))
    motion = Verlet(springs(), batch, timestep=float(2 * np.pi / omega / 400))
    motion.run(200)
    assert float(motion.pos[1, 2] - motion.pos[0, 2]) == pytest.approx(0.98, abs=1e-5)
    motion.run(200)
    torch.testing.assert_close(motion.pos, batch.pos, rtol=0, atol=1e-5)


def test_velocities_are_thermal_and_still(eight, generator):
    batch = batch_of(*eight)
    v = velocities(batch, 300.0, generator=generator)
    m = masses(batch)[:, None]
    for g, one in enumerate(eight):
        here = batch.batch == g
        r, p = batch.pos[here] - batch.pos[here].mean(0), (m * v)[here]
        assert p.sum(0).abs().max() < 1e-14
        if not one.pbc.any():
            assert torch.linalg.cross(r, p).sum(0).abs().max() < 1e-13
    assert v[batch.batch == 4].abs().max() == 0  # a lonely atom has nothing but momentum
    many = batch_of(*dimers(300))
    moving = velocities(many, [300.0] * 150 + [600.0] * 150, generator=generator, remove=())
    each = (masses(many) * moving.square().mean(1)).reshape(2, -1).mean(1) / acceleration() / boltzmann()
    assert each.tolist() == pytest.approx([300.0, 600.0], rel=0.1)  # 900 degrees of freedom each
    line = velocities(batch_of(*dimers(2)), 300.0, generator=generator)
    assert line.isfinite().all()
    assert line[:, :2].abs().max() < 1e-14  # along its axis a dimer can only stretch


def test_langevin_reaches_the_temperature_and_the_energy_of_every_structure(generator):
    """Equipartition: ½ k_B T in the bond of a stiff dimer, on average over 400 of them."""
    wanted = torch.tensor([150.0] * 200 + [450.0] * 200)
    options = {"timestep": 1.0, "friction": 0.1, "generator": generator, "skin": 6.0}
    motion = Langevin(springs(), batch_of(*dimers(400)), temperature=wanted, **options)
    seen, bonds = [], []
    motion.run(200, every=10, observe=lambda m: (seen.append(m.temperature.clone()), bonds.append(m.energy.clone())))
    hot = torch.stack(seen[5:]).mean(0).reshape(2, -1).mean(1)
    assert hot.tolist() == pytest.approx([150.0, 450.0], rel=0.05)
    bond = torch.stack(bonds[5:]).mean(0).reshape(2, -1).mean(1) / (0.5 * boltzmann())
    assert bond.tolist() == pytest.approx([150.0, 450.0], rel=0.1)


def test_a_seed_repeats_a_motion():
    def end(seed):
        generator = torch.Generator().manual_seed(seed)
        options = {"timestep": 0.5, "temperature": 300.0, "friction": 0.02, "generator": generator}
        return Langevin(springs(), batch_of(*dimers(3)), **options).run(5).pos

    assert torch.equal(end(1), end(1))
    assert not torch.equal(end(1), end(2))


def test_observers_see_the_start_and_every_so_many_steps():
    seen = []
    motion = Verlet(springs(), batch_of(*dimers(1, 1.1)), timestep=0.5)
    for _ in range(2):
        motion.run(6, every=4, observe=lambda m: seen.append((m.steps, m.time)))
    assert seen == [(0, 0.0), (4, 2.0), (8, 4.0), (12, 6.0)]


def test_what_goes_wrong_is_named(generator):
    batch = batch_of(*dimers(2))
    model = springs()
    with pytest.raises(ValueError, match=r"timestep must be positive .* 0"):
        Verlet(model, batch, timestep=0)
    with pytest.raises(ValueError, match=r"velocities have shape \(1, 3\), positions \(4, 3\)"):
        Verlet(model, batch, timestep=1.0, velocities=torch.zeros(1, 3))
    with pytest.raises(ValueError, match="holds C, H; this model knows H, O"):
        Verlet(model, batch_of(Atoms("CH", positions=[[0, 0, 0], [1, 0, 0]])), timestep=1.0)
    with pytest.raises(ValueError, match="gives no forces"):
        Verlet(springs(forces="none"), batch, timestep=1.0)
    with pytest.raises(ValueError, match="friction must be positive"):
        Langevin(model, batch, timestep=1.0, temperature=300.0, friction=0.0, generator=generator)
    with pytest.raises(ValueError, match="one for each of 2"):
        velocities(batch, [1.0, 2.0, 3.0], generator=generator)
    with pytest.raises(ValueError, match="not 'spin'"):
        velocities(batch, 300.0, generator=generator, remove=("spin",))
    with pytest.raises(ValueError, match="every must be at least 1"):
        Verlet(model, batch, timestep=1.0).run(1, every=0)
    head = springs()
    head.forces = "direct"
    with pytest.raises(ValueError, match="derivative of no energy"):
        Verlet(head, batch, timestep=1.0)
    with pytest.raises(FloatingPointError, match="structure 0 is not finite after 0 fs"):
        Verlet(springs(float("nan")), batch, timestep=1.0)


@pytest.mark.parametrize("mode", ["inference", "vmap"])
def test_the_tape_is_left_where_it_cannot_work(mode, eight):
    """Inference mode has no tape and `torch.func` sees none: the same numbers come by the other way."""
    model, batch = soft(), collate([from_ase(eight[0], cutoff=3.5)])
    usual = model(batch)["forces"]
    assert tape_works()
    if mode == "inference":
        with torch.inference_mode():
            other = model(batch)["forces"]
            moved = Verlet(model, batch, timestep=1.0).forces
        torch.testing.assert_close(moved, Verlet(model, batch, timestep=1.0).forces, rtol=0, atol=1e-12)
    else:

        def shifted(by):
            copied = batch.clone()
            copied.pos = batch.pos + by
            return model(copied)["forces"]

        other = torch.func.vmap(shifted)(torch.zeros(2, 1, 3, dtype=torch.float64))[1]
    torch.testing.assert_close(other, usual, rtol=0, atol=1e-12)
