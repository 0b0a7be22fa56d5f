"""Lattices join and come apart, move rigidly, and keep their density and material on larger cells."""

import pytest
import torch

from intertwine.data.atoms import LatticeAction, collate_lattices, homogenize, lattice, random_lattice
from intertwine.groups import SE, SO, E, O
from intertwine.so3 import Mandel


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_join_and_split(generator):
    ones = [lattice("kelvin", 0.01), random_lattice(3, generator=generator), lattice("sc", 0.05)]
    together = collate_lattices(ones)
    assert together.cell.shape == (3, 3, 3)
    assert all(same(a, b) for a, b in zip(ones, together.split(), strict=True))
    assert same(collate_lattices([collate_lattices(ones[:2]), ones[2]]), together)
    assert torch.allclose(together.relative_density, torch.tensor([0.01, 0.02, 0.05], dtype=torch.float64))
    with pytest.raises(ValueError, match="no lattices"):
        collate_lattices([])


def test_density():
    kelvin = lattice("kelvin").with_density(0.03)
    assert torch.allclose(kelvin.relative_density, torch.tensor([0.03], dtype=torch.float64), rtol=1e-14)
    both = collate_lattices([kelvin, kelvin]).with_density(torch.tensor([0.01, 0.02]))
    assert torch.allclose(both.relative_density, torch.tensor([0.01, 0.02], dtype=torch.float64))
    for wrong in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            kelvin.with_density(wrong)


@pytest.mark.parametrize("group", [O(3), SO(3), E(3), SE(3)], ids=str)
def test_the_stiffness_turns_with_the_lattice(group, generator):
    """One element for all, and one for each."""
    lattices = collate_lattices([random_lattice(k, generator=generator) for k in (3, 4, 5)])
    move = LatticeAction(group)
    C = homogenize(lattices)
    for g in (group.sample(1, generator=generator)[0], group.sample(3, generator=generator)):
        turned = homogenize(move(g, lattices))
        assert (turned - Mandel(group)(g, C)).abs().max() < 1e-13 * C.abs().max()
    assert all(same(a, b) for a, b in zip(move.uncollate(lattices), lattices.split(), strict=True))
    assert same(move.collate(lattices.split()), lattices)
    with pytest.raises(ValueError, match="batch shape"):
        move(group.sample(2, generator=generator), lattices)


def test_only_rigid_motions():
    with pytest.raises(ValueError, match="LatticeAction"):
        LatticeAction(O(2))


@pytest.mark.parametrize("counts", [(2, 1, 1), (1, 2, 3)])
def test_a_larger_cell_is_the_same_material(counts, generator):
    lattices = collate_lattices([random_lattice(4, generator=generator), lattice("diamond")])
    larger = lattices.supercell(counts)
    copies = counts[0] * counts[1] * counts[2]
    assert len(larger.pos) == copies * len(lattices.pos) and larger.bars.shape[1] == copies * lattices.bars.shape[1]
    assert torch.allclose(larger.relative_density, lattices.relative_density)
    C = homogenize(lattices)
    assert (homogenize(larger) - C).abs().max() < 1e-10 * C.abs().max()
    with pytest.raises(ValueError, match="at least 1"):
        lattices.supercell((0, 1, 1))
