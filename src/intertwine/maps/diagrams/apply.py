"""The layer as one differentiable function: derivatives of any order, torch.func transforms, compilation, autocast."""

import torch
from torch import Tensor

from .plan import LayerPlan


def run(plan: LayerPlan, terms: list[Tensor], weights: list[Tensor], constants: list[Tensor]) -> list[Tensor]:
    """Output terms [batch, n, .., n, c_out] of input terms [batch, n, .., n, c_in] and weights [N, c_in, c_out].

    constants: `plan.arrays` as tensors on the device of the terms. Under torch.compile plain operations are traced, so
    that they fuse; otherwise one autograd node serves the whole layer.
    """
    device = terms[0].device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return run(plan, [x.to(dtype) for x in terms], [w.to(dtype) for w in weights], constants)
    if torch.compiler.is_compiling():
        return plan.forward(terms, weights, constants)
    return list(_layer(plan, *terms, *weights, *constants))


def run_transposed(
    plan: LayerPlan, grads: list[Tensor], weights: list[Tensor], constants: list[Tensor]
) -> list[Tensor]:
    """Input terms from output terms by the transposed matrix of the layer: its derivative, as a layer of its own."""
    if torch.compiler.is_compiling():
        return plan.backward([], weights, grads, constants, True, False)[0]
    unused = [grads[0].new_zeros(0)] * len(plan.c_in)
    return list(_gradient(plan, (True, False), *unused, *weights, *constants, *grads))


def _parts(plan: LayerPlan, tensors) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    t, w = len(plan.c_in), len(plan.keys)
    return list(tensors[:t]), list(tensors[t : t + w]), list(tensors[t + w : t + w + len(plan.arrays)])


def _transforming() -> bool:
    """Whether torch.func transforms are at work: they need functions with a separate `setup_context`, whose call costs
    more than a small layer. Without torch's own answer, assume so."""
    return getattr(torch._C, "_are_functorch_transforms_active", lambda: True)()


def _layer(plan: LayerPlan, *tensors: Tensor) -> tuple[Tensor, ...]:
    return (_Layer if _transforming() else _DirectLayer).apply(plan, *tensors)


def _gradient(plan: LayerPlan, need: tuple[bool, bool], *tensors: Tensor, kept=None) -> tuple[Tensor, ...]:
    if _transforming():
        return _Gradient.apply(plan, need, *tensors)
    return _DirectGradient.apply(plan, need, kept, *tensors)


class _Layer(torch.autograd.Function):
    """(terms, weights) -> output terms."""

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
        found = _gradient(plan, need, *tensors, *grads, kept=getattr(ctx, "kept", None))
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
            sums.append(_layer(plan, *dx, *weights, *constants))
        if any(d is not None for d in dw):
            dw = [torch.zeros_like(w) if d is None else d for d, w in zip(dw, weights)]
            sums.append(_layer(plan, *terms, *dw, *constants))
        return tuple(sum(parts[1:], parts[0]) for parts in zip(*sums))

    @staticmethod
    def vmap(info, in_dims, plan, *tensors):
        t, w = len(plan.c_in), len(plan.keys)
        tensors = _batched(info.batch_size, in_dims[1:], tensors, t + w)
        if all(dim is None for dim in in_dims[1 + t : 1 + t + w]):
            flat = [x.flatten(0, 1) for x in tensors[:t]]
            weights = [x[0] for x in tensors[t : t + w]]
            found = _layer(plan, *flat, *weights, *tensors[t + w :])
            found = tuple(y.unflatten(0, (info.batch_size, -1)) for y in found)
        else:
            constants = list(tensors[t + w :])
            found = torch.vmap(lambda *parts: tuple(plan.forward(list(parts[:t]), list(parts[t:]), constants)))(
                *tensors[: t + w]
            )
        return found, (0,) * len(found)


def _batched(size: int, dims, tensors, count: int) -> list[Tensor]:
    """The first `count` tensors with the mapped axis in front, repeated where there is none."""
    moved = [x.expand(size, *x.shape) if d is None else x.movedim(d, 0) for d, x in zip(dims, tensors[:count])]
    return [*moved, *tensors[count:]]


def _gradients(plan: LayerPlan, need: tuple[bool, bool], kept, tensors) -> tuple[Tensor, ...]:
    terms, weights, constants = _parts(plan, tensors)
    grads = list(tensors[-len(plan.c_out) :])
    for_terms, for_weights = plan.backward(terms, weights, grads, constants, *need, kept)
    return (*(for_terms or ()), *(for_weights or ()))


class _Gradient(torch.autograd.Function):
    """(terms, weights, output gradients) -> gradients of the terms, of the weights, or both."""

    @staticmethod
    def forward(plan, need, *tensors):
        return _gradients(plan, need, None, tensors)

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
        needs = ctx.needs_input_grad[-len(tensors) :]
        for_terms, for_weights, for_grads = [None] * t, [None] * w, [None] * len(grads)
        if any(needs[:t]) and v_weights is not None:
            for_terms = list(_gradient(plan, (True, False), *terms, *v_weights, *constants, *grads))
        if any(needs[t : t + w]) and v_terms is not None:
            for_weights = list(_gradient(plan, (False, True), *v_terms, *weights, *constants, *grads))
        if any(needs[len(needs) - len(grads) :]):
            sums = []
            if v_terms is not None:
                sums.append(_layer(plan, *v_terms, *weights, *constants))
            if v_weights is not None:
                sums.append(_layer(plan, *terms, *v_weights, *constants))
            for_grads = [sum(parts[1:], parts[0]) for parts in zip(*sums)]
        return None, None, *for_terms, *for_weights, *[None] * len(constants), *for_grads

    @staticmethod
    def vmap(info, in_dims, plan, need, *tensors):
        t, w, g = len(plan.c_in), len(plan.keys), len(plan.c_out)
        constants = list(tensors[t + w : len(tensors) - g])
        dims = (*in_dims[2 : 2 + t + w], *in_dims[len(in_dims) - g :])
        parts = _batched(info.batch_size, dims, (*tensors[: t + w], *tensors[len(tensors) - g :]), t + w + g)

        def gradients(*parts):
            found = plan.backward(list(parts[:t]), list(parts[t : t + w]), list(parts[t + w :]), constants, *need)
            return (*(found[0] or ()), *(found[1] or ()))

        found = torch.vmap(gradients)(*parts)
        return found, (0,) * len(found)


class _DirectLayer(torch.autograd.Function):
    """`_Layer` outside of torch.func transforms; keeps contractions, which are smaller than terms, for its backward."""

    @staticmethod
    def forward(ctx, plan, *tensors):
        _Layer.setup_context(ctx, (plan, *tensors), None)
        ctx.kept = [] if any(ctx.needs_input_grad) else None
        return tuple(plan.forward(*_parts(plan, tensors), ctx.kept))

    backward = _Layer.backward
    jvp = _Layer.jvp


class _DirectGradient(torch.autograd.Function):
    """`_Gradient` outside of torch.func transforms."""

    @staticmethod
    def forward(ctx, plan, need, kept, *tensors):
        _Gradient.setup_context(ctx, (plan, need, *tensors), None)
        return _gradients(plan, need, kept, tensors)

    @staticmethod
    def backward(ctx, *v):
        return None, *_Gradient.backward(ctx, *v)
