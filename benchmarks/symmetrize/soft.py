"""What the pull of `SoftEquivariance` costs, next to the training step and to other ways to project."""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import Table, arguments, compare, finish, start
from intertwine import maps
from intertwine.groups import MatrixGroup, O
from intertwine.maps import Map
from intertwine.models.tensors import EMLP
from intertwine.symmetrize import SoftEquivariance, relax, soft_layers

COLUMN = "penalty and its gradient"
LARGEST = 2_000  # basis maps that a dense projector of one layer may have: at width 128 it takes gigabytes


def about(axis: int) -> MatrixGroup:
    """O(2) about an axis of space."""
    i, j = (k for k in range(3) if k != axis)
    turn, mirror = torch.zeros(1, 3, 3), torch.eye(3)[None].clone()
    turn[0, i, j], turn[0, j, i], mirror[0, i, i] = 1, -1, -1
    return MatrixGroup(turn, mirror)


def network(width: int) -> tuple[SoftEquivariance, dict[str, dict]]:
    """The moment of inertia's network of the paper, four linear layers, pulled towards O(3) and three O(2)."""
    g = O(3)
    model = relax(EMLP(5 * g.trivial + 5 * g.V, g.V**2, width, 3, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) / p.shape[-1] ** 0.5
    layers = {"O(3)": soft_layers(model)}
    layers |= {f"about {a}": soft_layers(model, about(k), lambda h: h) for k, a in enumerate("xyz")}
    return SoftEquivariance(model, layers), layers


def spaces(model: SoftEquivariance, layers: dict[str, dict]) -> list[tuple[Tensor, Map]]:
    """Every matrix with every space that it is pulled towards, without biases."""
    return [
        (model.model.get_submodule(path).weight, maps.between(*reps, allow_zero=True))
        for own in layers.values()
        for path, reps in own.items()
    ]


def one_map_at_a_time(pairs: list[tuple[Tensor, Map]]) -> Callable[[], Tensor]:
    """`Map.project` and `Map.matrix`, block by block, for each symmetry."""

    def loss() -> Tensor:
        total = torch.zeros(())
        for W, space in pairs:
            with torch.no_grad():
                nearest = space.matrix(space.project(W))
            total = total + 50 * (W - nearest).square().sum()
        return total

    return loss


def written_out(pairs: list[tuple[Tensor, Map]]) -> Callable[[], Tensor] | None:
    """QQ'w, the columns of Q an orthonormal basis of all maps of a layer, as in `emlp`; None where that is huge."""
    if max(space.dim for _, space in pairs) > LARGEST:
        return None
    bases = []
    for W, space in pairs:
        basis = space.basis().flatten(1)
        bases.append((W, torch.linalg.qr(basis.T).Q.float() if len(basis) else torch.zeros(W.numel(), 0)))

    def loss() -> Tensor:
        total = torch.zeros(())
        for W, Q in bases:
            w = W.flatten()
            with torch.no_grad():
                nearest = Q @ (Q.mT @ w)
            total = total + 50 * (w - nearest).square().sum()
        return total

    return loss


def candidates(width: int, batch: int) -> tuple[dict[str, Callable[[], object]], dict[str, float]]:
    """What is timed, and how far the other penalties are from ours."""
    model, layers = network(width)
    x, y = torch.randn(batch, 20), torch.randn(batch, 9)
    parameters = list(model.parameters())
    matrices = [W for W in parameters if W.ndim == 2]
    pairs = spaces(model, layers)
    others = {"one map at a time": one_map_at_a_time(pairs), "written out": written_out(pairs)}
    others = {name: loss for name, loss in others.items() if loss is not None}

    def gradient(loss: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(), parameters, allow_unused=True)

    calls = {"intertwine": gradient(model.loss), "the step itself": gradient(lambda: F.mse_loss(model(x), y))}
    ours = torch.autograd.grad(model.loss(), matrices, allow_unused=True)
    error = {
        name: max(
            float((a - b).abs().max() / a.abs().max())
            for a, b in zip(ours, torch.autograd.grad(loss(), matrices, allow_unused=True))
            if a is not None
        )
        for name, loss in others.items()
    }
    return calls | {name: gradient(loss) for name, loss in others.items()}, error


def options() -> argparse.Namespace:
    """From the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--widths", nargs="+", type=int, default=[64, 128, 384])
    parser.add_argument("--batch", type=int, default=500, help="of the training step")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    chosen = options()
    start(chosen)
    torch.manual_seed(0)
    table = Table(f"four layers, four symmetries; a step on {chosen.batch} points", [COLUMN])
    table.head()
    for width in chosen.widths:
        calls, error = candidates(width, chosen.batch)
        table.add(f"width {width}", {COLUMN: compare(calls, repeats=chosen.repeats)}, error)
    finish(chosen, [table])


if __name__ == "__main__":
    main()
