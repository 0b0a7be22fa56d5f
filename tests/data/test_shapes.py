"""The tetris pieces: four cells each, connected, and one pair that only a mirror maps to each other."""

import itertools

import torch
from torch.testing import assert_close

from intertwine.data import tetris


def congruent(a: torch.Tensor, b: torch.Tensor, mirror: bool) -> bool:
    """Whether some order of the points and a turn (or a mirrored turn) take a to b."""
    a, b = (x - x.mean(0) for x in (a, b))
    for order in itertools.permutations(range(4)):
        U, _, V = torch.linalg.svd(b[list(order)].T @ a)
        R = U @ V
        if torch.linalg.det(R) * (-1 if mirror else 1) < 0:
            flip = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=a.dtype))
            R = U @ flip @ V
        if (a @ R.T - b[list(order)]).abs().max() < 1e-9:
            return True
    return False


def test_pieces():
    names, pos, adjacency = tetris()
    assert len(names) == 8 and pos.shape == (8, 4, 3) and pos.dtype == torch.float64
    assert_close(pos, pos.round())
    assert torch.equal(adjacency, adjacency.mT) and not adjacency.diagonal(dim1=1, dim2=2).any()
    assert adjacency.sum((1, 2)).tolist() == [6, 6, 8, 6, 6, 6, 6, 6]  # both ways; the square closes
    reached = torch.linalg.matrix_power((adjacency + torch.eye(4)).double(), 3)
    assert (reached > 0).all()


def test_only_the_first_two_are_mirror_images():
    pos = tetris().pos
    for i, j in itertools.combinations(range(8), 2):
        assert not congruent(pos[i], pos[j], mirror=False)
        assert congruent(pos[i], pos[j], mirror=True) == ((i, j) == (0, 1))
