"""What stages of an equivariant transformer cost, beside one plain warp of the same images (kornia's if installed)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.harness import Table, arguments, by_column, finish, peer, start
from intertwine.models.images import EquivariantTransformer, TransformedClassifier, TransformerSequence, look
from intertwine.models.images.warp import places

COLUMNS = ["forward", "forward + backward"]
PLAIN = "affine_grid + grid_sample"


def warps(x: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """One resampling by a given matrix [batch, 3, 3] on [-1, 1]², in several ways."""
    side = x.shape[-1]

    def plain(T: Tensor) -> Tensor:
        grid = nn.functional.affine_grid(T[:, :2], list(x.shape), align_corners=False)
        return nn.functional.grid_sample(x, grid, align_corners=False)

    found = {PLAIN: plain, "ours, projective": lambda T: look(x, places(x, "identity", (side, side)), T)}
    if kornia := peer("kornia.geometry.transform"):
        # kornia wants where each pixel goes, in pixels between the centres of the first and the last
        to_pixels = torch.tensor([[side / 2, 0, (side - 1) / 2], [0, side / 2, (side - 1) / 2], [0, 0, 1]])

        def moved(T: Tensor) -> Tensor:
            return to_pixels @ torch.linalg.inv(T) @ torch.linalg.inv(to_pixels)

        size = (side, side)
        found["kornia warp_affine"] = lambda T: kornia.warp_affine(x, moved(T)[:, :2], size)
        found["kornia warp_perspective"] = lambda T: kornia.warp_perspective(x, moved(T), size, align_corners=True)
    return found


def stages(channels: int, width: int, side: int) -> dict[str, nn.Module]:
    """Networks that do nothing but find a pose and resample once."""

    def behind(*kinds: str) -> nn.Module:
        made = [EquivariantTransformer(kind, channels, width, size=(side, side)) for kind in kinds]
        return TransformedClassifier(nn.Identity(), TransformerSequence(*made))

    return {"one stage": behind("rotation-scale"), "three": behind("rotation-scale", "x-shear", "hyperbolic")}


def measured(x: Tensor, width: int, coordinates: int) -> tuple[dict[str, dict[str, Callable]], dict[str, float]]:
    """Everything to time on a batch of images, and how far the warps are from the plain one inside the border."""
    T = torch.eye(3) + 0.1 * torch.tensor([[1.0, -1, 0], [1, 1, 0], [0, 0, 0]])
    T = T.repeat(len(x), 1, 1).requires_grad_()
    calls = warps(x)
    steps = {name: passes(lambda call=call: call(T), [T]) for name, call in calls.items()}
    for side in dict.fromkeys((coordinates, x.shape[-1])):
        for name, model in stages(x.shape[1], width, side).items():
            steps[f"{name}, found on {side}²"] = passes(lambda model=model: model(x), list(model.parameters()))
    inside = {name: call(T).detach()[..., 1:-1, 1:-1] for name, call in calls.items()}
    expected = inside.pop(PLAIN)
    return steps, {name: (found - expected).abs().max().item() for name, found in inside.items()}


def passes(call: Callable[[], Tensor], inputs: list[Tensor]) -> dict[str, Callable[[], object]]:
    """What is timed: evaluation, and the gradient by the matrix or by the parameters."""

    def forward() -> object:
        with torch.no_grad():
            return call()

    return {"forward": forward, "forward + backward": lambda: torch.autograd.grad(call().sum(), inputs)}


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--images", nargs="+", default=["1x64", "16x64", "1x256", "16x256"], help="batch x side")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--width", type=int, default=16, help="of the pose predictors")
    parser.add_argument("--coordinates", type=int, default=32, help="side of the grids that poses are found on")
    options = parser.parse_args()
    start(options)
    torch.manual_seed(0)
    table = Table(f"{PLAIN} in ms, others as a multiple of it", COLUMNS, ours=PLAIN)
    table.head()
    for size in options.images:
        batch, side = map(int, size.split("x"))
        x = torch.rand(batch, options.channels, side, side)
        steps, error = measured(x, options.width, options.coordinates)
        table.add(size, by_column(steps, COLUMNS, options.repeats), error)
    finish(options, [table])


if __name__ == "__main__":
    main()
