"""A layer of EquiformerV2 at its published widths, against fairchem's, with equal weights."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness import Table, arguments, by_column, finish, peer, start
from intertwine.models.atoms import EquiformerV2
from intertwine.models.atoms.equiformer_layers import Block, Edges
from intertwine.nn.activation import second_moment_constant
from intertwine.so3 import EdgeFrame, SO2Convolution

COLUMNS = ["forward", "forward + backward"]
SILU = second_moment_constant(torch.nn.functional.silu)  # ours divides by it where theirs does not
THEIRS = "fairchem.core.models.equiformer_v2"


class Setting:
    """One graph of `edges` edges, 20 to an atom, and the layer that its degree and order ask for."""

    def __init__(self, degree: int, order: int, edges: int, channels: int):
        generator = torch.Generator().manual_seed(0)
        self.degree, self.order, self.nodes, self.channels = degree, order, max(edges // 20, 1), channels
        network = EquiformerV2(
            ("H", "C", "O"), degree=degree, order=order, channels=channels, layers=1, generator=generator
        ).eval()
        self.block: Block = network.blocks[0]
        vectors = torch.randn(edges, 3, generator=generator)
        self.source, self.target = (torch.randint(self.nodes, (edges,), generator=generator) for _ in range(2))
        self.species = torch.randint(3, (self.nodes,), generator=generator)
        self.x = torch.randn(self.nodes, (degree + 1) ** 2, channels, generator=generator)
        self.gaussians, self.vectors = network.gaussians(vectors.norm(dim=1)), vectors
        ends = self.species[self.source], self.species[self.target]
        frame = EdgeFrame.from_vectors(vectors, degree, order)
        self.edges = Edges(self.source, self.target, frame, self.gaussians, *ends, None)

    def ours(self, x: Tensor) -> Tensor:
        """Our layer; the frames are made once for all layers, and stay outside."""
        return self.block(x, self.edges, None)

    def fairchem(self) -> tuple[Callable[[Tensor], Tensor], torch.nn.Module] | None:
        """Theirs, with our weights; Wigner matrices outside too."""
        layers, so3, frames = (peer(f"{THEIRS}.{name}") for name in ("transformer_block", "so3", "edge_rot_mat"))
        if layers is None or so3 is None:
            return None
        L, M = [self.degree], [self.order]
        rotation = torch.nn.ModuleList([so3.SO3_Rotation(self.degree)])
        mapping = so3.CoefficientMappingModule(L, M)
        options = {"resolution": 18, "normalization": "component"}
        grids = torch.nn.ModuleList(
            torch.nn.ModuleList(so3.SO3_Grid(l, m, **options) for m in range(self.degree + 1))
            for l in range(self.degree + 1)
        )
        block = layers.TransBlockV2(
            *(self.channels, 64, 8, 64, 16, 128, self.channels, L, M, rotation, mapping, grids, 3, [600, 128, 128]),
            use_grid_mlp=True,
            norm_type="layer_norm_sh",
        ).eval()
        copy_weights(self.block, block, self.degree, self.order)
        rotation[0].set_wigner(frames.init_edge_rot_mat(self.vectors))
        edge_index = torch.stack([self.source, self.target])

        def call(x: Tensor) -> Tensor:
            embedding = so3.SO3_Embedding(0, L.copy(), self.channels, device=x.device, dtype=x.dtype)
            embedding.set_embedding(x)
            embedding.set_lmax_mmax(L.copy(), L.copy())
            return block(embedding, self.species, self.gaussians, edge_index, None).embedding

        return call, block


@torch.no_grad()
def copy_weights(ours: Block, theirs: torch.nn.Module, degree: int, order: int) -> None:
    """Our initial weights into their layer: what differs is a scale here and the order of rows there."""
    attention, theirs_attention = ours.attention, theirs.ga
    copy_convolution(attention.first, theirs_attention.so2_conv_1, degree, order, 1.0, back=False)
    copy_convolution(attention.second, theirs_attention.so2_conv_2, degree, order, SILU, back=True)
    theirs_attention.source_embedding.weight.copy_(attention.radial.source)
    theirs_attention.target_embedding.weight.copy_(attention.radial.target)
    radial = [module for module in theirs_attention.so2_conv_1.rad_func.net if isinstance(module, torch.nn.Linear)]
    for module, weight, bias in zip(radial, attention.radial.weights, attention.radial.biases):
        module.weight.copy_(weight.T)
        module.bias.copy_(bias)
    theirs_attention.alpha_dot.copy_(attention.alpha)
    for mine, other in (
        (attention.out, theirs_attention.proj),
        (ours.feed_forward.into, theirs.ffn.so3_linear_1),
        (ours.feed_forward.out, theirs.ffn.so3_linear_2),
    ):
        other.weight.copy_(mine.weight.view(degree + 1, mine.rep_in.blocks[0][1], -1).mT)
        other.bias.copy_(mine.bias)
    scalars = ours.feed_forward.scalars
    theirs.ffn.scalar_mlp[0].weight.copy_(scalars.weight.view(scalars.rep_in.dim, -1).T)
    theirs.ffn.scalar_mlp[0].bias.copy_(scalars.bias)
    for i, weight in enumerate(ours.feed_forward.act.perceptron.weights):
        theirs.ffn.grid_mlp[2 * i].weight.copy_(weight.T * (SILU if i else 1.0))


def copy_convolution(
    ours: SO2Convolution, theirs: torch.nn.Module, degree: int, order: int, scale: float, *, back: bool
) -> None:
    """They put extra scalars first, and scale degrees above the order up on the way back."""
    lift = [math.sqrt((2 * l + 1) / (2 * order + 1)) if back and l > order else 1.0 for l in range(degree + 1)]
    factor = torch.tensor(lift).repeat_interleave(ours.channels_out)
    for m, weight in enumerate(ours.weights):
        width, own = ours.plan.widths(m)[1], factor[m * ours.channels_out :]
        if m == 0:
            main, extra = weight[:, :width] / own * scale, weight[:, width:]
            theirs.fc_m0.weight.copy_(torch.cat([extra, main], 1).T)
            theirs.fc_m0.bias.copy_(torch.cat([ours.bias[width:], ours.bias[:width] / own]))
        else:
            theirs.so2_m_conv[m - 1].fc.weight.copy_((weight / own.repeat(2) * scale).T)


def passes(call: Callable[[Tensor], Tensor], layer: torch.nn.Module, x: Tensor) -> dict[str, Callable[[], object]]:
    """Forward alone, and with the derivatives by x and all weights."""

    def forward() -> None:
        with torch.no_grad():
            call(x)

    def both() -> None:
        leaf = x.detach().requires_grad_()
        torch.autograd.grad(call(leaf).square().sum(), [leaf, *layer.parameters()])

    return dict(zip(COLUMNS, (forward, both)))


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--degrees", type=int, nargs="+", default=[2, 4, 6])
    parser.add_argument("--order", type=int, default=2)
    parser.add_argument("--edges", type=int, default=1000)
    parser.add_argument("--channels", type=int, default=128)
    options = parser.parse_args()
    start(options)
    table = Table(f"{options.edges} edges, {options.channels} channels, orders up to {options.order}, float32", COLUMNS)
    table.head()
    for degree in options.degrees:
        setting = Setting(degree, min(options.order, degree), options.edges, options.channels)
        calls, error = {"intertwine": passes(setting.ours, setting.block, setting.x)}, {}
        if (found := setting.fairchem()) is not None:
            call, layer = found
            calls["fairchem"] = passes(call, layer, setting.x)
            with torch.no_grad():
                expected = setting.ours(setting.x)
                error["fairchem"] = ((call(setting.x) - expected).abs().max() / expected.abs().max()).item()
        table.add(f"L = {degree}", by_column(calls, COLUMNS, options.repeats), error)
    finish(options, [table])


if __name__ == "__main__":
    main()
