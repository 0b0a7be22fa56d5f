import pytest
import torch

from intertwine.so3 import orientation_grid
from solid_rotations import solid_rotations

# Energies of the best known arrangements of k charges on the sphere (Thomson's problem).
THOMSON = {2: 0.5, 4: 3.674234614, 6: 9.985281374, 12: 49.165253058, 16: 92.911655302, 20: 150.881568334}


def energy(o: torch.Tensor) -> float:
    return (1 / torch.pdist(o)).sum().item()


@pytest.mark.parametrize("kind", ["repulsion", "fibonacci", "platonic"])
@pytest.mark.parametrize("n", [2, 3])
def test_directions_are_distinct_unit_vectors(n, kind):
    for k in (4, 6, 8, 12, 20):
        o = orientation_grid(n, k, kind=kind)
        assert o.shape == (k, n) and o.dtype == torch.float64
        assert (o.norm(dim=1) - 1).abs().max() < 1e-14
        assert torch.pdist(o).min() > 0.2
        assert o.mean(0).norm() < (0.6 / k if kind == "fibonacci" else 1e-6)


@pytest.mark.parametrize("k", sorted(THOMSON))
def test_repulsion_finds_the_best_known_energy(k):
    assert abs(energy(orientation_grid(3, k)) - THOMSON[k]) < 1e-7


def test_the_seed_decides():
    a, b = orientation_grid(3, 16), orientation_grid(3, 16, seed=1)
    assert torch.equal(a, orientation_grid(3, 16, seed=0)) and (a - b).abs().max() > 0.1
    a.zero_()  # a copy: what the caller does with it stays with the caller
    assert orientation_grid(3, 16).abs().max() > 0.1


def test_one_direction():
    for n in (2, 3):
        assert abs(orientation_grid(n, 1).norm().item() - 1) < 1e-14


@pytest.mark.parametrize("k, rotations", [(4, 12), (6, 24), (8, 24), (12, 60), (20, 60)])
def test_solids_have_their_rotations(k, rotations):
    assert len(solid_rotations(k)) == rotations


def test_bad_input_is_named():
    for bad in ({"n": 4}, {"k": 0}, {"kind": "random"}):
        with pytest.raises(ValueError, match="orientation_grid"):
            orientation_grid(**({"n": 3, "k": 4} | bad))
    with pytest.raises(ValueError, match="no platonic solid has 10 corners"):
        orientation_grid(3, 10, kind="platonic")
