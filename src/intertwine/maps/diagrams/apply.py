"""The layer as one differentiable function: derivatives of any order, torch.func transforms, compilation, autocast."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..own_derivatives import transforming
from .irreps import EXACT, IrrepPlan
from .plan import LayerPlan


def run(
    plan: LayerPlan,
    terms: list[Tensor],
    weights: list[Tensor],
    constants: list[Tensor],
    by_irreps: IrrepPlan | None = None,
) -> list[Tensor]:
    """Output terms [batch, components, c_out] of input terms [batch, components, c_in] and weights [N, c_in, c_out].

    constants: the arrays of both plans as tensors on the device of the terms; `by_irreps` is taken where it serves the
    dtype. Under torch.compile plain operations are traced, so that they fuse; otherwise one autograd node serves the
    whole layer.
    """
    device = terms[0].device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return run(plan, [x.to(dtype) for x in terms], [w.to(dtype) for w in weights], constants, by_irreps)
    if by_irreps is not None and terms[0].dtype in EXACT:
        plan = by_irreps
    if torch.compiler.is_compiling() or not (torch.is_grad_enabled() or transforming()):
        return plan.forward(terms, weights, constants)
    return list(_layer(_Bound(plan, constants), *terms, *weights))


def run_transposed(
    plan: LayerPlan, grads: list[Tensor], weights: list[Tensor], constants: list[Tensor]
) -> list[Tensor]:
    """Input terms from output terms by the transposed matrix of the layer: its derivative, as a layer of its own."""
    if torch.compiler.is_compiling():
        return plan.backward([], weights, grads, constants, True, False)[0]
    unused = [grads[0].new_zeros(0)] * len(plan.c_in)
    return list(_gradient(_Bound(plan, constants), (True, False), *unused, *weights, *grads))


@dataclass(frozen=True, eq=False, slots=True)
class _Bound:
    """A plan and its constants: one argument that no derivative and no transform looks into."""

    plan: LayerPlan | IrrepPlan
    constants: list[Tensor]

    def parts(self, tensors) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Terms, weights, and output gradients if there are any."""
        t, w = len(self.plan.c_in), len(self.plan.keys)
        return list(tensors[:t]), list(tensors[t : t + w]), list(tensors[t + w :])

    def forward(self, tensors, kept: list | None = None) -> tuple[Tensor, ...]:
        terms, weights, _ = self.parts(tensors)
        return tuple(self.plan.forward(terms, weights, self.constants, kept))

    def backward(self, need: tuple[bool, bool], tensors, kept: list | None = None) -> tuple[Tensor, ...]:
        terms, weights, grads = self.parts(tensors)
        for_terms, for_weights = self.plan.backward(terms, weights, grads, self.constants, *need, kept)
        return (*(for_terms or ()), *(for_weights or ()))


def _layer(bound: _Bound, *tensors: Tensor) -> tuple[Tensor, ...]:
    return (_Layer if transforming() else _DirectLayer).apply(bound, *tensors)


def _gradient(bound: _Bound, need: tuple[bool, bool], *tensors: Tensor, kept=None) -> tuple[Tensor, ...]:
    if transforming():
        return _Gradient.apply(bound, need, *tensors)
    return _DirectGradient.apply(bound, need, kept, *tensors)


def _batched(size: int, dims, tensors) -> list[Tensor]:
    """Tensors with the mapped axis in front, repeated where there is none."""
    return [x.expand(size, *x.shape) if d is None else x.movedim(d, 0) for d, x in zip(dims, tensors)]


def _filled(tangents, primals) -> list[Tensor]:
    """Tangents with zeros where there is none."""
    return [torch.zeros_like(x) if d is None else d for d, x in zip(tangents, primals)]


class _Layer(torch.autograd.Function):
    """(terms, weights) -> output terms."""

    @staticmethod
    def forward(bound, *tensors):
        return bound.forward(tensors)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.bound = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx, *grads):
        t, needs = len(ctx.bound.plan.c_in), ctx.needs_input_grad[1:]
        need = any(needs[:t]), any(needs[t:])
        kept = getattr(ctx, "kept", None)
        if torch.is_grad_enabled() or transforming():
            found = _gradient(ctx.bound, need, *ctx.saved_tensors, *grads, kept=kept)
        else:  # nobody differentiates the gradient, and a node for it costs more than a small layer
            found = ctx.bound.backward(need, (*ctx.saved_tensors, *grads), kept)
        for_terms = found[:t] if need[0] else [None] * t
        return None, *for_terms, *(found[t if need[0] else 0 :] if need[1] else [None] * (len(needs) - t))

    @staticmethod
    def jvp(ctx, _, *tangents):
        terms, weights, _ = ctx.bound.parts(ctx.saved_tensors)
        moved_terms, moved_weights, _ = ctx.bound.parts(tangents)
        sums = []
        if any(d is not None for d in moved_terms):
            sums.append(_layer(ctx.bound, *_filled(moved_terms, terms), *weights))
        if any(d is not None for d in moved_weights):
            sums.append(_layer(ctx.bound, *terms, *_filled(moved_weights, weights)))
        return tuple(sum(parts[1:], parts[0]) for parts in zip(*sums))

    @staticmethod
    def vmap(info, in_dims, bound, *tensors):
        tensors, dims, t = _batched(info.batch_size, in_dims[1:], tensors), in_dims[1:], len(bound.plan.c_in)
        if all(dim is None for dim in dims[t:]):
            found = _layer(bound, *(x.flatten(0, 1) for x in tensors[:t]), *(w[0] for w in tensors[t:]))
            found = tuple(y.unflatten(0, (info.batch_size, -1)) for y in found)
        else:
            found = torch.vmap(lambda *parts: bound.forward(parts))(*tensors)
        return found, (0,) * len(found)


class _Gradient(torch.autograd.Function):
    """(terms, weights, output gradients) -> gradients of the terms, of the weights, or both."""

    @staticmethod
    def forward(bound, need, *tensors):
        return bound.backward(need, tensors)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.bound, ctx.need = inputs[:2]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx, *v):
        """With L(x, w) the layer, the output is the gradient of T = <g, L(x, w)>, trilinear in x, w and g; so are the
        derivatives of <v_x, dT/dx> + <v_w, dT/dw>: T(v_x, w, g) + T(x, v_w, g)."""
        bound, need = ctx.bound, ctx.need
        terms, weights, grads = bound.parts(ctx.saved_tensors)
        t, w = len(terms), len(weights)
        v_terms = list(v[:t]) if need[0] else None
        v_weights = list(v[len(v) - w :]) if need[1] else None
        needs = bound.parts(ctx.needs_input_grad[-t - w - len(grads) :])
        for_terms, for_weights, for_grads = [None] * t, [None] * w, [None] * len(grads)
        if any(needs[0]) and v_weights is not None:
            for_terms = _gradient(bound, (True, False), *terms, *v_weights, *grads)
        if any(needs[1]) and v_terms is not None:
            for_weights = _gradient(bound, (False, True), *v_terms, *weights, *grads)
        if any(needs[2]):
            sums = [_layer(bound, *v_terms, *weights)] if v_terms is not None else []
            sums += [_layer(bound, *terms, *v_weights)] if v_weights is not None else []
            for_grads = [sum(parts[1:], parts[0]) for parts in zip(*sums)]
        return None, None, *for_terms, *for_weights, *for_grads

    @staticmethod
    def vmap(info, in_dims, bound, need, *tensors):
        found = torch.vmap(lambda *parts: bound.backward(need, parts))(*_batched(info.batch_size, in_dims[2:], tensors))
        return found, (0,) * len(found)


class _DirectLayer(torch.autograd.Function):
    """`_Layer` outside of torch.func transforms; keeps contractions, which are smaller than terms, for its backward."""

    @staticmethod
    def forward(ctx, bound, *tensors):
        _Layer.setup_context(ctx, (bound, *tensors), None)
        ctx.kept = [] if any(ctx.needs_input_grad) else None
        return bound.forward(tensors, ctx.kept)

    backward = _Layer.backward
    jvp = _Layer.jvp


class _DirectGradient(torch.autograd.Function):
    """`_Gradient` outside of torch.func transforms."""

    @staticmethod
    def forward(ctx, bound, need, kept, *tensors):
        _Gradient.setup_context(ctx, (bound, need, *tensors), None)
        return bound.backward(need, tensors, kept)

    @staticmethod
    def backward(ctx, *v):
        return None, *_Gradient.backward(ctx, *v)
