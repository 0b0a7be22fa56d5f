"""The layer as one differentiable function: derivatives of any order, torch.func transforms, compilation, autocast."""

import torch
from torch import Tensor

from .plan import LayerPlan


def run(plan: LayerPlan, terms: list[Tensor], weights: list[Tensor], constants: list[Tensor]) -> list[Tensor]:
    """Output terms [batch, n, .., n, c_out] of a layer, from terms [batch, n, .., n, c_in] and weights [N, c_in, c_out].

    constants: `plan.arrays` as tensors on the device of the terms. Under torch.compile plain operations are traced, so
    that they fuse; otherwise one autograd node saves only terms and weights and contracts again in its backward.
    """
    device = terms[0].device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return run(plan, [x.to(dtype) for x in terms], [w.to(dtype) for w in weights], constants)
    if torch.compiler.is_compiling():
        return plan.forward(terms, weights, constants)
    return list(_Layer.apply(plan, *terms, *weights, *constants))


def _parts(plan: LayerPlan, tensors) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    t, w = len(plan.c_in), len(plan.keys)
    return list(tensors[:t]), list(tensors[t : t + w]), list(tensors[t + w : t + w + len(plan.arrays)])


class _Layer(torch.autograd.Function):
    """(terms, weights) -> output terms."""

    generate_vmap_rule = True

    @staticmethod
    def forward(plan, *tensors):
        return tuple(plan.forward(*_parts(plan, tensors)))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.plan = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx, *grads):
        plan, tensors = ctx.plan, ctx.saved_tensors
        t, w = len(plan.c_in), len(plan.keys)
        needs = ctx.needs_input_grad[1:]
        need = any(needs[:t]), any(needs[t : t + w])
        found = _Gradient.apply(plan, need, *tensors, *grads)
        found = [*(found[:t] if need[0] else [None] * t), *(found[len(found) - w :] if need[1] else [None] * w)]
        return None, *found, *[None] * len(plan.arrays)

    @staticmethod
    def jvp(ctx, _, *tangents):
        plan = ctx.plan
        terms, weights, constants = _parts(plan, ctx.saved_tensors)
        dx, dw, _ = _parts(plan, tangents)
        sums = []
        if any(d is not None for d in dx):
            dx = [torch.zeros_like(x) if d is None else d for d, x in zip(dx, terms)]
            sums.append(_Layer.apply(plan, *dx, *weights, *constants))
        if any(d is not None for d in dw):
            dw = [torch.zeros_like(w) if d is None else d for d, w in zip(dw, weights)]
            sums.append(_Layer.apply(plan, *terms, *dw, *constants))
        return tuple(sum(parts[1:], parts[0]) for parts in zip(*sums))


class _Gradient(torch.autograd.Function):
    """(terms, weights, output gradients) -> gradients of the terms, of the weights, or both."""

    generate_vmap_rule = True

    @staticmethod
    def forward(plan, need, *tensors):
        terms, weights, constants = _parts(plan, tensors)
        grads = list(tensors[-len(plan.c_out) :])
        for_terms, for_weights = plan.backward(terms, weights, grads, constants, *need)
        return (*(for_terms or ()), *(for_weights or ()))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.plan, ctx.need = inputs[:2]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx, *v):
        """With L(x, w) the layer, the output is the gradient of T = <g, L(x, w)>, trilinear in x, w and g; so are the
        derivatives of <v_x, dT/dx> + <v_w, dT/dw>: T(v_x, w, g) + T(x, v_w, g)."""
        plan, need, tensors = ctx.plan, ctx.need, ctx.saved_tensors
        terms, weights, constants = _parts(plan, tensors)
        grads = tensors[-len(plan.c_out) :]
        t, w = len(terms), len(weights)
        v_terms = list(v[:t]) if need[0] else None
        v_weights = list(v[len(v) - w :]) if need[1] else None
        needs = ctx.needs_input_grad[2:]
        for_terms, for_weights, for_grads = [None] * t, [None] * w, [None] * len(grads)
        if any(needs[:t]) and v_weights is not None:
            for_terms = list(_Gradient.apply(plan, (True, False), *terms, *v_weights, *constants, *grads))
        if any(needs[t : t + w]) and v_terms is not None:
            for_weights = list(_Gradient.apply(plan, (False, True), *v_terms, *weights, *constants, *grads))
        if any(needs[len(needs) - len(grads) :]):
            sums = []
            if v_terms is not None:
                sums.append(_Layer.apply(plan, *v_terms, *weights, *constants))
            if v_weights is not None:
                sums.append(_Layer.apply(plan, *terms, *v_weights, *constants))
            for_grads = [sum(parts[1:], parts[0]) for parts in zip(*sums)]
        return None, None, *for_terms, *for_weights, *[None] * len(constants), *for_grads
