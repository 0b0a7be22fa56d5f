"""Convolutions of point clouds with learned kernels of pair invariants, on positions and on positions × directions."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from ...nn.perceptron import affine
from ...nn.segment import segment_sum

BLOCK = 1 << 17  # edges times directions times channels taken at once: its arrays stay in cache


class KernelBasis(nn.Module):
    """Functions of pair invariants that kernels are sums of: all products of up to `degree` factors, two layers.

    Products are counted with their order, as published: 2 invariants of degree 3 give 2 + 4 + 8 numbers.
    """

    def __init__(
        self, invariants: int, hidden: int, basis_dim: int, *, degree: int = 3, generator: torch.Generator | None = None
    ):
        super().__init__()
        if min(invariants, hidden, basis_dim, degree) < 1:
            raise ValueError(
                f"KernelBasis: sizes and degree must be at least 1, got {invariants=} {hidden=} {basis_dim=} {degree=}"
            )
        self.degree = degree
        count = sum(invariants**d for d in range(1, degree + 1))
        self.first = affine(count, hidden, generator=generator)
        self.second = affine(hidden, basis_dim, generator=generator)

    def forward(self, invariants: Float[Tensor, "*pairs invariants"]) -> Float[Tensor, "*pairs basis"]:
        """Values of the functions."""
        powers = [invariants]
        for _ in range(self.degree - 1):
            powers.append((powers[-1][..., :, None] * invariants[..., None, :]).flatten(-2))
        return gelu(self.second(gelu(self.first(torch.cat(powers, -1)))))


class Calibration(nn.Module):
    """A factor on a kernel, found once: in the first training batch, so that the deviation of its input is kept.

    Factor and the flag that it was found are persistent buffers: they are learned from data, as running statistics
    are, and a checkpoint must bring them back. Nothing is found in `eval` mode, and a batch without any pair is left
    out. Inside `torch.func` transforms buffers cannot be written: pass one batch outside first.
    """

    scale: Float[Tensor, ""]
    calibrated: Bool[Tensor, ""]

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("calibrated", torch.tensor(False))
        self._found = False  # the flag again, for the compiler: a branch on a tensor would break the graph
        self.register_load_state_dict_post_hook(_read_flag)

    def scaled(self, weight: Tensor) -> Tensor:
        """The kernel's weight times the factor as it stands; a copy, since backward may find it overwritten."""
        return weight * self.scale.clone()

    def forward(self, before: Tensor, after: Tensor, pairs: int) -> Tensor:
        """`after`, scaled if this is the moment; `after` was made with a kernel that is `scaled`."""
        if not self.training or self._found or pairs == 0 or before.numel() < 2:
            return after
        with torch.no_grad():
            factor = before.std() / after.std()
            factor = torch.where(torch.isfinite(factor) & (factor > 0), factor, 1.0).to(self.scale.dtype)
            self.scale.copy_(factor)
            self.calibrated.fill_(True)
        self._found = True
        return after * factor


def _read_flag(module: Calibration, _: object) -> None:
    module._found = bool(module.calibrated)


class PointConv(nn.Module):
    """y_i = Σ_j k(a_ij) ⊙ x_j + b over edges j → i, k a learned sum of basis functions (arXiv:2310.02970, eq. 10).

    The attributes a_ij decide what it is equivariant under: `pair_invariants`. depthwise: a kernel of one number a
    channel; otherwise matrices that mix channels. The kernel is scaled once (`Calibration`).
    Raises ValueError for sizes below one.
    """

    def __init__(
        self, channels: int, basis_dim: int, *, depthwise: bool = True, generator: torch.Generator | None = None
    ):
        super().__init__()
        _sizes(self, channels, basis_dim)
        self.channels, self.depthwise = channels, depthwise
        outputs = channels if depthwise else channels**2
        self.kernel = affine(basis_dim, outputs, bias=False, generator=generator)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.calibration = Calibration()

    def forward(
        self,
        x: Float[Tensor, "nodes channels"],
        edge_index: Int[Tensor, "2 edges"],
        basis: Float[Tensor, "edges basis"],
    ) -> Float[Tensor, "nodes channels"]:
        """basis: `KernelBasis` of the pairs; edge_index: (source j, target i)."""
        source, target = edge_index
        kernel = linear(basis, self.calibration.scaled(self.kernel.weight))
        message = _apply(kernel, x.index_select(0, source), self.depthwise)
        y = segment_sum(message, target, len(x))
        return self.calibration(x, y, len(basis)) + self.bias


class FiberBundleConv(nn.Module):
    """Convolution of features f_i(o) at positions i and the same directions o everywhere (arXiv:2310.02970, eq. 9).

    separable: y_i(o) = Σ_j k₁(Δ, o) ⊙ f_j(o) over space, then z_i(o) = 1/K Σ_o' k₂(o, o') y_i(o') over directions;
    otherwise y_i(o) = 1/K Σ_j Σ_o' k(Δ, o, o') f_j(o') at once, at K times the work and memory. K is the number of
    directions. depthwise: k₂ (or k) is one number a channel; otherwise matrices that mix channels. Each kernel is
    scaled once (`Calibration`). Raises ValueError for sizes below one, and in `forward` when `fiber_basis` is missing
    or not expected.
    """

    def __init__(
        self,
        channels: int,
        basis_dim: int,
        *,
        depthwise: bool = True,
        separable: bool = True,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        _sizes(self, channels, basis_dim)
        self.channels, self.depthwise, self.separable = channels, depthwise, separable
        mixing = channels if depthwise else channels**2
        spatial = channels if separable else mixing
        self.kernel = affine(basis_dim, spatial, bias=False, generator=generator)
        self.calibration = Calibration()
        if separable:
            self.fiber_kernel = affine(basis_dim, mixing, bias=False, generator=generator)
            self.fiber_calibration = Calibration()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        x: Float[Tensor, "nodes directions channels"],
        edge_index: Int[Tensor, "2 edges"],
        basis: Float[Tensor, "edges directions basis"] | Float[Tensor, "edges directions directions basis"],
        fiber_basis: Float[Tensor, "directions directions basis"] | None = None,
    ) -> Float[Tensor, "nodes directions channels"]:
        """edge_index: (source j, target i); direction axes run over the receiver's o, then the sender's o'."""
        if (fiber_basis is not None) != self.separable:
            raise ValueError(
                f"FiberBundleConv: with separable={self.separable} forward takes "
                + ("a basis of edges and one of pairs of directions" if self.separable else "one basis, of all pairs")
            )
        weight = self.calibration.scaled(self.kernel.weight)
        directions, pairs = x.shape[1], len(basis)
        if not self.separable:
            source, target = edge_index
            message = _apply(linear(basis, weight), x.index_select(0, source)[:, None], self.depthwise).mean(2)
            return self.calibration(x, segment_sum(message, target, len(x)), pairs) + self.bias
        y = torch.zeros_like(x)
        # in blocks, but compiled as one sum: the number of blocks would be fixed with the number of edges
        width = pairs if torch.compiler.is_compiling() else BLOCK // (directions * self.channels)
        for edges, part in zip(edge_index.split(max(width, 1), 1), basis.split(max(width, 1))):
            y = y.index_add_(0, edges[1], linear(part, weight) * x.index_select(0, edges[0]))
        y = self.calibration(x, y, pairs)
        fiber = linear(fiber_basis, self.fiber_calibration.scaled(self.fiber_kernel.weight) / directions)
        if self.depthwise:
            z = torch.einsum("opc,npc->noc", fiber, y)
        else:
            z = torch.einsum("opdc,npc->nod", fiber.unflatten(-1, (self.channels, self.channels)), y)
        return self.fiber_calibration(y, z, pairs) + self.bias


def _sizes(owner: nn.Module, channels: int, basis_dim: int) -> None:
    if min(channels, basis_dim) < 1:
        raise ValueError(
            f"{type(owner).__name__}: channels and basis_dim must be at least 1, got {channels}, {basis_dim}"
        )


def _apply(kernel: Tensor, x: Tensor, depthwise: bool) -> Tensor:
    """The kernel on features: number by number, or as matrices [.., out, in]."""
    if depthwise:
        return kernel * x
    return (kernel.unflatten(-1, (x.shape[-1], x.shape[-1])) @ x[..., None])[..., 0]
