"""What is Facet's own: linear radial weights, a learned radius, updates that start at zero, mixing on a sphere."""

import itertools

import numpy as np
import pytest
import torch

from intertwine.data.atoms import AtomsAction, collate
from intertwine.groups import E
from intertwine.models.atoms import Facet, NequIP, Potential
from intertwine.nn import GridMLP
from intertwine.so3 import spherical_harmonics
from models.atoms.conftest import CUTOFF, SCALE, SHIFT, SPECIES

MIXED = ("6x0e + 4x1o + 2x2e",) * 2


def made(seed: int = 0, *, awake: bool = True, **options) -> Potential:
    """A small potential in float64; awake: updates count, as they do after training."""
    generator = torch.Generator().manual_seed(seed)
    small = {"irreps": MIXED, "out_channels": 5, "embed": 3, "node": "gate", "avg_num_neighbors": 9.0}
    network = Facet(SPECIES, cutoff=CUTOFF, generator=generator, **(small | options))
    if awake:
        for layer in network.layers:
            torch.nn.init.normal_(layer.norm.weight, generator=generator)
    return Potential(network, SPECIES, CUTOFF, energy_shift=SHIFT, energy_scale=SCALE).double().eval()


def worst(model: Potential, batch, group, generator: torch.Generator, samples: int = 4) -> float:
    """The largest change of energies and forces under motions that should move them along."""
    action, out, errors = AtomsAction(group), model(batch), []
    for g in group.sample(samples, generator=generator):
        turned = model(action(g, batch))
        errors += [turned["energy"] - out["energy"]]
        errors += [turned["forces"] - out["forces"] @ group.linear_part(g).mT]
    return max(error.abs().max().item() for error in errors)


@pytest.mark.parametrize("radial", ["spline", "bessel_linear", (8, 8)], ids=["spline", "bessel", "network"])
@pytest.mark.parametrize(
    "irreps",
    [MIXED, ("4x0e + 3x0o + 2x1o + 2x1e",) * 2, ("6x0 + 4x1 + 1x2",) * 2, ("1x0 + 1x1",)],
    ids=["natural", "full", "rotations", "one-channel"],
)
def test_gates_are_exact(irreps, radial, graphs, generator):
    model = made(irreps=irreps, radial=radial)
    assert model.backbone.symmetry == ("SO(3)" if "e" not in irreps[0] else "O(3)")
    batch = collate(list(graphs.values()))
    assert worst(model, batch, model.rep_in.group, generator) < 1e-10


def test_without_parity_reflections_are_no_symmetry(graphs, generator):
    model = made(irreps=("6x0 + 4x1 + 2x2",) * 2)
    assert worst(model, collate([graphs["ethanol"]]), E(3), generator, 8) > 1e-3


def test_spheres_are_as_exact_as_their_grid(graphs, generator):
    batch = collate([graphs["water"]])
    errors = []
    for grid in ("exact:1e-2", "exact:1e-4", [24, 48]):
        model = made(node="s2_mlp", grid=grid, mlp_hidden=4)
        errors.append(worst(model, batch, model.rep_in.group, generator) / model(batch)["forces"].abs().max().item())
    assert errors[0] > 1e-5
    assert 1e-1 * errors[0] > errors[1] > 10 * errors[2]
    assert errors[2] < 1e-5


def test_published_grids():
    generator = torch.Generator().manual_seed(0)
    network = Facet(("Si",), avg_num_neighbors=20.0, grid=(18, 17), generator=generator)
    mixing = network.layers[0].node.mlp
    assert isinstance(mixing, GridMLP)
    assert len(mixing.grid) == 306
    assert mixing.equivariance_error() < 5e-3
    assert network.config["irreps"] == ["128x0 + 64x1 + 32x2"] * 2


@pytest.mark.parametrize("node", ["gate", "s2_mlp"])
def test_a_new_network_sees_the_species_alone(node, graphs):
    model = made(awake=False, node=node)
    out = model(collate([graphs["ethanol"], graphs["crystal"]]))
    expected = [sum(SHIFT[s] for s in names) for names in (["C"] * 2 + ["O"] + ["H"] * 6, ["Cu"] * 2)]
    np.testing.assert_allclose(out["energy"].numpy(), expected, atol=1e-9)
    assert out["forces"].abs().max() == 0


def test_every_weight_is_trained_from_the_start(graphs, generator):
    """Updates start at zero, but not their gradients: after a step each weight has one."""
    model = made(awake=False, node="s2_mlp", grid="exact:1e-2").train()
    batch = collate([graphs["ethanol"], graphs["crystal"]])
    wanted = torch.randn(len(batch.pos), 3, generator=generator, dtype=torch.float64)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(3):
        optimizer.zero_grad()
        (model(batch)["forces"] - wanted).square().mean().backward()
        optimizer.step()
    moved = {name: bool((p != q).any()) for (name, p), q in zip(model.named_parameters(), before)}
    assert all(moved.values()), [name for name, has in moved.items() if not has]


def test_the_radius_is_learned_and_stays_below_the_cutoff(graphs):
    model = made()
    network = model.backbone
    assert network.radius.item() == pytest.approx(0.95 * CUTOFF)
    batch = collate([graphs["crystal"]])
    (slope,) = torch.autograd.grad(model(batch, training=True)["energy"].sum(), network.logit)
    assert slope.abs() > 0
    for logit in (-3.0, 50.0, 1e30):
        with torch.no_grad():
            network.logit.fill_(logit)
        assert 0 < network.radius.item() <= CUTOFF
        assert model(batch)["forces"].isfinite().all()
    fixed = made(trainable_cutoff=False)
    assert fixed.backbone.radius == CUTOFF
    assert "logit" not in dict(fixed.backbone.named_parameters())


def test_it_reduces_to_a_layer_of_nequip_without_species(graphs, generator):
    """A network of distances and a gate, equal weights: equal features (SevenNet's layer)."""
    nequip = NequIP(SPECIES, cutoff=CUTOFF, degree=2, channels=4, radial=(8,), avg_num_neighbors=9.0)
    theirs = nequip.double().blocks[1]
    facet = made(irreps=("4x0e + 4x1o + 4x2e",) * 2, embed=4, norm_power=0.5).backbone
    ours = facet.layers[1]
    assert theirs.rep_out == ours.rep_out
    assert theirs.conv.weight_shape == ours.conv.weight_shape
    with torch.no_grad():
        inputs = [torch.eye(4, dtype=torch.float64) * 2] * 3  # weights are divided by √4 in use
        for parameter, value in zip(theirs.before, inputs):
            parameter.copy_(value)
        copy_linear(ours.linear, [m / m.shape[0] ** 0.5 for m in theirs.after])
        own = [m[:1].expand_as(m) for m in theirs.self_connection.values()]
        for parameter, value in zip(theirs.self_connection.values(), own):
            parameter.copy_(value.clone())
        copy_linear(ours.adaptor, [m[0] / m.shape[1] ** 0.5 for m in theirs.self_connection.values()])
    graph = collate([graphs["ethanol"]])
    source, target = graph.edge_index
    Y = spherical_harmonics(graph.pos[source] - graph.pos[target], 2)
    h = ours.rep_in.randn(len(graph.z), generator=generator, dtype=torch.float64)
    weight = torch.randn(len(source), *ours.conv.weight_shape, generator=generator, dtype=torch.float64)
    species = torch.arange(len(graph.z)) % len(SPECIES)
    torch.testing.assert_close(
        ours.update(h, Y, weight, source, target), theirs(h, species, Y, weight, source, target), rtol=0, atol=1e-12
    )


def copy_linear(layer, matrices) -> None:
    """Put the matrices of the degrees into a Linear; NequIP keeps gates with the invariants, behind them."""
    dense = torch.zeros(layer.rep_out.dim, layer.rep_in.dim, dtype=torch.float64)
    rows, start = layer.rep_out.split(torch.arange(layer.rep_out.dim)), 0
    own = {}
    for (W, _), block in zip(layer.rep_out.terms, rows):
        own.setdefault(W, []).append(block.reshape(W.dim, -1))
    for (W, _), matrix in zip(layer.rep_in.terms, matrices):
        columns = torch.arange(start, start + W.dim * matrix.shape[0]).reshape(W.dim, -1)
        start += columns.numel()
        targets = torch.cat(own[W], 1)
        for component in range(W.dim):
            dense[targets[component][:, None], columns[component]] = matrix.mT
    basis = torch.stack([layer_matrix(layer, k) for k in range(len(layer.weight))]).flatten(1)
    layer.weight.copy_(torch.linalg.lstsq(basis.mT, dense.flatten()[:, None]).solution[:, 0])
    torch.testing.assert_close(layer.matrix(), dense, rtol=0, atol=1e-12)


def layer_matrix(layer, k: int) -> torch.Tensor:
    """The matrix of one weight."""
    kept = layer.weight.detach().clone()
    layer.weight.zero_()
    layer.weight[k] = 1
    found = layer.matrix()
    layer.weight.copy_(kept)
    return found


@pytest.mark.parametrize("radial", ["bessel_linear", (16, 16)], ids=["bessel", "network"])
def test_splines_copy_radial_functions(radial, graphs):
    """Errors fall with the fourth power of the knots, those of forces with the third."""
    model, batch = made(radial=radial), collate([graphs["ethanol"], graphs["crystal"]])
    exact, errors = model(batch), []
    for n_knots in (64, 128, 256):
        network = model.backbone.splinified(n_knots)
        assert network.config["radial"] == "spline"
        copied = Potential(network, SPECIES, CUTOFF, energy_shift=SHIFT, energy_scale=SCALE).eval()(batch)
        errors.append([(copied[k] - exact[k]).abs().max().item() for k in ("atom_energy", "forces")])
    for before, after in itertools.pairwise(errors):
        assert before[0] / after[0] > 8
        assert before[1] / after[1] > 3.5
    assert errors[-1][0] < 1e-5 * exact["atom_energy"].abs().max()


def test_radial_weights_are_few():
    """12 intervals, or 8 Bessel functions, against a network of (64, 64), most of which is its last layer."""
    counts = {}
    for radial in ("spline", "bessel_linear", (64, 64)):
        network = Facet(("H", "C"), irreps=("32x0 + 16x1 + 8x2",) * 2, radial=radial, node="gate")
        counts[radial] = sum(p.numel() for p in network.radial.parameters())
    assert counts["spline"] < 0.4 * counts[64, 64]
    assert counts["bessel_linear"] < 0.2 * counts[64, 64]


@pytest.mark.slow
def test_it_compiles_whole(graphs):
    """Energies and forces, at two sizes, without a break in the graph."""
    model = made(node="s2_mlp", grid="exact:1e-2", irreps=("3x0 + 2x1",))
    batches = [collate([graphs[name] for name in names]) for names in (("ethanol", "water"), ("crystal", "slab"))]
    expected = [model(batch) for batch in batches]
    model.compile_training(backend="eager")
    for batch, out in zip(batches, expected):
        compiled = model(batch, training=True)
        for key in out:
            torch.testing.assert_close(compiled[key].detach(), out[key], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"radial": "fourier"}, "radial must be 'spline', 'bessel_linear' or widths of a network, got 'fourier'"),
        ({"radial": (0,)}, "sizes must be at least 1"),
        ({"node": "relu"}, "node must be 's2_mlp' or 'gate'"),
        ({"irreps": ()}, "0 layers"),
        ({"irreps": ("4x1o + 4x0e",)}, "start with invariants"),
        ({"irreps": ("4x0e + 4x0e",)}, "distinct"),
        ({"avg_num_neighbors": 0.0}, "avg_num_neighbors must be positive"),
        ({"node": "s2_mlp", "mlp_heads": 3}, "3 heads do not divide 4 channels"),
        ({"n_knots": 0}, "n_knots must be at least 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_options(options, says):
    with pytest.raises(ValueError, match=says):
        made(awake=False, **options)
