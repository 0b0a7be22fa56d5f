"""A function of every value on a grid, and back, in chunks when there are many: then no grid of all samples exists."""

import copy

import torch
from torch import Tensor, nn

from ..maps.own_derivatives import quick
from .law import Function

WHOLE = 2**22  # values on the grid (16 MB in float32) up to which everything at once is faster on a CPU
CHUNK = 2**17  # values in one chunk: with their function and its slope they fit the cache of a core
ON_DEVICE = 2**27  # elsewhere, values at once: only memory counts


def repeats(fn: Function) -> bool:
    """Whether a function may be recomputed in parts: no parameters, equal values again, each from its entry alone."""
    if isinstance(fn, nn.Module) and list(fn.parameters()):
        return False
    fn = copy.deepcopy(fn).to("cpu", torch.float64).train() if isinstance(fn, nn.Module) else fn
    z = torch.linspace(-3, 3, 64, dtype=torch.float64, device="cpu")
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        once, again, part = fn(z.clone()), fn(z.clone()), fn(z[5:38].clone())
    return torch.equal(once, again) and torch.allclose(once[5:38], part, rtol=1e-12, atol=1e-12)


def on_grid(fn: Function, to: Tensor, back: Tensor, x: Tensor, *, chunked: bool) -> Tensor:
    """back @ fn(to @ x) for x [.., components, channels]; chunked, if allowed, where the grid takes much memory.

    The first and second derivatives are chunked too, and recompute values. A compiler gets ordinary operations: torch
    2.13 compiles a custom function inside torch.func.grad to wrong second derivatives.
    """
    size = len(to) * x.shape[-1]
    whole, chunk = (WHOLE, CHUNK) if x.device.type == "cpu" else (ON_DEVICE, ON_DEVICE)
    if not chunked or torch.compiler.is_compiling() or x.ndim < 3 or size * x.shape[:-2].numel() <= whole:
        return back @ fn(to @ x)
    return _OnGrid.apply(x.flatten(0, -3), to, back, fn, max(1, chunk // size)).unflatten(0, x.shape[:-2])


def _slope(fn: Function, to: Tensor, back: Tensor, x: Tensor, g: Tensor) -> Tensor:
    """The vector-Jacobian product of back @ fn(to @ x)."""
    return to.mT @ torch.func.vjp(fn, to @ x)[1](back.mT @ g)[0]


class _OnGrid(torch.autograd.Function):
    """(x, to, back, fn, samples at once) -> back @ fn(to @ x)."""

    generate_vmap_rule = True

    @staticmethod
    @quick
    def forward(x, to, back, fn, most):
        return torch.cat([back @ fn(to @ part) for part in x.split(most)])

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:3])
        ctx.rest = inputs[3:]

    @staticmethod
    def backward(ctx, g):
        x, to, back = ctx.saved_tensors
        return _Slope.apply(x, g, to, back, *ctx.rest), None, None, None, None


class _Slope(torch.autograd.Function):
    """(x, g, to, back, fn, samples at once) -> the derivative of `_OnGrid` by x, against g."""

    generate_vmap_rule = True

    @staticmethod
    @quick
    def forward(x, g, to, back, fn, most):
        return torch.cat([_slope(fn, to, back, *parts) for parts in zip(x.split(most), g.split(most))])

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:4])
        ctx.rest = inputs[4:]

    @staticmethod
    def backward(ctx, h):
        x, g, to, back = ctx.saved_tensors
        fn, most = ctx.rest
        most = len(x) if torch.is_grad_enabled() else most  # a third derivative follows these operations
        found = [
            torch.func.vjp(lambda x, g: _slope(fn, to, back, x, g), x_part, g_part)[1](h_part)
            for x_part, g_part, h_part in zip(x.split(most), g.split(most), h.split(most))
        ]
        return *(torch.cat(parts) for parts in zip(*found)), None, None, None, None
