"""EquiformerV2: its published sizes, the symmetry of its parts, what only training drops, its two kinds of force."""

import pytest
import torch
from ase import Atoms
from ase.data import chemical_symbols

from intertwine import audit
from intertwine.data.atoms import collate, from_ase
from intertwine.groups import E
from intertwine.models import catalog
from intertwine.models.atoms import EquiformerV2, Potential
from intertwine.models.atoms.equiformer_v2 import PRESETS
from intertwine.so3 import EdgeFrame
from models.atoms.conftest import CUTOFF, SCALE, SHIFT, SPECIES, images

EXACT = {"attn_activation": "gate", "ffn": "gate"}
FADING = {"envelope": True, "force_head": False}


def network(*, dtype=torch.float64, **options) -> EquiformerV2:
    options = {**PRESETS["tiny"], "cutoff": CUTOFF, "avg_num_neighbors": 9.0, **options}
    return EquiformerV2(SPECIES, generator=torch.Generator().manual_seed(3), **options).to(dtype).eval()


def potential(forces="direct", *, dtype=torch.float64, **options) -> Potential:
    made = network(dtype=dtype, **options)
    return Potential(made, SPECIES, CUTOFF, energy_shift=SHIFT, energy_scale=SCALE, forces=forces).eval()


def run(model, atoms, **options):
    return model(collate([from_ase(atoms, cutoff=CUTOFF)]), **options)


@pytest.mark.parametrize(("name", "count"), [("31M", 31_058_690), ("83M", 83_164_802), ("153M", 153_602_690)])
def test_published_sizes(name, count):
    def parameters(layers):
        with torch.device("meta"):
            model = EquiformerV2(chemical_symbols[1:91], **{**PRESETS[name], "layers": layers})
        return sum(p.numel() for p in model.parameters())

    one, two = parameters(1), parameters(2)
    assert two + (PRESETS[name]["layers"] - 2) * (two - one) == count


@pytest.mark.parametrize(("degree", "order", "count"), [(2, 2, 19), (4, 2, 75), (6, 2, 171), (6, 3, 203)])
def test_weights_for_a_pair_of_channels(degree, order, count):
    model = network(degree=degree, order=order, channels=1, value_channels=1, heads=1, attn_hidden=1, layers=1)
    second = model.blocks[0].attention.second
    assert sum(w.numel() for w in second.weights) == count


def compared(model, batch, g):
    out = model(batch)
    turned, expected = model(model.rep_in(g, batch)), model.rep_out(g, out)
    return {key: (turned[key] - expected[key]).abs().max().item() / out[key].abs().max().item() for key in out}


@pytest.mark.parametrize("forces", ["direct", "gradient"])
@pytest.mark.parametrize(("degree", "order"), [(1, 1), (2, 2), (4, 2)])
def test_with_gates_it_is_equivariant(forces, degree, order, graphs, generator):
    own = FADING if forces == "gradient" else {}
    model = potential(forces, degree=degree, order=order, **EXACT, **own)
    batch = collate(list(graphs.values()))
    for g in model.rep_in.group.sample(2, generator=generator):
        assert max(compared(model, batch, g).values()) < 1e-10
    graph = graphs["ethanol"]
    vectors = graph.pos[graph.edge_index[0]] - graph.pos[graph.edge_index[1]]
    species = model.species_index(graph.z)
    x = model.backbone.features(species, vectors, graph.edge_index)
    R = model.rep_in.group.linear_part(g)
    rep = model.backbone.rep_features
    y = model.backbone.features(species, vectors @ R.mT, graph.edge_index)
    assert (y.flatten(1) - rep.act(R, x.flatten(1))).abs().max() < 1e-10
    small = potential(forces, degree=degree, order=order, **EXACT, **own, dtype=torch.float32)
    assert max(compared(small, batch, g).values()) < 1e-5


def rolled(vectors, lmax, mmax, *, angle):
    """Frames turned about their edges, each by its own angle."""
    frame = EdgeFrame.from_vectors(vectors, lmax, mmax)
    blocks = []
    for D in frame.blocks:
        columns = [D[:, :, 0]]
        for m in range(1, D.shape[2] // 2 + 1):
            c, s = torch.cos(m * angle)[:, None], torch.sin(m * angle)[:, None]
            plus, minus = D[:, :, 2 * m - 1], D[:, :, 2 * m]
            columns += [c * plus - s * minus, s * plus + c * minus]
        blocks.append(torch.stack(columns, 2))
    return EdgeFrame(frame.direction, tuple(blocks), lmax, mmax)


@pytest.mark.parametrize("forces", ["direct", "gradient"])
def test_it_does_not_depend_on_the_roll_of_the_frames(forces, graphs, generator, monkeypatch):
    model = potential(forces, degree=3, order=2, **EXACT, **(FADING if forces == "gradient" else {}))
    graph = collate([graphs["ethanol"], graphs["crystal"]])
    before = model(graph)
    angle = 6.3 * torch.rand(graph.edge_index.shape[1], generator=generator, dtype=torch.float64)

    class Rolled(EdgeFrame):
        from_vectors = classmethod(lambda cls, vectors, lmax, mmax: rolled(vectors, lmax, mmax, angle=angle))

    monkeypatch.setattr("intertwine.models.atoms.equiformer_v2.EdgeFrame", Rolled)
    assert not torch.equal(Rolled.from_vectors(torch.ones(len(angle), 3).double(), 1, 1).blocks[1], torch.eye(3))
    after = model(graph)
    for key in before:
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=1e-10)


def test_reflections_are_no_symmetry(graphs):
    model, batch = potential(**EXACT), collate([graphs["ethanol"]])
    mirror = E(3).identity().clone()
    mirror[0, 0] = -1
    moved = model(type(model.rep_in)(E(3))(mirror, batch))
    assert (moved["energy"] - model(batch)["energy"]).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("grid", "least", "most"), [((8, 8), 1e-2, 1), ((18, 18), 1e-6, 1e-3), ("exact:1e-3", 0, 1e-3)]
)
def test_on_grids_the_audit_says_how_equivariant_it_is(grid, least, most, graphs, generator):
    model = potential(degree=3, order=2, layers=1, grid=grid)
    elements = audit.Sampler(model.rep_in.group, scale=1.0)
    result = audit.measure(
        model,
        model.rep_in,
        model.rep_out,
        [graphs["water"]],
        elements=elements,
        n_elements=4,
        dtype="float64",
        generator=generator,
    )
    assert least <= result.per_pair.max() < most


PARTS = [
    ("layer_norm_sh", True, "s2_sep", "grid_mlp"),
    ("layer_norm_sh", False, "s2_sep", "s2_sep"),
    ("layer_norm", True, "s2", "grid_mlp"),
    ("layer_norm", True, "gate", "gate"),
    ("rms_norm_sh", False, "gate", "gate"),
]


@pytest.mark.parametrize(("norm", "attn_renorm", "attention", "ffn"), PARTS)
def test_the_parts_that_the_paper_compares(norm, attn_renorm, attention, ffn, graphs, generator):
    options = {"norm": norm, "attn_renorm": attn_renorm, "attn_activation": attention, "ffn": ffn, "layers": 1}
    model, batch = potential(**options), collate([graphs["water"], graphs["atom"]])
    (g,) = model.rep_in.group.sample(1, generator=generator)
    assert max(compared(model, batch, g).values()) < (1e-10 if attention == "gate" else 1e-2)
    norms = {name for name, _ in model.named_parameters() if name.startswith("backbone.blocks.0.attention.norm")}
    assert bool(norms) == attn_renorm


def test_evaluation_repeats_to_the_last_bit_and_only_training_drops(graphs):
    batch = collate([graphs["ethanol"], graphs["water"], graphs["crystal"]])
    model = potential(alpha_drop=0.3, path_drop=0.0)
    assert all(torch.equal(a, b) for a, b in zip(model(batch).values(), model(batch).values()))
    plain = potential()
    assert torch.equal(plain(batch)["forces"], model(batch)["forces"])
    for options in ({"alpha_drop": 0.3}, {"path_drop": 0.5}):
        model = potential(**options).train()
        torch.manual_seed(0)
        first = model(batch)["forces"]
        assert not torch.allclose(first, model(batch)["forces"])
        torch.manual_seed(0)
        assert torch.equal(first, model(batch)["forces"])


def test_a_path_is_dropped_for_a_whole_graph(graphs):
    """With paths dropped almost surely, what is left of a graph is its start: no atom keeps a branch alone."""
    model = network(path_drop=1 - 1e-12, **EXACT).train()
    kept = network(path_drop=0.0, **EXACT).train()
    kept.blocks = torch.nn.ModuleList()
    graph = collate([graphs["ethanol"], graphs["atom"], graphs["water"]])
    vectors = graph.pos[graph.edge_index[0]] - graph.pos[graph.edge_index[1]]
    species = Potential(kept, SPECIES, CUTOFF, forces="direct").species_index(graph.z)
    inputs = species, vectors, graph.edge_index, graph.batch
    dropped, start, whole = model.features(*inputs), kept.features(*inputs), network(**EXACT).features(*inputs)
    alone = graph.batch == 1  # an atom without neighbours keeps its branches
    torch.testing.assert_close(dropped[~alone], start[~alone])
    torch.testing.assert_close(dropped[alone], whole[alone])
    torch.manual_seed(1)
    half = network(path_drop=0.5, layers=1, **EXACT).train()
    x = half.features(*inputs)
    y = half.features(*inputs)
    same = (x - y).abs().amax((1, 2)) < 1e-12
    for which in range(3):
        assert len(same[graph.batch == which].unique()) == 1


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("forces", ["direct", "gradient"])
@pytest.mark.parametrize("distance", [1e-3, 1.0, -1.0])
def test_no_direction_and_no_distance_is_special(axis, forces, distance):
    positions = torch.zeros(3, 3)
    positions[1, axis], positions[2] = distance, torch.tensor([0.3, 1.1, -0.7])
    model = potential(forces, **(FADING if forces == "gradient" else {}))
    out = run(model.train(), Atoms("CHO", positions=positions.numpy()))
    assert all(value.isfinite().all() for value in out.values())
    (out["forces"].square().sum() + out["energy"].sum() * 1e-3).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("forces", ["direct", "gradient"])
def test_a_lonely_atom(training, forces, graphs):
    own = FADING if forces == "gradient" else {}
    model = potential(forces, path_drop=0.5, alpha_drop=0.5, **own).train(training)
    out = model(collate([graphs["atom"], graphs["atom"]]))
    assert out["energy"].tolist() == [SHIFT["O"]] * 2
    assert out["forces"].isfinite().all()
    if forces == "gradient":
        assert not out["forces"].any()
    alone = model.backbone(torch.zeros(1, dtype=torch.int64), torch.zeros(0, 3).double(), torch.zeros(2, 0).long())
    assert all(part.isfinite().all() for part in (alone if forces == "direct" else [alone]))


def test_only_the_nearest_are_heard(graphs, monkeypatch):
    """Ethanol's atoms have up to eight neighbours: with so many nothing changes, with two something does."""
    batch = collate([graphs["ethanol"]])
    everyone, eight, two = (potential(max_neighbors=k)(batch)["forces"] for k in (None, 8, 2))
    assert torch.equal(everyone, eight)
    assert (everyone - two).abs().max() > 1e-3
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # then edges keep their places, and weigh nothing
    torch.testing.assert_close(potential(max_neighbors=2)(batch)["forces"], two, rtol=0, atol=1e-12)


def test_fading_edges_have_exact_forces(graphs):
    """The frame is differentiated, so the gradient is that of the energy, for any activation."""
    for name, options in (("water", EXACT), ("crystal", EXACT), ("water", {})):
        model, atoms = potential("gradient", **FADING, **options), images()[name]
        out = run(model, atoms)
        for i, axis in ((1, 2),):
            energies = []
            for step in (-2, -1, 1, 2):
                moved = atoms.copy()
                moved.positions[i, axis] += 1e-3 * step
                energies.append(float(run(model, moved)["energy"]))
            slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / 12e-3
            assert float(out["forces"][i, axis]) == pytest.approx(-slope, abs=3e-9 if options else 1e-6)


def test_fading_edges_end_at_the_cutoff():
    """The last neighbour of an atom fades like any other: a share of the softmax alone would stay 1."""
    model = potential("gradient", **FADING)

    def at(distance):
        return run(model, Atoms("CHO", positions=[[0, 0, 0], [0, 0, 1.1], [distance, 0, 0]]))

    inside, outside, before = at(CUTOFF - 1e-6), at(CUTOFF + 1e-6), at(0.99 * CUTOFF)
    assert (inside["forces"] - outside["forces"]).abs().max() < 1e-8
    assert (inside["energy"] - outside["energy"]).abs().max() < 1e-8
    assert (before["forces"] - outside["forces"]).abs().max() < 1e-2


def test_without_fading_there_is_no_gradient():
    with pytest.raises(ValueError, match=r"the energy of this EquiformerV2 jumps .* take forces='direct'"):
        potential("gradient")


def test_it_stays_equivariant_when_trained(graphs, generator):
    model = potential(**EXACT).train()
    batch = collate([graphs["ethanol"], graphs["crystal"]])
    wanted = torch.randn(len(batch.pos), 3, generator=generator, dtype=torch.float64)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(3):
        optimizer.zero_grad()
        out = model(batch)
        ((out["forces"] - wanted).square().mean() + out["atom_energy"].square().mean() * 1e-6).backward()
        optimizer.step()
    still = {name.removeprefix("backbone.") for name, p in model.named_parameters() if torch.equal(p, before[name])}
    # Forces are of degree 1, so of order 1 at most; energies of degree 0, and a bias cancels with that of lonely atoms.
    idle = {"force_head.first.weights.2", "force_head.second.weights.2", "force_head.out.bias"}
    assert idle <= still <= idle | {f"energy_head.{name}" for name in ("scalars.weight", "scalars.bias", "out.bias")}
    model.eval()
    (g,) = model.rep_in.group.sample(1, generator=generator)
    assert max(compared(model, batch, g).values()) < 1e-10


def test_it_comes_back_from_its_configuration(graphs):
    model = potential(grid="exact:1e-2")
    again = catalog.potential(model.config).double().eval()
    again.load_state_dict(model.state_dict())
    batch = collate([graphs["ethanol"]])
    assert torch.equal(again(batch)["forces"], model(batch)["forces"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"norm": "batch"}, "norm must be one of layer_norm_sh, rms_norm_sh, layer_norm, got 'batch'"),
        ({"attn_activation": "relu"}, "attn_activation must be one of s2_sep, s2, gate"),
        ({"ffn": "mlp"}, "ffn must be one of grid_mlp, s2_sep, gate"),
        ({"degree": 0, "order": 0}, "degree must be at least 1, got 0"),
        ({"order": 3}, "order must be from 0 to degree=2, got 3"),
        ({"heads": 0}, "heads must be at least 1"),
        ({"path_drop": 1.0}, r"must be in \[0, 1\), got 0.0, 1.0"),
        ({"avg_num_neighbors": 0.0}, "avg_num_neighbors must be positive"),
        ({"envelope": True, "max_neighbors": 20}, "max_neighbors=20 cuts some off before"),
        ({"max_neighbors": 0}, "max_neighbors must be at least 1"),
        ({"grid": "coarse"}, 'or "exact:" and an error'),
        ({"grid": (18,)}, 'grid must be two numbers of points or "exact:'),
    ],
)
def test_bad_options(options, says):
    with pytest.raises(ValueError, match=says):
        network(**options)


def test_atoms_at_one_place_are_named():
    model = potential()
    with pytest.raises(ValueError, match="2 edges have length zero"):
        run(model, Atoms("HO", positions=[[0, 0, 0], [0, 0, 0]]))


@pytest.mark.slow
def test_training_compiles_whole_and_agrees(graphs):
    """Energy, forces and the gradient of a loss on them, at two sizes, without a break in the graph."""
    torch.compiler.reset()
    options = {**EXACT, **FADING, "layers": 1, "degree": 1, "order": 1}
    eager, compiled = potential("gradient", **options).train(), potential("gradient", **options).train()
    compiled.compile_training(backend="aot_eager")
    # numbers of structures that are no other size, such as the 2 rows of edge_index: one compilation serves both
    for names in (("ethanol", "water", "slab", "crystal"), ("crystal", "ethanol", "slab", "water", "ethanol")):
        batch = collate([graphs[name] for name in names])
        gradients = []
        for model in (eager, compiled):
            out = model(batch, training=True)
            model.zero_grad()
            (out["energy"].square().sum() * 1e-6 + out["forces"].square().sum()).backward()
            gradients.append([p.grad for p in model.parameters()] + [out["forces"].detach()])
        for a, b in zip(*gradients):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
