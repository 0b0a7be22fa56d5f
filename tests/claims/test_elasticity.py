"""Stiffness of lattices (arXiv:2401.16914): equivariance and positive energy against a network without either."""

import pytest
import torch
from torch import nn

from claims.claim import Claim, Numbers
from intertwine.data.atoms import LatticeAction, Lattices, collate_lattices, homogenize, random_lattice
from intertwine.groups import O
from intertwine.models.atoms import LatticeElasticityNet
from intertwine.nn.perceptron import affine, perceptron
from intertwine.nn.radial import Gaussian
from intertwine.nn.segment import segment_mean
from intertwine.so3 import Mandel, directional_modulus, from_mandel

KINDS = ("square", "free", "plain")
NEGATIVE = "negative share"
RANGES = {"length_max": 0.8, "radius_max": 0.06}  # of the lattices made here
MODULUS = 1000.0  # of the solid: the lattices' stiffness is then of order one


def samples(count: int, generator: torch.Generator) -> tuple[list[Lattices], torch.Tensor]:
    """Random lattices of 4 to 8 joints and 1 to 5 % of solid, and their stiffness [count, 6, 6]."""
    found = []
    for _ in range(count):
        joints = int(torch.randint(4, 9, (), generator=generator))
        density = 0.01 + 0.04 * float(torch.rand((), generator=generator))
        found.append(random_lattice(joints, generator=generator, rel_density=density))
    return found, homogenize(collate_lattices(found), E=MODULUS).float()


def single(lattices: list[Lattices]) -> Lattices:
    """Side by side, in float32."""
    joined = collate_lattices(lattices)
    return Lattices(*(part.float() if part.is_floating_point() else part for part in joined))


class CrystalGraphNet(nn.Module):
    """A crystal graph network: gated sums over neighbours of numbers, among them the components of directions.

    The peer without symmetry: nothing makes its 21 numbers turn with the lattice, nor the matrix positive.
    """

    def __init__(self, channels: int, layers: int, generator: torch.Generator):
        super().__init__()
        self.length, self.radius = Gaussian(RANGES["length_max"], 6), Gaussian(RANGES["radius_max"], 6)
        self.start = nn.Parameter(torch.randn(1, channels, generator=generator))
        z = 2 * channels + 12 + 3
        self.layers = nn.ModuleList(affine(z, 2 * channels, generator=generator) for _ in range(layers))
        self.norms = nn.ModuleList(nn.BatchNorm1d(2 * channels) for _ in range(layers))
        self.sums = nn.ModuleList(nn.BatchNorm1d(channels) for _ in range(layers))
        self.out = perceptron([channels, 2 * channels, 2 * channels, 21], generator=generator)

    def forward(self, x: Lattices) -> torch.Tensor:
        r = torch.cat([x.vectors, -x.vectors])
        source, target = torch.cat([x.bars[1], x.bars[0]]), torch.cat([x.bars[0], x.bars[1]])
        length = r.norm(dim=1)
        edge = torch.cat([self.length(length), self.radius(x.radius.repeat(2)), r / length[:, None]], 1)
        h = self.start.expand(len(x.pos), -1)
        for layer, norm, norm_sum in zip(self.layers, self.norms, self.sums):
            core, gate = norm(layer(torch.cat([h[target], h[source], edge], 1))).chunk(2, 1)
            message = torch.sigmoid(gate) * nn.functional.softplus(core)
            h = nn.functional.softplus(h + norm_sum(torch.zeros_like(h).index_add(0, target, message)))
        entries = self.out(segment_mean(h, x.batch, len(x.cell)))
        i, j = torch.triu_indices(6, 6)
        M = entries.new_zeros(len(entries), 6, 6)
        M[:, i, j] = entries
        M[:, j, i] = entries
        return M


def network(kind: str, channels: int, generator: torch.Generator) -> nn.Module:
    """ "square" and "free" are one network with and without the positive function; "plain" has as many parameters."""
    if kind != "plain":
        positive = None if kind == "free" else kind
        return LatticeElasticityNet(positive=positive, channels=channels, generator=generator, **RANGES)
    return CrystalGraphNet(5 * channels, 3, generator)


def fit(kind: str, train: tuple, test: tuple, steps: int, batch: int, channels: int, seed: int) -> Numbers:
    """Errors on the test set after training, and the share of its stiffnesses with a negative eigenvalue."""
    generator = torch.Generator().manual_seed(seed)
    net = network(kind, channels, generator)
    lattices, C = train
    rate = 1e-2 if kind != "plain" else 3e-3
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-8, amsgrad=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    turn, turn_C = LatticeAction(O(3)), Mandel(O(3))
    for _ in range(steps):
        drawn = torch.randint(len(lattices), (batch,), generator=generator)
        x, y = single([lattices[k] for k in drawn.tolist()]), C[drawn]
        if kind == "plain":
            g = O(3).sample(batch, generator=generator)
            x, y = turn(g, x), turn_C(g, y)
        optimizer.zero_grad()
        error = (net(x) - y).square().mean((1, 2)) / y.square().mean((1, 2))
        loss = 100 * error.mean()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    return {f"{kind} {name}": value for name, value in measure(net, *test, generator).items()}


@torch.no_grad()
def measure(net: nn.Module, lattices: list[Lattices], C: torch.Tensor, generator: torch.Generator) -> Numbers:
    """Means over lattices: error of the stiffness along directions over its mean, error in norm, and by how much the
    prediction changes when a joint is put into a strut, which changes no material."""
    n = nn.functional.normalize(torch.randn(250, 3, generator=generator))
    found = net.eval()(single(lattices))
    joined = net(single([one.with_joint(0) for one in lattices]))  # another graph of the same material
    wanted, c = directional_modulus(from_mandel(C), n), directional_modulus(from_mandel(found), n)
    eigenvalues = torch.linalg.eigvalsh(found.double())
    return {
        "direction error": float(((c - wanted).abs().mean(1) / wanted.mean(1)).mean()),
        "norm error": float(((found - C).norm(dim=(1, 2)) / C.norm(dim=(1, 2))).mean()),
        NEGATIVE: float((eigenvalues[:, 0] < -1e-6 * eigenvalues[:, -1]).double().mean()),
        "joint added": float(((joined - found).norm(dim=(1, 2)) / found.norm(dim=(1, 2))).mean()),
        "parameters": sum(p.numel() for p in net.parameters()),
    }


def experiment(*, seed: int, train: int, test: int, steps: int, plain_steps: int, **size: int) -> Numbers:
    """The three networks on the same lattices; a step of the plain one costs a tenth, so it takes more of them."""
    lattices, C = samples(train + test, torch.Generator().manual_seed(seed))
    sets = (lattices[:train], C[:train]), (lattices[train:], C[train:])
    numbers: Numbers = {}
    for kind in KINDS:
        numbers |= fit(kind, *sets, plain_steps if kind == "plain" else steps, seed=seed, **size)
    return numbers


def holds(numbers: Numbers) -> bool:
    """Below both others along directions, the one without symmetry by a fifth; no negative eigenvalue, and some without
    the square. The network without symmetry may have none either: it comes out nearly isotropic."""
    error, negative = ({kind: numbers[f"{kind} {name}"] for kind in KINDS} for name in ("direction error", NEGATIVE))
    return (
        error["square"] < error["free"]
        and error["square"] < 0.8 * error["plain"]
        and negative["square"] == 0 < negative["free"]
    )


def ours(numbers: Numbers) -> str:
    names = {"square": "with the square", "free": "the same network without it", "plain": "crystal graph network"}
    percent = {key: 100 * value for key, value in numbers.items()}
    parts = [
        f"{name}: directional error {percent[f'{kind} direction error']:.1f} %, error in norm "
        f"{percent[f'{kind} norm error']:.1f} %, negative eigenvalues in {percent[f'{kind} {NEGATIVE}']:.0f} %"
        for kind, name in names.items()
    ]
    added = f"{percent['square joint added']:.0f} %"
    return "; ".join(
        [*parts, f"a joint put into one strut, no change of the material, moves its prediction by {added}"]
    )


CLAIM = Claim(
    name="elasticity",
    system="Lattice elasticity",
    symbol="intertwine.models.atoms.LatticeElasticityNet",
    arxiv="2401.16914",
    statement="stiffness of 100 random strut lattices after training on 500: the equivariant network whose output is a "
    "matrix squared has a lower error of the stiffness along directions than the same network without the square, and "
    "by a fifth than a crystal graph network trained on turned lattices; it has no negative eigenvalue, without the "
    "square there are some",
    theirs="lower errors than CGCNN and its modification, and no negative eigenvalue where the others have some",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"train": 24, "test": 12, "steps": 30, "plain_steps": 100, "batch": 8, "channels": 2},
    full={"train": 500, "test": 100, "steps": 900, "plain_steps": 3000, "batch": 16, "channels": 8},
)


@pytest.mark.claim
def test_positive_and_equivariant():
    """A dozen steps say little of accuracy; the share of negative eigenvalues is 0 from the first."""
    numbers, _ = CLAIM.run(CLAIM.short)
    assert numbers["square negative share"] == 0 < numbers["free negative share"], numbers
    assert numbers["square direction error"] < numbers["plain direction error"], numbers


def test_the_rule_can_fail():
    fine = {f"{kind} direction error": 0.1 for kind in KINDS} | {
        "free direction error": 0.2,
        "plain direction error": 0.3,
    }
    fine |= {f"{kind} {NEGATIVE}": 0.1 for kind in KINDS} | {f"square {NEGATIVE}": 0.0}
    assert holds(fine)
    wrong = {"square direction error": 0.25, "free direction error": 0.05, "plain direction error": 0.12}
    wrong |= {f"square {NEGATIVE}": 0.01, f"free {NEGATIVE}": 0.0}
    assert not any(holds(fine | {name: value}) for name, value in wrong.items())
