import copy
import math
from itertools import pairwise

import pytest
import torch

from intertwine.models.points import LiftedGraph, Ponita, lift_graph
from intertwine.nn import full_graph
from intertwine.reps import Action
from intertwine.so3 import random_rotation
from solid_rotations import solid_rotations

BATCH = torch.tensor([0, 0, 0, 0, 1, 1, 2])
SMALL = {"hidden": 6, "out_scalars": 2, "layers": 2, "basis_dim": 5, "widening": 2}
EXACT = [(2, 0, False), (2, -1, False), (2, -1, True), (3, 0, False), (3, -1, False), (3, -1, True)]
BUNDLES = [(2, 5, False), (2, 5, True), (3, 4, False), (3, 8, False), (3, 12, False), (3, 20, False)]


def network(generator: torch.Generator, dim: int, orientations: int, complete: bool = False, **options) -> Ponita:
    """A small network in float64, in evaluation, with kernels that were calibrated by a random batch."""
    vectors = 0 if orientations == 0 else 2
    made = {"in_vectors": vectors, "out_vectors": vectors // 2, "grid": "platonic", "task": "node", **SMALL} | options
    model = Ponita(3, dim=dim, orientations=orientations, complete=complete, generator=generator, **made).double()
    model(*points(generator, dim, made["in_vectors"]), batch=BATCH)
    return model.eval()


def points(generator: torch.Generator, dim: int, vectors: int) -> tuple[torch.Tensor | None, ...]:
    """Positions, three scalars and some vectors of seven nodes."""
    made = [
        torch.randn(7, *shape, generator=generator, dtype=torch.float64) for shape in ((dim,), (3,), (vectors, dim))
    ]
    return (*made[:2], made[2] if vectors else None)


def change(model: Ponita, data: tuple, R: torch.Tensor, shift: float = 0.0, **options) -> float:
    """The largest difference between moving the inputs and moving the outputs."""
    pos, scalars, vectors = data
    before = model(*data, **options)
    after = model(pos @ R.T + shift, scalars, None if vectors is None else vectors @ R.T, **options)
    turned = torch.cat([after.scalars, after.vectors.flatten(1)], 1)
    return (turned - torch.cat([before.scalars, (before.vectors @ R.T).flatten(1)], 1)).abs().max().item()


def gradient(model: Ponita, data: tuple) -> torch.Tensor:
    """Of a scalar of all outputs that motions leave alone, with respect to positions."""
    pos = data[0].clone().requires_grad_()
    out = model(pos, *data[1:], batch=BATCH)
    total = out.scalars.sin().sum() + out.vectors.square().sum()
    return torch.autograd.grad(total, pos)[0]


def rotations(dim: int, count: int, generator: torch.Generator) -> torch.Tensor:
    if dim == 3:
        return random_rotation(count, generator=generator)
    angle = 2 * math.pi * torch.rand(count, generator=generator, dtype=torch.float64)
    return torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).unflatten(-1, (2, 2))


def symmetries(dim: int, k: int) -> torch.Tensor:
    """The rotations that permute the grid of directions."""
    if dim == 3:
        return solid_rotations(k)
    angle = 2 * math.pi * torch.arange(k, dtype=torch.float64) / k
    return torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).unflatten(-1, (2, 2))


@pytest.mark.parametrize("radius", [None, 2.0])
@pytest.mark.parametrize("dim, k, complete", EXACT)
def test_points_and_lifted_graphs_are_exactly_equivariant(dim, k, complete, radius, generator):
    model = network(generator, dim, k, complete, radius=radius)
    data = points(generator, dim, model.in_vectors)
    slope = gradient(model, data)
    for R in rotations(dim, 4, generator):
        assert change(model, data, R, 0.7, batch=BATCH) < 1e-10
        turned = (data[0] @ R.T, data[1], None if data[2] is None else data[2] @ R.T)
        assert (gradient(model, turned) - slope @ R.T).abs().max() < 1e-10
    assert model(*data, batch=BATCH).scalars.std() > 1e-3


@pytest.mark.parametrize("radius", [None, 2.0])
@pytest.mark.parametrize("dim, k, complete", BUNDLES)
def test_bundles_are_exactly_equivariant_under_the_rotations_of_their_grid(dim, k, complete, radius, generator):
    model = network(generator, dim, k, complete, radius=radius)
    data = points(generator, dim, model.in_vectors)
    slope = gradient(model, data)
    allowed = symmetries(dim, k)
    for R in allowed[torch.randperm(len(allowed), generator=generator)[:6]]:
        assert change(model, data, R, 0.7, batch=BATCH) < 1e-10
        turned = (data[0] @ R.T, data[1], data[2] @ R.T)
        assert (gradient(model, turned) - slope @ R.T).abs().max() < 1e-10
    others = rotations(dim, 3, generator)
    assert max(change(model, data, R, batch=BATCH) for R in others) > 1e-6  # the check above can fail


def test_the_error_of_other_rotations_falls_with_the_number_of_directions(generator):
    errors = []
    for k in (4, 8, 16, 32, 64):
        model = network(generator.manual_seed(1), 3, k, grid="repulsion")
        data = points(generator, 3, 2)
        errors.append(sum(change(model, data, R, batch=BATCH) for R in rotations(3, 10, generator)) / 10)
    assert all(later < earlier for earlier, later in pairwise(errors)), errors
    assert errors[-1] < errors[0] / 20, errors


@pytest.mark.parametrize("dim, k", [(3, 0), (3, 6), (3, 8), (3, 12), (3, 20), (3, -1), (2, 0)])
def test_reflections_of_what_has_no_determinant(dim, k, generator):
    model = network(generator, dim, k)
    data = points(generator, dim, model.in_vectors)
    assert change(model, data, -torch.eye(dim, dtype=torch.float64), batch=BATCH) < 1e-10 or dim == 2
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0][:dim], dtype=torch.float64))
    assert change(model, data, mirror, batch=BATCH) < 1e-10


def test_reflections_of_what_has_one(generator):
    for dim, k, complete in ((3, -1, True), (2, -1, False), (2, 4, False)):
        model = network(generator, dim, k, complete)
        mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0][:dim], dtype=torch.float64))
        assert change(model, points(generator, dim, 2), mirror, batch=BATCH) > 1e-6


@pytest.mark.parametrize("dim, k, complete", [*EXACT, *BUNDLES[:4]])
def test_translations_and_the_order_of_nodes_do_not_matter(dim, k, complete, generator):
    model = network(generator, dim, k, complete)
    data = points(generator, dim, model.in_vectors)
    assert change(model, data, torch.eye(dim, dtype=torch.float64), 3.1, batch=BATCH) < 1e-10
    order = torch.randperm(7, generator=generator)
    shuffled = model(*[None if x is None else x[order] for x in data], batch=BATCH[order])
    plain = model(*data, batch=BATCH)
    for a, b in zip(shuffled, plain):
        assert torch.allclose(a, b[order], rtol=0, atol=1e-10)


def test_kernels_that_see_no_direction_make_the_bundle_the_network_on_points(generator):
    """(Δ·o)² + |Δ_⊥|² = |Δ|²: kernels of this sum, and fibre kernels of one value, leave nothing to o."""
    bundle = network(generator, 3, 12, in_vectors=0, out_vectors=0, degree=2)
    flat = network(generator, 3, 0, degree=2)
    shared = {n: v for n, v in bundle.state_dict().items() if n in flat.state_dict() and "basis.first" not in n}
    flat.load_state_dict(shared, strict=False)
    weight = torch.randn(6, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        bundle.basis.first.weight.zero_()
        bundle.basis.first.weight[:, [2, 5]] = weight[:, None]  # of (a, b, aa, ab, ba, bb)
        flat.basis.first.weight.zero_()
        flat.basis.first.weight[:, 1] = weight
        flat.basis.first.bias.copy_(bundle.basis.first.bias)
        bundle.fiber_basis.first.weight.zero_()
        value = bundle.fiber_basis(torch.zeros(1, 1).double())[0]
        for block in bundle.blocks:
            block.conv.fiber_kernel.weight.copy_(value.expand(6, -1) / value.square().sum())
            block.conv.fiber_calibration.scale.fill_(1)
    data = points(generator, 3, 0)
    a, b = bundle(*data, batch=BATCH).scalars, flat(*data, batch=BATCH).scalars
    assert a.std() > 1e-3 and (a - b).abs().max() < 1e-10


@pytest.mark.parametrize("dim, k, complete", [*EXACT, (2, 4, True), (3, 6, False)])
def test_second_derivatives_with_loops_and_coincident_points(dim, k, complete, generator):
    """Force training: a loss of gradients. Lattice points lie along the directions of the grid."""
    model = network(generator, dim, k, complete, task="graph")
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 2, 0], [1, 1, 1], [2, 0, 0], [3, 1, 0]])[:, :dim]
    pos = pos.double().requires_grad_()
    data = points(generator, dim, model.in_vectors)
    energy = model(pos, *data[1:], batch=BATCH).scalars.sum()
    (force,) = torch.autograd.grad(energy, pos, create_graph=True)
    slopes = torch.autograd.grad(force.square().sum(), [pos, *model.parameters()], allow_unused=True)
    assert all(slope.isfinite().all() for slope in slopes if slope is not None)
    assert max(slope.abs().max() for slope in slopes if slope is not None) < 1e6


@pytest.mark.parametrize("dim, k, complete", [(3, 0, False), (3, -1, True), (2, 5, True), (3, 8, False)])
def test_derivatives_of_both_orders_are_those_of_finite_differences(dim, k, complete, generator):
    model = network(generator, dim, k, complete, task="graph", radius=3.0)
    pos, scalars, vectors = (None if x is None else x[:3] for x in points(generator, dim, model.in_vectors))

    def energy(pos: torch.Tensor) -> torch.Tensor:
        return model(pos, scalars, vectors).scalars.sum()

    pos.requires_grad_()
    assert torch.autograd.gradcheck(energy, pos) and torch.autograd.gradgradcheck(energy, pos)


@pytest.mark.parametrize("dim, k, complete", [*EXACT, (2, 5, True), (3, 8, False)])
def test_a_batch_is_its_graphs_one_by_one(dim, k, complete, generator):
    for task in ("node", "graph"):
        model = network(generator, dim, k, complete, task=task)
        data = points(generator, dim, model.in_vectors)
        together = model(*data, batch=BATCH)
        alone = [model(*[None if x is None else x[g == BATCH] for x in data]) for g in range(3)]
        for a, b in zip(together, zip(*alone)):
            assert torch.allclose(a, torch.cat(b), atol=1e-10)
        more = model(*data, batch=BATCH, **({"n_graphs": 5} if task == "graph" else {}))
        assert more.scalars.shape == ((5 if task == "graph" else 7), 2)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_no_nodes(k, generator):
    for task, rows in (("node", 0), ("graph", 0)):
        model = network(generator, 3, k, task=task)
        data = [None if x is None else x[:0] for x in points(generator, 3, model.in_vectors)]
        out = model(*data, batch=BATCH[:0])
        assert out.scalars.shape == (rows, 2) and out.vectors.shape == (rows, model.out_vectors, 3)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_dtype_follows_and_float32_keeps_five_digits(k, generator):
    model = network(generator, 3, k)
    data = points(generator, 3, model.in_vectors)
    exact = model(*data, batch=BATCH)
    single = copy.deepcopy(model).float()(*[None if x is None else x.float() for x in data], batch=BATCH)
    for a, b in zip(exact, single):
        assert b.dtype == torch.float32 and torch.allclose(a, b.double(), atol=1e-4)


def test_graphs_made_beforehand(generator):
    model = network(generator, 3, -1)
    data = points(generator, 3, 2)
    edge_index = full_graph(7, BATCH)
    plain = model(*data, batch=BATCH)
    for given in (edge_index, lift_graph(edge_index, 7)):
        assert torch.equal(model(*data, given, BATCH).scalars, plain.scalars)
    with pytest.raises(ValueError, match="takes an edge_index, not a lifted graph"):
        network(generator, 3, 4)(*data, LiftedGraph(edge_index, edge_index))


def test_a_node_without_edges_keeps_its_place(generator):
    for k in (0, -1, 4):
        model = network(generator, 3, k)
        data = points(generator, 3, model.in_vectors)
        out = model(*data, torch.tensor([[0, 1, 2], [1, 0, 0]]))
        assert all(x.isfinite().all() for x in out)


def test_the_first_training_batch_calibrates_all_kernels_and_a_checkpoint_keeps_them(generator):
    model = network(generator, 3, 6)
    fresh = Ponita(3, 2, dim=3, orientations=6, out_vectors=1, grid="platonic", task="node", **SMALL).double()
    state = model.state_dict()
    assert {n.rpartition(".")[2] for n in set(state) - {n for n, _ in model.named_parameters()}} == {
        "scale",
        "calibrated",
    }
    assert all(state[name] for name in state if name.endswith("calibrated"))
    assert not any(value for name, value in fresh.state_dict().items() if name.endswith("calibrated"))
    fresh.load_state_dict(state)
    data = points(generator, 3, 2)
    assert torch.equal(fresh.train()(*data).scalars, model(*data).scalars)


def test_layer_scale_and_readouts(generator):
    plain = network(generator, 3, 4, layer_scale=1e-6)
    data = points(generator, 3, 2)
    (o,) = plain._grid.tensors()
    lifted = torch.cat([data[1][:, None].expand(-1, 4, -1), torch.einsum("nvd,kd->nkv", data[2], o)], -1)
    read = sum(readout(plain.embedding(lifted)) for readout in plain.readouts) / 2
    out = plain(*data)
    assert (out.scalars - read[..., :2].mean(1)).abs().max() < 1e-4  # blocks add next to nothing at first
    assert (out.vectors[:, 0] - (read[..., 2:] * o).mean(1)).abs().max() < 1e-4
    assert len(network(generator, 3, 4, multiple_readouts=False).readouts) == 1


def test_what_it_declares(generator):
    for dim, k, complete, group in ((3, 0, False, "E(3)"), (3, -1, True, "SE(3)"), (2, 4, False, "SE(2)")):
        model = network(generator, dim, k, complete)
        data = points(generator, dim, 2)
        assert str(model.rep_in[0].group) == group and all(isinstance(a, Action) for a in model.rep_in + model.rep_out)
        if k <= 0:
            g = model.rep_in[0].group.sample(1, generator=generator)[0]
            moved = [a.act(g, x) for a, x in zip(model.rep_in, data)]
            given = data if model.in_vectors else (*data[:2], None)
            out = model(*(moved if model.in_vectors else (*moved[:2], None)))
            wanted = [a.act(g, x) for a, x in zip(model.rep_out, model(*given))]
            assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(out, wanted))


@pytest.mark.parametrize(
    "given, named",
    [
        ({"hidden": 0}, "sizes must be at least 1"),
        ({"in_scalars": 0, "in_vectors": 0}, "sizes must be at least 1"),
        ({"orientations": -2}, "orientations -1 or more"),
        ({"task": "edge"}, "task must be"),
        ({"dim": 4}, "task must be 'graph' or 'node' and dim 2 or 3"),
        ({"orientations": 0}, "has no directions for 2 input and 1 output vectors"),
        ({"orientations": 8, "complete": True}, "complete=True changes nothing"),
        ({"orientations": 7, "grid": "platonic"}, "no platonic solid has 7 corners"),
        ({"radius": -1.0}, "cutoff must be positive"),
    ],
)
def test_bad_options_are_named(given, named):
    with pytest.raises(ValueError, match=named):
        Ponita(**{"in_scalars": 3, "in_vectors": 2, "out_vectors": 1, "hidden": 4, **given})


@pytest.mark.parametrize("place, name", [*enumerate(["pos", "scalars", "vectors", "batch"])])
def test_bad_shapes_are_named(place, name, generator):
    model = network(generator, 3, 4)
    data = [*points(generator, 3, 2), None, BATCH]
    data[place if place < 3 else 4] = torch.zeros(7, 1, 9)
    with pytest.raises(ValueError, match=f"{name} must have shape"):
        model(*data)


@pytest.mark.slow
def test_compiles_whole_with_forces_inside(generator):
    model = network(generator, 3, 4, radius=3.0, task="graph", layers=1)

    def energy_and_force(pos: torch.Tensor, *rest) -> tuple[torch.Tensor, torch.Tensor]:
        def energy(p: torch.Tensor) -> torch.Tensor:
            return model(p, *rest, n_graphs=3).scalars.sum()

        return energy(pos), torch.func.grad(energy)(pos)

    compiled = torch.compile(energy_and_force, fullgraph=True, backend="eager")
    given = (*points(generator, 3, 2), full_graph(7, BATCH, loops=True), BATCH)
    for found, wanted in zip(compiled(*given), energy_and_force(*given)):
        assert (found - wanted).abs().max() < 1e-10
    weights = [model.get_parameter(name) for name in ("embedding.weight", "blocks.0.conv.kernel.weight")]
    slopes = [torch.autograd.grad(run(*given)[1].square().sum(), weights) for run in (compiled, energy_and_force)]
    assert all((a - b).abs().max() < 1e-10 for a, b in zip(*slopes))


@pytest.mark.parametrize("k", [0, -1])
def test_compiles_whole(k, generator):
    model = network(generator, 3, k, task="graph", layers=1)
    edge_index = full_graph(7, BATCH, loops=True)
    given = (*points(generator, 3, model.in_vectors), lift_graph(edge_index, 7) if k else edge_index, BATCH, 3)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert (compiled(*given).scalars - model(*given).scalars).abs().max() < 1e-10


@pytest.mark.slow
def test_calibrates_while_compiled(generator):
    model = Ponita(3, 0, orientations=4, grid="platonic", generator=generator, **SMALL).double()
    twin = copy.deepcopy(model)
    pos, scalars, _ = points(generator, 3, 0)
    edge_index = full_graph(7, loops=True)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for _ in range(2):
        assert torch.allclose(
            compiled(pos, scalars, None, edge_index).scalars, twin(pos, scalars, None, edge_index).scalars
        )
    assert model.blocks[1].conv.calibration.calibrated
    assert torch.allclose(model.blocks[1].conv.calibration.scale, twin.blocks[1].conv.calibration.scale)
