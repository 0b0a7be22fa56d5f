"""Models of other packages, audited as they come: of e3nn, escnn, torchvision and torch; a table and pictures.

No timing: it prints what docs/audit.md shows, and `--pictures docs/pictures` draws what it shows. All weights are
random; a symmetry by construction needs no training. What does not import is left out by name. escnn wants NumPy before
2 and SciPy before 1.15, so the rows of docs/audit.md come from an environment of its own.
"""

import argparse
import importlib
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness import peer
from intertwine import audit
from intertwine.audit import AuditResult, Metric, NeroResult, OrbitGrid
from intertwine.groups import SE, SO, Cyclic, O, S
from intertwine.reps import Action, Images, Invariant, Permute
from intertwine.so3 import Irreps

THINGS = 8


def e3nn_network(dtype: torch.dtype) -> tuple[nn.Module, Action, Action]:
    """Powers of a vector by tensor products of e3nn, its constants made in a dtype: a number, a vector and a matrix."""
    from e3nn import o3

    class Powers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            out = o3.Irreps("1x0e + 1x1o + 1x2e")
            self.square = o3.FullyConnectedTensorProduct("1x1o", "1x1o", "4x0e + 4x2e")
            self.cube = o3.FullyConnectedTensorProduct("4x0e + 4x2e", "1x1o", "4x1o")
            self.out = o3.Linear("4x0e + 4x2e + 4x1o", out)

        def forward(self, x: Tensor) -> Tensor:
            square = self.square(x, x)
            return self.out(torch.cat([square, self.cube(square, x)], -1))

    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        network = Powers()
    finally:
        torch.set_default_dtype(before)
    return network, Irreps("1x1o"), Irreps("1x0e + 1x1o + 1x2e")  # single copies: e3nn's layout is ours


def transformer(positions: bool) -> tuple[nn.Module, Action, Action]:
    """torch.nn.TransformerEncoder on a set of things, with or without an embedding of their places."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.net = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.places = nn.Parameter(0.1 * torch.randn(THINGS, 16)) if positions else None

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x if self.places is None else x + self.places)

    return Encoder(), Permute(S(THINGS)), Permute(S(THINGS))


def cnn() -> tuple[nn.Module, Action, Action]:
    """Three convolutions with strides and poolings and a linear layer, the plan of a residual network's stem."""
    net = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
    )
    return net, Images(Cyclic(4)), Invariant(Cyclic(4))


def escnn_network() -> nn.Module:
    """Two steerable convolutions of escnn for turns by 45°, the largest of each fibre, its mean over the image.

    The maximum is taken here because escnn.nn.GroupPooling answers in float32 whatever it is given.
    """
    from escnn import gspaces
    from escnn import nn as enn

    space = gspaces.rot2dOnR2(N=8)
    image, fibres = enn.FieldType(space, [space.trivial_repr]), enn.FieldType(space, 6 * [space.regular_repr])

    class Steerable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first, second = enn.R2Conv(image, fibres, 5, padding=2), enn.R2Conv(fibres, fibres, 5, padding=2)
            self.net = enn.SequentialModule(first, enn.ReLU(fibres), second, enn.ReLU(fibres))
            self.out = nn.Linear(6, 10)

        def forward(self, x: Tensor) -> Tensor:
            y = self.net(enn.GeometricTensor(x, image)).tensor
            return self.out(y.unflatten(1, (6, 8)).amax(2).mean((2, 3)))

    return Steerable()


@cache
def torchvision_models() -> Any:
    """torchvision.models, or None. With a CPU build of torch the wheel's compiled operators do not load, and the import
    stops at what they should have declared; the models need none of them, so the two names are declared here."""
    try:
        return importlib.import_module("torchvision.models")
    except ImportError:
        print("left out: torchvision")
        return None
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return importlib.import_module("torchvision.models")


def blobs(n: int, size: int, channels: int, generator: torch.Generator) -> Tensor:
    """Smooth random pictures in a disc, so that a turn cuts off nothing."""
    x = torch.randn(n, channels, size, size, generator=generator)
    for _ in range(3):
        x = nn.functional.avg_pool2d(x, 5, 1, 2)
    ramp = (2 * torch.arange(size) - (size - 1)) / size
    disc = (1 - (ramp.square()[:, None] + ramp.square()) * 1.6).clamp(0, 1)
    return x / x.std() * disc


def run(there: dict[str, bool]) -> list[AuditResult]:
    """The audits; seeds are fixed. there: whether e3nn, escnn and torchvision are installed."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(64, 3, generator=generator)
    sets = torch.randn(64, THINGS, 16, generator=generator)
    images = torch.rand(64, 3, 32, 32, generator=generator)
    odd, large = (blobs(64, size, c, torch.Generator().manual_seed(1)) for size, c in ((29, 1), (64, 3)))
    quarter, eighth = ((Images(Cyclic(n)), Invariant(Cyclic(n))) for n in (4, 8))
    cases: dict[str, tuple[Any, Action, Action, Tensor]] = {}
    if there["e3nn"]:
        cases["e3nn, tensor products"] = (*e3nn_network(torch.float32), vectors)
        cases["e3nn, made in float64"] = (*e3nn_network(torch.float64), vectors)
    if there["escnn"]:
        cases["escnn, turns by 45°, 29 × 29"] = (escnn_network(), *quarter, odd)
        cases["the same, eighth turns"] = (escnn_network(), *eighth, odd)
    if there["torchvision"]:
        cases["torchvision, ResNet-18, 64 × 64"] = (torchvision_models().resnet18(weights=None), *quarter, large)
    cases["TransformerEncoder"] = (*transformer(False), sets)
    cases["TransformerEncoder with places"] = (*transformer(True), sets)
    cases["plain CNN"] = (*cnn(), images)
    return [
        audit.measure(model, rep_in, rep_out, x, n_elements=8, generator=generator, title=title)
        for title, (model, rep_in, rep_out, x) in cases.items()
    ]


def relative(y: Tensor, target: Tensor) -> Tensor:
    """How far an output is from its target, in units of the target."""
    return (y - target).norm(dim=1) / target.norm(dim=1)


def orbits(there: dict[str, bool]) -> dict[str, NeroResult]:
    """Orbits to look at, by the names of their files."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    change = Metric("relative change", "lower", relative)
    found = {}
    if there["e3nn"]:
        network, rep_in, rep_out = e3nn_network(torch.float32)
        plain = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, rep_out.dim))
        found["e3nn"] = audit.nero(
            {"e3nn": network, "plain MLP": plain}, rep_in, rep_out, torch.randn(64, 3, generator=generator),
            orbit=OrbitGrid.circle(72, group=O(3)), metric=change, generator=generator, title="e3nn and a plain MLP",
        )  # fmt: skip
    if there["escnn"] and there["torchvision"]:
        steerable, plain = escnn_network(), torchvision_models().resnet18(weights=None)
        found["escnn"] = audit.nero(
            {"escnn": lambda x: steerable(x[:, :1]), "ResNet-18": plain}, Images(SO(2)), Invariant(SO(2)),
            blobs(24, 65, 1, generator).expand(24, 3, 65, 65), orbit=OrbitGrid.circle(72), metric=change,
            generator=generator, title="escnn and ResNet-18, turned",
        )  # fmt: skip
    if there["torchvision"]:
        found["torchvision"] = audit.nero(
            torchvision_models().resnet18(weights=None), Images(SE(2)), Invariant(SE(2)), blobs(24, 64, 3, generator),
            orbit=OrbitGrid.torus(17, 17, 0.25, group=SE(2)), metric=change, generator=generator,
            title="ResNet-18, shifted by up to 8 pixels",
        )  # fmt: skip
    return found


def main() -> None:
    """Print one line for each model, and write the pictures where they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, help="write an SVG for each orbit into this folder")
    options = parser.parse_args()
    there = {name: peer(name) is not None for name in ("e3nn", "escnn")}
    there["torchvision"] = torchvision_models() is not None
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
        for name, result in orbits(there).items():
            (options.pictures / f"audit_{name}.svg").write_text(result.plot())
            print(result)
        return
    print("| model | group | relative error, float64 | variation | verdict |\n|---|---|---|---|---|")
    for result in run(there):
        rel, variation = (result.row(name).value for name in ("relative", "variation"))
        print(f"| {result.title} | {result.group} | {rel:.1e} | {variation:.2g} | {result.verdict.word} |")


if __name__ == "__main__":
    main()
