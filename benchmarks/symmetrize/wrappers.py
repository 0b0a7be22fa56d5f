"""Wrappers that learn, as multiples of the bare model, and frames beside those of faenet, poses beside equiadapt's."""

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from benchmarks.harness import Table, arguments, by_column, finish, peer, start
from benchmarks.symmetrize.overhead import passes
from intertwine.groups import Cyclic, Dihedral, E, Lorentz, O
from intertwine.reps import Images, Invariant
from intertwine.symmetrize import (
    Canonicalize,
    DiscreteCanonicalizer,
    OrbitCanonicalize,
    OrbitSource,
    PCAFrame,
    ScalarGenerator,
    SoftEquivariance,
    VectorScore,
)

COLUMNS = ["forward", "forward + backward"]
SIDE, VECTOR = 32, 16


def cnn(channels: int, out: int) -> nn.Module:
    """Three convolutions on grey images, the means over 16 parts, numbers."""
    layers: list[nn.Module] = []
    for a, b in ((1, channels), (channels, channels), (channels, channels)):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.SiLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * channels, out))


def poses(channels: int) -> dict[str, nn.Module]:
    """A CNN behind canonicalizers whose network of scores has a quarter of its channels."""
    bare, score = cnn(channels, 10), cnn(channels // 4, VECTOR)
    reference, models = torch.randn(VECTOR), {"bare": bare}
    for group in (Cyclic(4), Dihedral(4), Cyclic(8)):
        scores = DiscreteCanonicalizer(VectorScore(score, Images(group), reference))
        models[str(group)] = Canonicalize(bare, Images(group), Invariant(), scores)
    theirs = equiadapt(score, bare)
    return models | ({"equiadapt, 4 turns": theirs} if theirs else {})


def equiadapt(score: nn.Module, model: nn.Module) -> nn.Module | None:
    """The same network of scores and the same model, with equiadapt's choice by likeness to a reference vector."""
    module = peer("equiadapt.images.canonicalization.discrete_group")
    if module is None:
        return None
    score.out_vector_size = VECTOR
    options = SimpleNamespace(
        beta=1.0,
        input_crop_ratio=1.0,
        resize_shape=SIDE,
        group_type="rotation",
        num_rotations=4,
        artifact_err_wt=0,
        learn_ref_vec=False,
    )
    canonicalizer = module.OptimizedGroupEquivariantImageCanonicalization(score, options, (1, SIDE, SIDE))

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.canonicalizer, self.model = canonicalizer, model

        def forward(self, x: Tensor) -> Tensor:
            return self.model(self.canonicalizer.canonicalize(x))

    return Whole()


def orbits(width: int) -> dict[str, nn.Module]:
    """An MLP on four four-vectors, and behind a learned element of the Lorentz group, projected or not."""
    group = Lorentz(1, 3)
    rep = 4 * group.V
    sizes = (rep.dim, width, width, width)
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.SiLU())]
    bare, net = nn.Sequential(*layers, nn.Linear(width, 1)), ScalarGenerator(rep)
    return {
        "bare": bare,
        "orbit": OrbitCanonicalize(bare, rep, Invariant(), OrbitSource(net, group, project=False)),
        "orbit, projecting": OrbitCanonicalize(bare, rep, Invariant(), OrbitSource(net, group, project=True)),
    }


def soft(copies: int) -> dict[str, dict[str, Callable[[], object]]]:
    """A layer from vectors to vectors: the call, which is the model's own, and a step with the regulariser."""
    V = O(3).V
    bare = nn.Sequential(nn.Linear(3 * copies, 3 * copies), nn.Linear(3 * copies, 3 * copies))
    wrapped = SoftEquivariance(bare, {"O(3)": dict.fromkeys(("0", "1"), (copies * V, copies * V))})
    x, weights = torch.randn(256, 3 * copies), list(bare.parameters())

    def step(model: nn.Module, regularised: bool) -> Callable[[], object]:
        return lambda: torch.autograd.grad(model(x).sum() + (wrapped.loss() if regularised else 0), weights)

    return {
        "bare": {"forward": passes(bare, x)["forward"], "forward + backward": step(bare, False)},
        "soft": {"forward": passes(wrapped, x)["forward"], "forward + backward": step(wrapped, True)},
    }


def frames(clouds: int, atoms: int) -> dict[str, dict[str, Callable[[], object]]]:
    """All eight frames of a batch of clouds and the positions in each: ours at once, faenet's cloud by cloud."""
    x, frame = torch.randn(clouds, atoms, 3), PCAFrame(E(3))

    def ours() -> Tensor:
        g = frame(x).g.to(x)
        return (x[:, None] - g[..., :3, 3][..., None, :]) @ g[..., :3, :3]

    found = {"intertwine": {"forward": ours}}
    module = peer("faenet.frame_averaging")
    if module:
        found["faenet"] = {"forward": lambda: [module.frame_averaging_3D(cloud, None, "all") for cloud in x]}
    return found


def main() -> None:
    """Print the tables."""
    parser = arguments(__doc__)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--width", type=int, default=384)
    options = parser.parse_args()
    start(options)
    torch.manual_seed(0)
    tables = []
    for title, models, shape, sizes in (
        (f"a CNN on images of {SIDE}²", poses(options.channels), (1, SIDE, SIDE), (1, 64)),
        ("an MLP on four four-vectors", orbits(options.width), (16,), (64, 1024)),
    ):
        table = Table(f"{title}: the bare model in ms, others as a multiple of it", COLUMNS, ours="bare")
        table.head()
        for batch in sizes:
            x = 0.25 * torch.randn(batch, *shape)
            steps = {name: passes(model.train(), x) for name, model in models.items()}
            table.add(str(batch), by_column(steps, COLUMNS, options.repeats))
        tables.append(table)
    table = Table("two layers between vectors, 256 samples, with and without a regulariser", COLUMNS, ours="bare")
    table.head()
    for copies in (16, 128):
        table.add(f"{copies} vectors", by_column(soft(copies), COLUMNS, options.repeats))
    tables.append(table)
    table = Table("eight frames of clouds and the positions in them", ["forward"])
    table.head()
    with torch.no_grad():
        for clouds, atoms in ((1, 20), (32, 20), (32, 200)):
            table.add(f"{clouds} × {atoms}", by_column(frames(clouds, atoms), ["forward"], options.repeats))
    finish(options, [*tables, table])


if __name__ == "__main__":
    main()
