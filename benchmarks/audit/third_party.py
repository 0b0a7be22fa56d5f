"""Models of other packages, audited as they come: an e3nn network, a transformer of torch, a plain CNN.

No timing: it prints what docs/audit.md shows. All weights are random; a symmetry by construction needs no training.
"""

import torch
from torch import Tensor, nn

from intertwine import audit
from intertwine.audit import AuditResult
from intertwine.groups import Cyclic, S
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


def run() -> list[AuditResult]:
    """The audits; seeds are fixed."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    data = {
        "e3nn": torch.randn(64, 3, generator=generator),
        "set": torch.randn(64, THINGS, 16, generator=generator),
        "image": torch.rand(64, 3, 32, 32, generator=generator),
    }
    cases = {
        "e3nn, tensor products": (e3nn_network(torch.float32), data["e3nn"]),
        "e3nn, made in float64": (e3nn_network(torch.float64), data["e3nn"]),
        "TransformerEncoder": (transformer(False), data["set"]),
        "TransformerEncoder with places": (transformer(True), data["set"]),
        "plain CNN": (cnn(), data["image"]),
    }
    return [
        audit.measure(model, rep_in, rep_out, x, n_elements=8, generator=generator, title=title)
        for title, ((model, rep_in, rep_out), x) in cases.items()
    ]


def main() -> None:
    """Print one line for each model."""
    print("| model | group | relative error, float64 | variation | verdict |\n|---|---|---|---|---|")
    for result in run():
        relative, variation = (result.row(name).value for name in ("relative", "variation"))
        print(f"| {result.title} | {result.group} | {relative:.1e} | {variation:.2g} | {result.verdict.word} |")


if __name__ == "__main__":
    main()
