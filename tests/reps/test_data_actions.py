import pytest
import torch

from intertwine.groups import SE, SO, A, Cyclic, Dihedral, E, O, S
from intertwine.reps import Invariant, Nested, Permute, Points, Rows, Tensors, Vectors

ACTIONS = [
    (Points(E(3)), (4, 7, 3)),
    (Points(SE(2)), (4, 7, 2)),
    (Points(O(3)), (4, 7, 3)),
    (Points(SO(2)), (4, 2, 7, 2)),
    (Vectors(E(3)), (4, 3)),
    (Vectors(SO(3)), (4, 7, 3)),
    (Rows(E(3)), (4, 3, 3)),
    (Tensors(E(3)), (4, 3, 3)),
    (Tensors(O(2), rank=3), (4, 5, 2, 2, 2)),
    (Permute(S(5)), (4, 5, 3)),
    (Permute(A(5), axes=(1, 2)), (4, 5, 5, 2)),
    (Permute(Cyclic(6), axes=(-1,)), (4, 2, 6)),
    (Permute(Dihedral(6)), (4, 6)),
    (Invariant(SO(3)), (4, 2)),
]


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("action", "shape"), ACTIONS, ids=lambda value: str(value))
def test_left_action_on_twenty_pairs(action, shape, generator):
    x = torch.randn(*shape, generator=generator, dtype=torch.float64)
    group = action.group
    close(action(group.identity(), x), x)
    g, h = group.sample(20, generator=generator), group.sample(20, generator=generator)
    for k in range(20):
        gk, hk = group.take(g, k), group.take(h, k)
        close(action(group.compose(gk, hk), x), action(gk, action(hk, x)))
        close(action(group.inverse(gk), action(gk, x)), x)


@pytest.mark.parametrize(("action", "shape"), ACTIONS, ids=lambda value: str(value))
def test_one_element_per_sample_is_each_sample_with_its_own(action, shape, generator):
    x = torch.randn(*shape, generator=generator, dtype=torch.float64)
    g = action.group.sample(shape[0], generator=generator)
    together = action(g, x)
    for i in range(shape[0]):
        close(together[i : i + 1], action(action.group.take(g, i), x[i : i + 1]))


@pytest.mark.parametrize(("action", "shape"), ACTIONS[:-1], ids=lambda value: str(value))
def test_a_batch_that_does_not_fit_names_both_shapes(action, shape, generator):
    with pytest.raises(ValueError, match=r"\(3,\).*\(4"):
        action(action.group.sample(3, generator=generator), torch.zeros(shape))


@pytest.mark.parametrize(("action", "shape"), ACTIONS, ids=lambda value: str(value))
def test_dtype_follows_the_data(action, shape, generator):
    x = torch.zeros(shape, dtype=torch.float32)
    assert action(action.group.sample(4, generator=generator), x).dtype == torch.float32


def test_points_and_vectors_agree_with_the_formula(generator):
    group = E(3)
    g = group.sample(1, generator=generator)[0]
    R, t = g[:3, :3], g[:3, 3]
    x = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    close(Points(group)(g, x)[1, 4], R @ x[1, 4] + t)
    close(Vectors(group)(g, x)[1, 4], R @ x[1, 4])
    stress = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    close(Tensors(group)(g, stress)[1], R @ stress[1] @ R.T)


def test_permute_moves_entry_i_to_place_p_i():
    x = torch.arange(12.0).reshape(2, 3, 2)
    p = torch.tensor([2, 0, 1])
    moved = Permute(S(3))(p, x)
    for i in range(3):
        assert torch.equal(moved[:, p[i]], x[:, i])
    adjacency = torch.arange(9.0).reshape(1, 3, 3)
    moved = Permute(S(3), axes=(1, 2))(p, adjacency)
    assert moved[0, p[0], p[1]] == adjacency[0, 0, 1]
    V = S(3).V
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(V.act(p, x), Permute(S(3))(p, x))


MOLECULE = Nested(
    {"pos": Points(E(3)), "z": Invariant(), "cell": Rows(O(3)), "x": Nested((Vectors(E(3)), Invariant()))}
)


def molecules(k, generator):
    return [
        {
            "pos": torch.randn(5, 3, generator=generator, dtype=torch.float64),
            "z": torch.arange(5),
            "cell": torch.eye(3, dtype=torch.float64),
            "x": (torch.randn(3, generator=generator, dtype=torch.float64), torch.tensor(1.0)),
        }
        for _ in range(k)
    ]


def test_nested_acts_key_by_key_and_knows_its_batches(generator):
    samples = molecules(3, generator)
    batch = MOLECULE.collate(samples)
    assert batch["pos"].shape == (3, 5, 3)
    g = E(3).sample(3, generator=generator)
    moved = MOLECULE.uncollate(MOLECULE(g, batch))
    assert len(moved) == 3
    for i, (sample, new) in enumerate(zip(samples, moved)):
        R = g[i, :3, :3]
        close(new["pos"], sample["pos"] @ R.T + g[i, :3, 3])
        close(new["cell"], sample["cell"] @ R.T)
        close(new["x"][0], R @ sample["x"][0])
        assert torch.equal(new["z"], sample["z"])
        assert new["x"][1] == 1
    assert MOLECULE.group == E(3)


def test_nested_refuses_what_it_does_not_know(generator):
    batch = MOLECULE.collate(molecules(2, generator))
    g = E(3).identity()
    with pytest.raises(ValueError, match=r"not named: \['velocity'\]"):
        MOLECULE(g, {**batch, "velocity": torch.zeros(2, 5, 3)})
    with pytest.raises(ValueError, match=r"not in the data: \['z'\]"):
        MOLECULE(g, {key: value for key, value in batch.items() if key != "z"})
    with pytest.raises(ValueError, match="different numbers of samples"):
        MOLECULE.uncollate({**batch, "pos": batch["pos"][:1]})
    with pytest.raises(ValueError, match=r"'b' belongs to SO\(2\), the others to O\(3\)"):
        Nested({"a": Vectors(O(3)), "b": Vectors(SO(2))})
    with pytest.raises(ValueError, match="at least one part must name its group"):
        Nested({"a": Invariant()})
    with pytest.raises(ValueError, match="at least one part"):
        Nested({})


def test_errors_at_construction_and_on_wrong_shapes(generator):
    with pytest.raises(ValueError, match=r"Points: S\(3\) is no matrix group"):
        Points(S(3))
    with pytest.raises(ValueError, match=r"O\(3\) does not permute"):
        Permute(O(3))
    with pytest.raises(ValueError, match="not the batch axis"):
        Permute(S(3), axes=(0,))
    with pytest.raises(ValueError, match="rank must be"):
        Tensors(O(3), rank=0)
    with pytest.raises(ValueError, match=r"last axis of the data \(4, 2\) must be 3"):
        Points(O(3))(O(3).identity(), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="last 2 axes must be 3"):
        Tensors(O(3))(O(3).identity(), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="rows need two axes"):
        Rows(O(3))(O(3).identity(), torch.zeros(3))
    with pytest.raises(ValueError, match="must have size 5"):
        Permute(S(5))(S(5).identity(), torch.zeros(4, 6))
