"""Wrapped models against the bare ones: a network on points under frames, a CNN under turns of the image."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.harness import Table, arguments, compare, finish, start
from intertwine.groups import SE, Cyclic, Dihedral, E
from intertwine.reps import Images, Invariant, Points
from intertwine.symmetrize import FrameAverage, GroupAverage, PCAFrame

COLUMNS = ["forward", "forward + backward"]


class PointNet(nn.Module):
    """Three layers per point, the mean over points, ten numbers."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        )
        self.out = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layers(x).mean(1))


def cnn(channels: int) -> nn.Module:
    """Three convolutions, the mean over pixels, ten numbers."""
    convs = [nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, channels), (channels, channels), (channels, channels))]
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    return nn.Sequential(convs[0], nn.SiLU(), convs[1], nn.SiLU(), convs[2], nn.SiLU(), pool)


def on_points(width: int) -> dict[str, nn.Module]:
    """The bare network, and wrappers of it; the frame alone is the source without any call of the network."""
    bare = PointNet(width)
    stochastic = FrameAverage(bare, Points(E(3)), Invariant(), frame="stochastic")
    return {
        "bare": bare,
        "frame alone": PCAFrame(E(3)),
        "one frame drawn": stochastic.train(),
        "SE(3), 4 frames": FrameAverage(bare, Points(SE(3)), Invariant()),
        "E(3), 8 frames": FrameAverage(bare, Points(E(3)), Invariant()),
        "the same, chunk=1": FrameAverage(bare, Points(E(3)), Invariant(), chunk=1),
    }


def on_images(channels: int) -> dict[str, nn.Module]:
    """The bare network, and its averages."""
    bare = cnn(channels)
    return {
        "bare": bare,
        "Cyclic(4), 4 elements": GroupAverage(bare, Images(Cyclic(4)), Invariant()),
        "Dihedral(4), 8 elements": GroupAverage(bare, Images(Dihedral(4)), Invariant()),
        "the same, chunk=1": GroupAverage(bare, Images(Dihedral(4)), Invariant(), chunk=1),
    }


def passes(model: nn.Module, x: Tensor) -> dict[str, Callable[[], object]]:
    """What is timed: evaluation, and a training step's gradient by the parameters."""

    def forward() -> object:
        with torch.no_grad():
            return model(x)

    def both() -> object:
        parameters = [p for p in model.parameters() if p.requires_grad]
        return torch.autograd.grad(model(x).sum(), parameters) if parameters else model(x)

    return {"forward": forward, "forward + backward": both}


def main() -> None:
    """Print both tables."""
    parser = arguments(__doc__)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument(
        "--points", nargs="+", default=["1x16", "64x16", "1x1024", "16x256", "1x4096"], help="batch x n"
    )
    parser.add_argument("--images", nargs="+", default=["1x32", "32x32"], help="batch x side")
    options = parser.parse_args()
    start(options)
    torch.manual_seed(0)
    tables = []
    for title, sizes, models, shape in (
        ("a network on points", options.points, on_points(options.width), lambda b, n: (b, n, 3)),
        ("a CNN", options.images, on_images(options.channels), lambda b, n: (b, 3, n, n)),
    ):
        table = Table(f"{title}: the bare model in ms, others as a multiple of it", COLUMNS, ours="bare")
        table.head()
        for size in sizes:
            x = torch.randn(*shape(*map(int, size.split("x"))))
            steps = {name: passes(model, x) for name, model in models.items()}
            table.add(size, {c: compare({n: s[c] for n, s in steps.items()}, repeats=options.repeats) for c in COLUMNS})
        tables.append(table)
    finish(options, tables)


if __name__ == "__main__":
    main()
