"""Points that push and pull each other: the published statistics, what is conserved, and what turns with the start."""

import numpy as np
import pytest
import torch

from grids import seeded
from intertwine.audit import assert_equivariant
from intertwine.data import charged, gravity, springs
from intertwine.data.integrate import PairForces, exact, leapfrog, pairs
from intertwine.groups import SO, E

KINDS = {"charged": charged, "springs": springs, "gravity": gravity}


@pytest.fixture(scope="module")
def published():
    return charged(1000, seed=3)


@pytest.fixture(scope="module", params=KINDS)
def kept(request):
    """A short exact motion of each kind."""
    return KINDS[request.param](30, 4, steps=1001, seed=5, integrator="exact")


def arrays(motion):
    """Start of a motion as the integrators take it."""
    return [x.permute(2, 1, 0).numpy() for x in motion.start]


def test_published_statistics(published):
    """The statistics of the data that the papers train on, and the errors of the best linear guess."""
    inputs, target = published.task(dtype=torch.float64)
    x, v = inputs["positions"], inputs["velocities"]
    slope = ((target - x) * v).sum() / v.square().sum()
    assert abs(slope - 0.70) < 0.02
    assert 0.08 < (target - x - slope * v).square().mean() < 0.10
    assert abs((target - x).var() - 0.27) < 0.03
    assert abs(x.std() - 1.65) < 0.05
    assert published.positions.shape == (1000, 49, 5, 3)
    assert abs(published.times[30] - 3.1) < 1e-12
    assert abs(published.charges.mean()) < 0.05
    start, speed = published.start
    assert abs(start.std() - 1) < 0.03
    assert (speed.norm(dim=-1) - 0.5).abs().max() < 1e-12


def test_published_forces_are_clipped(published):
    """Half of the motions lose their energy to the bound on forces; the others keep it as well as leap-frog can."""
    energy = published.energy()
    change = (energy[:, -1] - energy[:, 0]).abs()
    clipped = published.clipped
    assert abs(clipped.double().mean() - 0.48) < 0.05
    assert 1e-4 < change[~clipped].median() < 1e-3
    assert change[clipped].max() > 2
    assert (published.momentum() - published.momentum()[:, :1]).abs()[~clipped].max() < 1e-10


def test_leapfrog_is_the_published_recursion():
    motion = charged(3, 4, steps=60, every=7, seed=11)
    assert motion.positions.shape == (3, 8, 4, 3)
    for k in range(3):
        x, v = (part[k].clone() for part in motion.start)
        for step in range(1, 60):
            r = x[:, None] - x[None]
            size = motion.strengths[k] / (r.norm(dim=-1) + torch.eye(4)) ** 3
            v = v + 1e-3 * (size[..., None] * r).sum(1).clamp(-100, 100)
            x = x + 1e-3 * v
            if step % 7 == 0:
                assert (motion.positions[k, step // 7 - 1] - x).abs().max() < 1e-12
                assert (motion.velocities[k, step // 7 - 1] - v).abs().max() < 1e-12


def test_exact_motions_keep_what_is_conserved(kept):
    for quantity in (kept.energy(), kept.momentum(), kept.angular_momentum()):
        assert torch.isfinite(quantity).all()
        assert (quantity - quantity[:, :1]).abs().max() < 1e-8
    assert not kept.clipped.any()


def test_all_published_lengths_are_kept_exactly():
    motion = charged(40, seed=7, integrator="exact")
    assert motion.positions.shape == (40, 49, 5, 3)
    for quantity in (motion.energy(), motion.momentum(), motion.angular_momentum()):
        assert (quantity - quantity[:, :1]).abs().max() < 1e-6
    near = torch.stack([torch.pdist(x) for x in motion.positions.flatten(0, 1)])
    assert near.min() > 0.02


def test_exact_motions_turn_with_their_start(kept):
    """Also under reflections, shifts and boosts of the whole system."""
    x, v = arrays(kept)
    g = E(3).sample(1, generator=seeded())[0].numpy()
    R, shift, boost = g[:3, :3], g[:3, 3, None, None], np.array([0.3, -0.2, 0.1])[:, None, None]
    times = kept.times.numpy()
    turned = exact(
        kept.forces, np.einsum("ij,jns->ins", R, x) + shift, np.einsum("ij,jns->ins", R, v) + boost, times=times,
        closest=0.0,
    )  # fmt: skip
    expected = np.einsum("ij,sfnj->fins", R, kept.positions.numpy()) + shift + boost * times[:, None, None, None]
    assert abs(turned.x - expected).max() < 1e-8


def test_clipped_motions_do_not_turn(published):
    x, v = arrays(published)
    some = published.clipped[:200].numpy()
    R = SO(3).sample(1, generator=seeded())[0].numpy()
    turned = leapfrog(
        published.forces[:200], *(np.einsum("ij,jns->ins", R, part[..., :200]) for part in (x, v)), steps=2001, dt=1e-3,
        every=2000,
    )  # fmt: skip
    expected = np.einsum("ij,snj->ins", R, published.positions[:200, 19].numpy())
    change = abs(turned.x[0] - expected).max((0, 1))
    assert change[~some].max() < 1e-6
    assert change[some].max() > 0.1


def test_the_two_integrators_agree_where_nothing_is_near():
    fine = springs(10, steps=10_001, dt=1e-4, every=1000, seed=2)
    same = springs(10, steps=10_001, dt=1e-4, every=1000, seed=2, integrator="exact")
    assert (fine.positions - same.positions).abs().max() < 1e-3
    assert torch.equal(fine.start[0], same.start[0])
    analytic = exact(PairForces("spring", np.ones((1, 1))), X2, np.zeros((3, 2, 1)), times=np.array([1.0]), closest=0.0)
    assert abs(analytic.x[0] - X2 * np.cos(np.sqrt(2))).max() < 1e-12


X2 = np.array([[[1.0], [-1.0]], [[0.0], [0.0]], [[0.5], [-0.5]]])


def test_circular_orbit_of_two_masses():
    """Two masses 1 at distance 2 turn with the period 2 pi sqrt(8 / 2)."""
    x = np.array([[[1.0], [-1.0]], [[0.0], [0.0]], [[0.0], [0.0]]])
    v = np.array([[[0.0], [0.0]], [[0.5], [-0.5]], [[0.0], [0.0]]])
    period = 4 * np.pi
    found = exact(PairForces("coulomb", -np.ones((1, 1))), x, v, times=np.array([period / 4, period]), closest=0.0)
    assert abs(found.x[1] - x).max() < 1e-10
    assert abs(found.x[0] - np.roll(x, 1, 0)).max() < 1e-10


def test_forces_are_the_slope_of_the_energy():
    generator = np.random.default_rng(0)
    x, s = generator.standard_normal((3, 5, 2)), generator.standard_normal((10, 2))
    for forces in (PairForces("coulomb", s), PairForces("coulomb", s, 0.3), PairForces("spring", s)):
        force, nearest = forces(x)
        for place in ((0, 0), (1, 3), (2, 4)):
            step = np.zeros_like(x)
            step[place] = 1e-5
            slope = (forces.energy(x + step) - forces.energy(x - step)) / 2e-5
            assert abs(force[place] + slope).max() < 1e-7 * max(1.0, abs(slope).max())
        assert abs(force.sum(1)).max() < 1e-12
        i, j, _ = pairs(5)
        assert abs(nearest - np.square(x[:, i] - x[:, j]).sum(0).min(0)).max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("integrator", ["published", "exact"])
def test_seeds_repeat_and_counts_do_not_matter(kind, integrator):
    make = KINDS[kind]
    some, more, again = (make(k, 3, steps=301, seed=4, integrator=integrator) for k in (6, 9, 6))
    assert torch.equal(some.positions, again.positions)
    assert torch.equal(some.velocities, again.velocities)
    assert (more.positions[:6] - some.positions).abs().max() < 1e-9
    assert torch.equal(more.strengths[:6], some.strengths)
    assert not torch.equal(make(6, 3, steps=301, seed=8, integrator=integrator).positions, some.positions)
    assert torch.equal(some.strengths, some.strengths.mT)
    assert some.positions.dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("integrator", ["published", "exact"])
@pytest.mark.parametrize(("systems", "n", "steps"), [(0, 5, 201), (1, 1, 201), (1, 2, 201), (2, 3, 100)])
def test_small_sizes(kind, integrator, systems, n, steps):
    motion = KINDS[kind](systems, n, steps=steps, seed=0, integrator=integrator)
    assert motion.positions.shape == motion.velocities.shape == (systems, (steps - 1) // 100, n, 3)
    assert motion.energy().shape == (systems, (steps - 1) // 100)
    assert len(motion) == systems
    assert torch.isfinite(motion.positions).all()


def test_audit_takes_the_data(kept):
    """A straight line is equivariant; one that forgets the velocities is too, one that points north is not."""
    inputs, target = kept.task(3, 6, dtype=torch.float64)
    assert target.shape == (30, 4, 3)

    def straight(x):
        return x["positions"] + 0.3 * x["velocities"]

    assert_equivariant(straight, rep_in=kept.rep_in, rep_out=kept.rep_out, data=inputs)
    with pytest.raises(AssertionError):
        assert_equivariant(lambda x: straight(x).abs(), rep_in=kept.rep_in, rep_out=kept.rep_out, data=inputs)


def test_bad_input(kept):
    with pytest.raises(ValueError, match=r"frames 0[.][.]9, asked for 30 and 40"):
        kept.task()
    with pytest.raises(ValueError, match=r"n, steps, every of at least 1, .* n=0"):
        charged(3, 0, seed=0)
    with pytest.raises(ValueError, match="n_systems=-1"):
        springs(-1, seed=0)
    with pytest.raises(ValueError, match="'published' or 'exact', got 'euler'"):
        gravity(1, seed=0, integrator="euler")
