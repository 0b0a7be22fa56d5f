"""QHNet: matrices that turn with the molecule, are symmetric, and belong to one molecule each."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from intertwine.audit import assert_equivariant
from intertwine.data.atoms import Basis, BlockLayout, collate, from_ase, mean_blocks
from intertwine.data.atoms.orbital_matrices import OrbitalMatrices
from intertwine.groups import SE, E
from intertwine.models import saved
from intertwine.models.atoms import QHNet
from intertwine.models.atoms.qhnet_layers import NodeLayer, PairLayer, SelfLayer
from intertwine.nn import full_graph

BASES = {
    "s": Basis({"H": [0], "C": [0], "O": [0]}),
    "sp": Basis.gfn2(["H", "C", "O"]),
    "spd": Basis({"H": [0, 0, 1], "C": [0, 1], "O": [2, 0, 1, 0]}),  # shells in no order
}
SMALL = {"hidden": 4, "bottleneck": 3, "layers": 3, "start_layer": 0, "n_radial": 6}


def network(basis: str = "sp", parity: str = "so3", seed: int = 0, **options) -> QHNet:
    """A small random network, float64."""
    options = SMALL | {"degree": 2 * BASES[basis].widest.lmax} | options
    return QHNet(BASES[basis], parity=parity, generator=torch.Generator().manual_seed(seed), **options).double()


def graph(name: str):
    atoms = Atoms(name, positions=[[0.3, 0.2, 0.1]]) if name in ("H", "O") else molecule(name)
    atoms.rattle(0.1, seed=2)
    return from_ase(atoms, cutoff=None)


def turned(model: QHNet, batch, g) -> list[torch.Tensor]:
    """D H Dᵀ of each molecule."""
    out = []
    R = model.rep_in.group.linear_part(g)
    for one, H in zip(model.rep_in.uncollate(batch), model.matrices(batch)):
        D = model.basis.irreps(one.z.tolist()).matrix(R)
        out.append(D @ H @ D.mT)
    return out


@pytest.mark.parametrize("parity", ["so3", "o3"])
@pytest.mark.parametrize("basis", list(BASES))
def test_the_hamiltonian_turns_with_the_molecule(basis, parity, generator):
    model = network(basis, parity)
    batch = collate([graph(name) for name in ("CH3OH", "H2O", "O")])
    group = SE(3) if parity == "so3" else E(3)
    assert model.rep_in.group == group
    for g in group.sample(3, generator=generator):
        for found, wanted in zip(model.matrices(model.rep_in(g, batch)), turned(model, batch, g)):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("basis", "parity"), [("sp", "so3"), ("spd", "o3")], ids=("so3", "o3"))
def test_so_does_its_gradient(basis, parity, generator):
    model, batch = network(basis, parity, layers=2), collate([graph("H2O"), graph("CH4")])
    sizes = [H.shape for H in model.matrices(batch)]
    wanted = [torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]

    def gradient(batch, wanted):
        batch = batch.clone()
        batch.pos.requires_grad_()
        out = sum((H * A).sum() for H, A in zip(model.matrices(batch), wanted))
        return torch.autograd.grad(out, batch.pos)[0]

    g = model.rep_in.group.sample(1, generator=generator)[0]
    R = model.rep_in.group.linear_part(g)
    D = [model.basis.irreps(one.z.tolist()).matrix(R) for one in batch.to_data_list()]
    there = gradient(model.rep_in(g, batch), [d @ A @ d.mT for d, A in zip(D, wanted)])
    here = gradient(batch, wanted)
    assert here.abs().max() > 1e-3
    torch.testing.assert_close(there, here @ R.mT, rtol=0, atol=1e-10)


def test_only_o3_respects_mirrors():
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64))
    batch = graph("CH3OH")
    for parity, least, most in (("o3", 0.0, 1e-10), ("so3", 1e-4, 1e9)):
        model = network("sp", parity)
        moved = batch.clone()
        moved.pos = batch.pos @ mirror[:3, :3]
        D = model.basis.irreps(batch.z.tolist()).matrix(mirror[:3, :3])
        error = (model.matrices(moved)[0] - D @ model.matrices(batch)[0] @ D.mT).abs().max().item()
        assert least <= error < most


def test_it_stays_equivariant_when_trained(generator):
    model = network("sp", "o3").train()
    batch = collate([graph("H2O"), graph("CH4")])
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(3):
        optimizer.zero_grad()
        sum(H.square().mean() for H in model.matrices(batch)).backward()
        optimizer.step()
    still = [n for (n, p), q in zip(model.named_parameters(), before) if (p - q).abs().max() < 1e-3]
    assert not still
    g = model.rep_in.group.sample(1, generator=generator)[0]
    for found, wanted in zip(model.matrices(model.rep_in(g, batch)), turned(model, batch, g)):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


def test_the_audit_agrees():
    assert_equivariant(network("sp", "o3", layers=2), elements=2, data=collate([graph("H2O")]))


def test_float32(generator):
    model = network("spd").float()
    batch = graph("CH3OH")
    g = SE(3).sample(1, generator=generator)[0]
    D = model.basis.irreps(batch.z.tolist()).matrix(SE(3).linear_part(g))
    (here,), (there,) = model.matrices(batch), model.matrices(model.rep_in(g, batch))
    assert here.dtype == torch.float32
    error = (there.double() - D @ here.double() @ D.mT).abs().max()
    assert error < 1e-5 * here.abs().max()


def test_it_is_symmetric_to_the_last_bit():
    for H in network("spd").matrices(collate([graph("CH3OH"), graph("O")])):
        assert torch.equal(H, H.T)


def test_atoms_have_no_order(generator):
    model, here = network("spd"), graph("CH3OH")
    order = torch.randperm(len(here.z), generator=generator)
    there = here.clone()
    there.pos, there.z = here.pos[order], here.z[order]
    layout = BlockLayout(model.basis)
    wide = lambda x: layout.unpack(model.matrices(x)[0], x.z)  # noqa: E731
    a, b = wide(here), wide(there)
    torch.testing.assert_close(b.diagonal, a.diagonal[order], rtol=0, atol=1e-12)
    n = len(order)
    pairs = torch.zeros(n, n, *a.pairs.shape[1:], dtype=torch.float64)
    source, target = full_graph(n)
    pairs[target, source] = a.pairs
    torch.testing.assert_close(b.pairs, pairs[order[target], order[source]], rtol=0, atol=1e-12)


def test_a_batch_is_its_molecules_one_by_one():
    model = network("spd")
    graphs = [graph(name) for name in ("H2O", "O", "CH3OH", "H")]
    together = model.matrices(collate(graphs))
    assert [len(H) for H in together] == [10 + 5 + 5, 10, 4 + 10 + 4 * 5, 5]
    for H, one in zip(together, graphs):
        torch.testing.assert_close(H, model.matrices(one)[0], rtol=0, atol=1e-12)


def test_no_atoms_and_one_channel():
    none = torch.zeros(0, dtype=torch.int64)
    empty = network().evaluate(none, torch.zeros(0, 3, dtype=torch.float64), full_graph(0))
    assert empty.diagonal.shape == empty.pairs.shape == (0, 4, 4)
    one = network(hidden=1, bottleneck=1).matrices(graph("H2O"))[0]
    assert torch.isfinite(one).all()


def test_molecules_far_apart_do_not_meet():
    model = network("sp", cutoff=4.0)
    near, far = graph("H2O"), graph("CH4")
    both = from_ase(molecule("H2O"), cutoff=None)
    both.pos, both.z = torch.cat([near.pos, far.pos + 50.0]), torch.cat([near.z, far.z])
    expected = torch.block_diag(*(model.matrices(one)[0] for one in (near, far)))
    torch.testing.assert_close(model.matrices(both)[0], expected, rtol=0, atol=1e-12)


def test_blocks_fade_out_at_the_cutoff():
    model, pair = network("sp", cutoff=3.0), from_ase(Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.0]]), cutoff=None)

    def corner(length):
        pair.pos = torch.tensor([[0.0, 0, 0], [0, 0, length]], dtype=torch.float64)
        return model.matrices(pair)[0][:4, 4:].abs().max().item()

    assert corner(1.0) > 1e-3
    assert corner(2.99) < 1e-6
    assert corner(3.0) == corner(3.5) == 0


def test_nine_products_in_the_published_network():
    model = QHNet(Basis.def2_svp(["H", "O"]), hidden=2, bottleneck=2)
    count = lambda kind: sum(isinstance(module, kind) for module in model.modules())  # noqa: E731
    assert (count(NodeLayer), count(SelfLayer), count(PairLayer)) == (5, 2, 2)
    assert [head.expansion.rep_row.dim for head in model.heads] == [14, 14]


def test_it_starts_from_the_mean_blocks(generator):
    basis = BASES["sp"]
    H = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    H = (H + H.T).numpy()
    known = OrbitalMatrices(graph("H2O").z.numpy(), graph("H2O").pos.numpy(), H, H, 8, basis, "random")
    means = mean_blocks([known])
    assert means[1] == [[pytest.approx((H[4, 4] + H[5, 5]) / 2)]]
    assert means[8][1][1] == means[8][3][3] == pytest.approx(H[1:4, 1:4].trace() / 3)
    assert means[8][0][1] == means[8][1][2] == 0
    bare, shifted = (network(shift=shift).matrices(graph("H2O"))[0] for shift in (None, means))
    expected = torch.block_diag(*(torch.tensor(means[z], dtype=torch.float64) for z in (8, 1, 1)))
    torch.testing.assert_close(shifted - bare, expected)
    with pytest.raises(ValueError, match="no molecules"):
        mean_blocks([])


def test_it_is_saved_and_built_again(tmp_path):
    model = network("spd", "o3", shift={1: torch.diag(torch.tensor([-0.5, -0.1, 0.3, 0.3, 0.3])).double().tolist()})
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
    saved.save({"config": model.config, "weights": model.state_dict()}, tmp_path / "model")
    tree = saved.load(tmp_path / "model")
    again = QHNet.from_config(tree["config"]).double()
    again.load_state_dict(tree["weights"])
    assert again.config == model.config
    assert torch.equal(again.matrices(graph("H2O"))[0], model.matrices(graph("H2O"))[0])


def test_the_same_generator_gives_the_same_network():
    first, second, other = (network(seed=seed).matrices(graph("H2O"))[0] for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: network(hidden=0), "sizes must be at least 1"),
        (lambda: network(start_layer=2), "start_layer below layers - 1"),
        (lambda: network(degree=1), "couple to degree 2, but degree is 1"),
        (lambda: network(parity="e3"), "'so3' or 'o3', got 'e3'"),
        (lambda: network(shift={7: [[0.0]]}), "no shells for N"),
        (lambda: network(shift={6: [[0.0]]}), "has 4 orbitals"),
        (lambda: network(shift={6: torch.ones(4, 4).tolist()}), "not symmetric and invariant"),
        (lambda: network()(graph("NH3")), "no shells for N; it knows H, C, O"),
        (lambda: network()(from_ase(bulk("C"), cutoff=None)), "periodic"),
    ],
    ids=("sizes", "start", "degree", "parity", "no such", "size", "turning", "element", "crystal"),
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_it_compiles_whole():
    model, batch = network("s", layers=2, degree=0, hidden=2, bottleneck=2), graph("H2O")
    arguments = torch.searchsorted(torch.tensor(model.basis.elements), batch.z), batch.pos, full_graph(3)
    compiled = torch.compile(model.evaluate, fullgraph=True, backend="eager")
    for found, wanted in zip(compiled(*arguments), model.evaluate(*arguments)):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
