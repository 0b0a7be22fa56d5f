"""Matrices to blocks and back: nothing is lost, whatever is in the batch, and blocks turn as matrices do."""

import pytest
import torch

from intertwine.data.atoms import Basis, BlockLayout, Blocks, BlocksAction
from intertwine.groups import SE, E, S
from intertwine.nn import full_graph

BASIS = Basis({"H": [0, 0, 1], "C": [0, 1, 0], "Fe": [2, 0, 1]})
MOLECULES = {
    "one atom": [6],
    "one molecule": [1, 6, 1],
    "several": [[1, 6], [26], [6, 1, 1, 26]],
    "none": [],
}


def molecules(name) -> tuple[torch.Tensor, torch.Tensor]:
    """z and batch."""
    parts = MOLECULES[name]
    parts = parts if name == "several" else [parts]
    z = torch.tensor([n for part in parts for n in part], dtype=torch.int64)
    return z, torch.tensor([i for i, part in enumerate(parts) for _ in part], dtype=torch.int64)


@pytest.mark.parametrize("name", MOLECULES)
def test_there_and_back(name, generator):
    layout = BlockLayout(BASIS)
    z, batch = molecules(name)
    sizes = [layout.nao(z[batch == i]) for i in batch.unique()]
    matrices = [torch.randn(n, n, generator=generator, dtype=torch.float64) for n in sizes]
    blocks = layout.unpack(matrices, z, batch)
    pairs = full_graph(len(z), batch)
    assert blocks.diagonal.shape == (len(z), layout.width, layout.width)
    assert blocks.pairs.shape == (pairs.shape[1], layout.width, layout.width)
    again = layout.pack(blocks, z, batch)
    assert len(again) == len(matrices)
    for a, b in zip(again, matrices):
        assert torch.equal(a, b)
    # The mask names exactly the entries that a matrix fills.
    mask = layout.mask(z, batch)
    assert all(bool((part[~m] == 0).all()) for part, m in zip(blocks, mask))
    assert sum(int(m.sum()) for m in mask) == sum(n * n for n in sizes)


def test_rows_are_the_target_of_a_pair():
    layout = BlockLayout(Basis({"H": [0], "O": [0]}))
    z = torch.tensor([1, 8, 1])
    matrix = torch.arange(9.0).view(3, 3)
    blocks = layout.unpack(matrix, z)
    source, target = full_graph(3)
    assert torch.equal(blocks.pairs[:, 0, 0], matrix[target, source])
    assert torch.equal(blocks.diagonal[:, 0, 0], matrix.diagonal())


@pytest.mark.parametrize("group", [E(3), SE(3)], ids=str)
def test_blocks_turn_as_the_matrix_does(group, generator):
    layout = BlockLayout(BASIS)
    z = torch.tensor([26, 1, 6])
    orbitals = BASIS.irreps(z.tolist())
    matrix = torch.randn(orbitals.dim, orbitals.dim, generator=generator, dtype=torch.float64)
    action = BlocksAction(BASIS, group)
    for g in group.sample(3, generator=generator):
        D = orbitals.matrix(group.linear_part(g))
        (turned,) = layout.pack(action(g, layout.unpack(matrix, z)), z)
        torch.testing.assert_close(turned, D @ matrix @ D.mT, rtol=0, atol=1e-10)


def test_one_element_for_each_molecule(generator):
    layout, action = BlockLayout(BASIS), BlocksAction(BASIS, E(3))
    z = torch.tensor([6, 1])
    matrices = [torch.randn(10, 10, generator=generator, dtype=torch.float64) for _ in range(2)]
    samples = [layout.unpack(matrix, z) for matrix in matrices]
    g = E(3).sample(2, generator=generator)
    together = action(g, action.collate(samples))
    for k, sample in enumerate(samples):
        alone = action(g[k], sample)
        torch.testing.assert_close(together.diagonal[2 * k : 2 * k + 2], alone.diagonal)
        torch.testing.assert_close(together.pairs[2 * k : 2 * k + 2], alone.pairs)
    assert action.uncollate(together) == [together]
    with pytest.raises(ValueError, match="3 elements for 4 atoms"):
        action(E(3).sample(3, generator=generator), together)
    with pytest.raises(ValueError, match=r"not S\(3\)"):
        BlocksAction(BASIS, S(3))


def test_bad_input_is_named():
    layout = BlockLayout(BASIS)
    with pytest.raises(ValueError, match="no shells for O; it knows H, C, Fe"):
        layout.nao(torch.tensor([8]))
    with pytest.raises(ValueError, match=r"has 10 orbitals in this basis, its matrix has shape \(3, 3\)"):
        layout.unpack(torch.zeros(3, 3), torch.tensor([1, 6]))
    with pytest.raises(ValueError, match="1 matrices for 2 molecules"):
        layout.unpack(torch.zeros(5, 5), torch.tensor([1, 6]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="must stand together"):
        layout.pack(Blocks(torch.zeros(3, 9, 9), torch.zeros(2, 9, 9)), torch.ones(3).long(), torch.tensor([0, 1, 0]))
