"""Networks for lattices turn with them, do not see how the cell is chosen, and never promise energy for nothing."""

import pytest
import torch

from intertwine.audit import assert_equivariant
from intertwine.data.atoms import Lattices, collate_lattices, lattice, random_lattice
from intertwine.models.atoms import LatticeElasticityNet, LatticeTensorNet
from intertwine.nn.positive import ROOTS
from intertwine.so3 import CartesianTensor, Irreps

SMALL = {"channels": 2, "radial": (8,), "readout": 3}


@pytest.fixture
def lattices(generator):
    return collate_lattices([random_lattice(3, generator=generator), lattice("bcc"), lattice("diamond", 0.1)])


def elasticity(generator, **options):
    return LatticeElasticityNet(**{**SMALL, "generator": generator, **options}).double()


@pytest.mark.parametrize("positive", ["square", "exp", None])
def test_turns_with_the_lattice(positive, lattices, generator):
    model = elasticity(generator, positive=positive, readout=16 if positive is None else 3)
    error = assert_equivariant(model, data=lattices, elements=2, steps=2, generator=generator)
    assert error.scale > 1e-3
    assert model(lattices).shape == (3, 6, 6)


def test_turns_in_float32(lattices, generator):
    single = Lattices(*(t.float() if t.is_floating_point() else t for t in lattices))
    assert_equivariant(elasticity(generator).float(), data=single, elements=2, generator=generator)


@pytest.mark.parametrize(
    ("tensor", "irreps", "size"),
    [
        ("i", "1o", 3),
        ("ij=ji", "1x0e + 1x2e", 6),
        ("ijk=ikj", "2x1o + 1x2o + 1x3o", 18),
        ("ijkl=jikl=jkli", "1x0e + 1x2e + 1x4e", 15),
    ],
)
def test_any_tensor(tensor, irreps, size, lattices, generator):
    """Each entry of the irreps is reached, also where the tensor holds no invariant or a degree of the other parity."""
    kind = CartesianTensor(tensor)
    assert kind.irreps == Irreps(irreps) and kind.irreps.dim == size
    model = LatticeTensorNet(tensor, degree=3, generator=generator, **SMALL).double()
    assert_equivariant(model, data=lattices, elements=1, generator=generator)
    found = model(lattices)
    assert found.shape == (3, *[3] * kind.rank)
    assert torch.allclose(kind.from_irreps(kind.to_irreps(found)), found)
    reached = kind.irreps.split(kind.to_irreps(found)[0])  # the random lattice: the others are centrosymmetric or cubic
    assert all(block.abs().max() > 1e-9 for block in reached)


@pytest.mark.parametrize("positive", ROOTS)
def test_no_negative_energy(positive, lattices, generator):
    """Untrained, trained, and for inputs far from any seen."""
    strange = [
        lattices._replace(radius=1e3 * lattices.radius),
        lattices._replace(pos=1e3 * lattices.pos, cell=1e-3 * lattices.cell),
        lattices._replace(radius=0 * lattices.radius),
    ]
    model = elasticity(generator, positive=positive)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    for _ in range(3):
        for x in (lattices, *strange):
            C = model(x)
            assert torch.equal(C, C.mT) and bool(torch.isfinite(C).all())
            values = torch.linalg.eigvalsh(C.detach())
            assert bool((values[:, 0] >= -1e-12 * values[:, -1].clamp(min=1)).all())
        optimizer.zero_grad()
        (model(lattices) + torch.eye(6)).square().sum().backward()  # the target is negative definite
        optimizer.step()
    free = elasticity(generator, positive=None)(lattices)
    assert torch.equal(free, free.mT) and float(torch.linalg.eigvalsh(free.detach()).min()) < 0


def test_derivatives_where_the_stiffness_is_zero(lattices, generator):
    model = elasticity(generator)
    with torch.no_grad():
        for parameter in model.network.after.parameters():
            parameter.zero_()
    C = model(lattices)
    assert not C.detach().any()
    C.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)


def test_the_choice_of_cell_does_not_matter(lattices, generator):
    """Larger cells, joints in another image or order, struts listed from the other end, lattices one by one."""
    model = elasticity(generator)
    C = model(lattices).detach()
    allowed = 1e-10 * C.abs().max()
    assert (model(lattices.supercell((2, 1, 1))) - C).abs().max() < allowed
    assert (model(lattices.supercell((1, 2, 2))) - C).abs().max() < allowed
    assert (torch.cat([model(one) for one in lattices.split()]) - C).abs().max() < allowed
    back = lattices._replace(bars=lattices.bars.flip(0), shift=-lattices.shift)
    assert (model(back) - C).abs().max() < allowed
    one = lattices.split()[0]
    image = torch.tensor([[1.0, 0, -2], [0, 0, 0], [0, 3, 0]], dtype=torch.float64)
    moved = one._replace(pos=one.pos + image @ one.cell[0], shift=one.shift + image[one.bars[0]] - image[one.bars[1]])
    assert (model(moved) - C[0]).abs().max() < allowed
    order = torch.tensor([2, 0, 1])
    shuffled = one._replace(pos=one.pos[order.argsort()], bars=order[one.bars])
    assert (model(shuffled) - C[0]).abs().max() < allowed


def test_no_struts(lattices, generator):
    bare = lattices._replace(bars=lattices.bars[:, :0], shift=lattices.shift[:0], radius=lattices.radius[:0])
    C = elasticity(generator)(bare)
    assert bool(torch.isfinite(C).all()) and torch.allclose(C, C[:1].expand(3, 6, 6))


def test_weights_come_from_the_generator():
    make = lambda seed: LatticeElasticityNet(**SMALL, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    one, again, other = (make(seed).state_dict() for seed in (0, 0, 1))
    assert one.keys() == {name for name, _ in make(0).named_parameters()}
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.slow
def test_compiles(lattices, generator):
    model = elasticity(generator, degree=2, correlation=2)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(lattices), model(lattices), rtol=1e-12)


def test_wrong_arguments(generator):
    for wrong in ({"channels": 0}, {"agg_norm": 0.0}, {"degree": 0}, {"radial": (0,)}):
        with pytest.raises(ValueError, match="sizes must be at least 1 and agg_norm positive"):
            LatticeElasticityNet(**wrong)
    with pytest.raises(ValueError, match="PositiveMatrix: kind"):
        LatticeElasticityNet(**SMALL, positive="relu")
    with pytest.raises(ValueError, match="different letters"):
        LatticeTensorNet("ii", **SMALL)
    with pytest.raises(ValueError, match="no power up to 1"):
        LatticeTensorNet("ijk=ikj", correlation=1, **SMALL)
    with pytest.raises(ValueError, match="Gaussian"):
        LatticeTensorNet("ij=ji", radius_max=0.0, **SMALL)
