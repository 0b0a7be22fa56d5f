"""Rigid motions of structures: a left action, the same for a batch as for its graphs, with edges that stay right."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from intertwine.data.atoms import AtomicBatch, AtomsAction, PotentialOutputAction, collate, from_ase, neighbor_list
from intertwine.groups import SE, SO, E, O, S

GROUPS = [E(3), SE(3), O(3), SO(3)]
groups = pytest.mark.parametrize("group", GROUPS, ids=str)


def silicon():
    atoms = bulk("Si") * (1, 2, 1)
    atoms.rattle(0.05, seed=0)
    rng = np.random.default_rng(0)
    results = {"energy": -10.0, "forces": rng.standard_normal((4, 3)), "stress": rng.standard_normal(6)}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def graphs(dtype=torch.float64):
    return [from_ase(a, cutoff=4.0, dtype=dtype) for a in (molecule("CH3CH2OH"), silicon(), Atoms("H"))]


def close(a, b, atol=1e-12):
    assert set(a) == set(b)
    for key in a:
        if isinstance(a[key], torch.Tensor) and a[key].is_floating_point():
            assert torch.allclose(a[key], b[key], atol=atol, rtol=0), key
        elif isinstance(a[key], torch.Tensor):
            assert torch.equal(a[key], b[key]), key
        else:
            assert a[key] == b[key], key


@groups
def test_it_is_a_left_action(group, generator):
    action, batch = AtomsAction(group), collate(graphs())
    g, h = group.sample(20, generator=generator), group.sample(20, generator=generator)
    for k in range(20):
        one, two = action(group.compose(g[k], h[k]), batch), action(g[k], action(h[k], batch))
        close(one.to_dict(), two.to_dict())
    close(action(group.identity(), batch).to_dict(), batch.to_dict())


@groups
def test_what_moves_and_how(group, generator):
    g = group.sample(1, generator=generator)[0]
    R = g[:3, :3]
    t = g[:3, 3] if g.shape[-1] == 4 else torch.zeros(3)
    graph = graphs()[1]
    moved = AtomsAction(group)(g, graph)
    assert torch.allclose(moved.pos, torch.stack([R @ p + t for p in graph.pos]), atol=1e-12, rtol=0)
    assert torch.allclose(moved.cell[0], torch.stack([R @ a for a in graph.cell[0]]), atol=1e-12, rtol=0)
    assert torch.allclose(moved.forces, torch.stack([R @ f for f in graph.forces]), atol=1e-12, rtol=0)
    assert torch.allclose(moved.stress[0], R @ graph.stress[0] @ R.T, atol=1e-12, rtol=0)
    assert moved.edge_index is graph.edge_index
    assert moved.energy is graph.energy
    assert torch.equal(graph.pos, torch.tensor(silicon().positions))  # the original stays


@groups
def test_the_edges_of_a_moved_structure_are_its_own(group, generator):
    """Shifts count images, so the moved graph's edges are what a neighbour list of the moved atoms finds."""
    for graph in graphs():
        moved = AtomsAction(group)(group.sample(1, generator=generator)[0], graph)
        index, shift = neighbor_list(moved.pos, moved.cell[0], moved.pbc[0], 4.0)
        assert torch.equal(index, moved.edge_index)
        assert torch.equal(shift, moved.edge_shift)


@groups
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_element_per_graph(group, dtype, generator):
    action, parts = AtomsAction(group), graphs(dtype)
    g = group.sample(3, generator=generator)
    moved = action(g, action.collate(parts))
    assert isinstance(moved, AtomicBatch)
    assert moved.pos.dtype == dtype
    for k, alone in enumerate(action.uncollate(moved)):
        close(alone.to_dict(), action(g[k], parts[k]).to_dict(), atol=1e-12 if dtype == torch.float64 else 1e-5)


def test_a_single_graph_takes_one_element_with_or_without_an_axis(generator):
    action, graph = AtomsAction(E(3)), graphs()[0]
    g = E(3).sample(1, generator=generator)
    close(action(g, graph).to_dict(), action(g[0], graph).to_dict())
    assert action.uncollate(graph) == [graph]


def test_a_wrong_number_of_elements_is_named(generator):
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        AtomsAction(E(3))(E(3).sample(2, generator=generator), collate(graphs()))


def test_gradients_pass(generator):
    graph = graphs()[1]
    graph.pos.requires_grad_()
    g = E(3).sample(1, generator=generator)[0]
    weight = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    (AtomsAction(E(3))(g, graph).pos * weight).sum().backward()
    assert torch.allclose(graph.pos.grad, weight @ g[:3, :3], atol=1e-12, rtol=0)


def test_unknown_fields_are_refused_and_can_be_named():
    graph = graphs()[0]
    graph.dipole = torch.ones(1, 3)
    with pytest.raises(ValueError, match="how dipole moves is not known"):
        AtomsAction(E(3))(E(3).identity(), graph)
    assert AtomsAction(E(3), invariant=("dipole",))(E(3).identity(), graph).dipole is graph.dipole


@pytest.mark.parametrize("action", [AtomsAction, PotentialOutputAction])
@pytest.mark.parametrize("group", [E(2), O(4), S(3)], ids=str)
def test_other_groups_do_not_move_structures(action, group):
    with pytest.raises(ValueError, match=f"not {group}".replace("(", r"\(").replace(")", r"\)")):
        action(group)


def test_actions_print_their_group():
    assert repr(AtomsAction(SE(3))) == "AtomsAction(SE(3))"
    assert repr(PotentialOutputAction(O(3))) == "PotentialOutputAction(O(3))"


# --- what a potential returns ------------------------------------------------------------


def output(generator, with_batch=True):
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    out = {"energy": draw(3), "atom_energy": draw(14), "forces": draw(14, 3), "stress": draw(3, 3, 3)}
    return out | ({"batch": collate(graphs()).batch} if with_batch else {})


@groups
def test_an_output_moves_like_the_labels(group, generator):
    """The output action on (energy, forces, stress) is the action on the labels of the structures."""
    batch = collate(graphs())
    names = ("energy", "forces", "stress")
    for g in (group.sample(1, generator=generator)[0], group.sample(3, generator=generator)):
        moved = AtomsAction(group)(g, batch)
        out = PotentialOutputAction(group)(g, {**{k: batch[k] for k in names}, "batch": batch.batch})
        close({k: out[k] for k in names}, {k: moved[k] for k in names}, atol=0)


@groups
def test_outputs_are_moved_by_a_left_action(group, generator):
    action, x = PotentialOutputAction(group), output(generator)
    for many in (False, True):
        g, h = group.sample(3, generator=generator), group.sample(3, generator=generator)
        g, h = (g, h) if many else (g[0], h[0])
        close(action(group.compose(g, h), x), action(g, action(h, x)))


def test_outputs_come_apart_and_together(generator):
    action, x = PotentialOutputAction(E(3)), output(generator)
    parts = action.uncollate(x)
    assert [len(part["forces"]) for part in parts] == [9, 4, 1]
    assert [part["energy"].shape for part in parts] == [(1,)] * 3
    close(action.collate(parts), x)


def test_an_output_without_batch_takes_one_element(generator):
    action, x = PotentialOutputAction(E(3)), output(generator, with_batch=False)
    g = E(3).sample(3, generator=generator)
    close(action(g[0], x), {k: v for k, v in action(g[0], output(torch.Generator().manual_seed(0))).items() if k in x})
    with pytest.raises(ValueError, match="3 elements for 14 atoms; add the key 'batch'"):
        action(g, x)
    with pytest.raises(ValueError, match="3 graphs without 'batch'"):
        action.uncollate(x)


def test_unknown_outputs_are_refused(generator):
    x = {**output(generator), "dipole": torch.ones(3, 3)}
    with pytest.raises(ValueError, match="dipole"):
        PotentialOutputAction(E(3))(E(3).identity(), x)
    assert "dipole" in PotentialOutputAction(E(3), invariant=("dipole",))(E(3).identity(), x)


def test_a_wrong_number_of_elements_for_an_output(generator):
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        PotentialOutputAction(E(3))(E(3).sample(2, generator=generator), output(generator))
