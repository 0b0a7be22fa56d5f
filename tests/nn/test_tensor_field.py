"""The tensor field kernel: the sum over J that defines it, and edges without a direction."""

import math

import pytest
import torch

from intertwine.nn import TensorFieldKernel
from intertwine.so3 import EdgeFrame, clebsch_gordan, spherical_harmonics

SHAPES = [
    ("3x0+2x1+1x2+2x3", "2x0+3x1+2x2"),
    ("1x0", "2x0+2x1"),
    ("2x0+2x1", "1x0"),
    ("1x1+2x3", "2x2"),
    ("2x2", "3x0+1x3"),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def edges(count, seed=0):
    x = torch.randn(count, 3, generator=generator(seed), dtype=torch.float64)
    x[:2] = torch.tensor([[0, 1.3, 0], [0, -0.7, 0]])[:count]
    return x


def by_definition(kernel, x, direction, scalars):
    """Σ_J φ_J Q_J Y_J written out, with e3nn's coefficients and harmonics."""
    h = scalars.expand(len(kernel.pairs), *scalars.shape)
    for A, b, gain, offset in zip(kernel.matrices, kernel.shifts, kernel.gains, kernel.offsets):
        h = torch.relu(torch.nn.functional.layer_norm(h @ A + b, A.shape[-1:]) * gain + offset)
    source, target = kernel.source, kernel.target
    Y = spherical_harmonics(direction, source.lmax + target.lmax)
    blocks, out = dict(zip(source.order, source.rep.split(x))), {}
    for (k, l), row, last in zip(kernel.pairs, h, kernel.last):
        phi = torch.einsum("eh,hjio->ejio", row, last)
        fan = sum((2 * min(a, l) + 1) * c for a, c in source.channels.items())
        for n, J in enumerate(range(abs(k - l), k + l + 1)):
            Q = math.sqrt((2 * l + 1) / fan) * torch.tensor(clebsch_gordan(k, J, l).copy())
            y = Y[:, J * J : (J + 1) ** 2]
            out[l] = out.get(l, 0) + torch.einsum("aJb,eJ,eai,eio->ebo", Q, y, blocks[k], phi[:, n])
    return target.rep.join([out[l] for l in target.order])


def in_frames(kernel, x, direction, scalars, apart=None):
    source, target = kernel.source, kernel.target
    frame = EdgeFrame.from_vectors(direction, max(source.lmax, target.lmax))
    y = frame.truncated(source.lmax, source.lmax).into(source.rows(x))
    z = kernel(y, kernel.weights(scalars, apart))
    return target.flat(frame.truncated(target.lmax, target.lmax).out_of(z))


@pytest.mark.parametrize(("rep_in", "rep_out"), SHAPES)
@pytest.mark.parametrize("count", [0, 1, 6])
def test_it_is_the_sum_that_defines_it(rep_in, rep_out, count):
    kernel = TensorFieldKernel(rep_in, rep_out, 1, generator=generator()).double()
    direction = edges(count)
    scalars = torch.cat(
        [direction.norm(dim=1, keepdim=True), torch.randn(count, 1, generator=generator(1)).double()], 1
    )
    x = torch.randn(count, kernel.source.rep.dim, generator=generator(2), dtype=torch.float64, requires_grad=True)
    direction.requires_grad_()
    ours, theirs = (f(kernel, x, direction, scalars) for f in (in_frames, by_definition))
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    w = torch.randn(ours.shape, generator=generator(3), dtype=torch.float64)
    for a, b in zip(*(torch.autograd.grad((y * w).sum(), (x, direction)) for y in (ours, theirs))):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


def test_an_edge_of_length_zero_keeps_only_scalars_of_the_kernel():
    kernel = TensorFieldKernel("2x0+2x1", "3x0+2x1+1x2", generator=generator()).double()
    apart = torch.tensor([True, False])
    direction, scalars = torch.tensor([[0.0, 1, 0], [0, 1, 0]]).double(), torch.tensor([[1.0], [0.0]]).double()
    x = torch.randn(2, 8, generator=generator(1), dtype=torch.float64)
    y = in_frames(kernel, x, direction, scalars, apart)
    turned = in_frames(kernel, x, torch.tensor([[0.0, 1, 0], [1, 0, 0]]).double(), scalars, apart)
    torch.testing.assert_close(y, turned)
    assert not y[1, 9:].any() and y[1, :9].abs().min() > 0 and y[0, 9:].any()


def test_variance_stays():
    kernel = TensorFieldKernel("8x0+8x1+8x2", "8x0+8x1+8x2", generator=generator()).double()
    direction = edges(400)
    x = torch.randn(400, kernel.source.rep.dim, generator=generator(1), dtype=torch.float64)
    y = in_frames(kernel, x, direction, direction.norm(dim=1, keepdim=True))
    for block in kernel.target.rep.split(y):
        assert 0.5 < block.square().mean() < 2


def test_bad_input():
    with pytest.raises(TypeError, match="has parities, the kernel none"):
        TensorFieldKernel("1x0e", "1x0")
    with pytest.raises(ValueError, match="one term for each degree"):
        TensorFieldKernel("1x0+2x0", "1x0")
    with pytest.raises(ValueError, match="one term for each degree"):
        TensorFieldKernel("1x0", "")
