"""A NequIP layer written with e3nn's modules, moved over with the same numbers."""

from typing import Any

import torch
from torch import Tensor

from intertwine.models.atoms.nequip import Interaction
from intertwine.nn import Gate
from intertwine.so3 import Irrep, Irreps

from .e3nn import from_e3nn

Matrix = dict[Irrep, Tensor]


def nequip_layer(
    linear_1: Any,
    product: Any,
    linear_2: Any,
    self_connection: Any,
    gate: Any,
    *,
    avg_num_neighbors: float,
) -> tuple[Interaction, Tensor]:
    """A NequIP layer (arXiv:2101.03164) of e3nn's modules as an `Interaction`, and the order of its radial weights.

    linear_1: o3.Linear on the features; product: their "uvu" o3.TensorProduct with one channel of every harmonic, with
    external weights; linear_2: o3.Linear behind the sum over edges; self_connection: o3.FullyConnectedTensorProduct of
    the features and one-hot species; gate: e3nn.nn.Gate; avg_num_neighbors: what the sum is divided by the root of.
    e3nn's weights w, [edges, weight_numel], are ours as `w[:, order].unflatten(1, layer.conv.weight_shape)`, features
    as `from_e3nn(x, irreps)`. Raises ValueError for a layer of another form.
    """
    rep_in, rep_out = from_e3nn(linear_1.irreps_in), from_e3nn(gate.irreps_out)
    harmonics, attributes = from_e3nn(product.irreps_in2), from_e3nn(self_connection.irreps_in2)
    for name, irreps in (("linear_1", rep_in), ("gate", rep_out)):
        if len(dict(irreps.blocks)) < len(irreps.blocks):
            raise ValueError(f"nequip_layer: {name} has an irrep twice in {irreps}; simplify its irreps")
    degree = len(harmonics.blocks) - 1
    if harmonics != Irreps.spherical(degree) or any(i.connection_mode != "uvu" for i in product.instructions):
        raise ValueError(f"nequip_layer: product must be 'uvu' with one channel of every harmonic, got {product}")
    if len(attributes.blocks) != 1 or attributes.blocks[0][0] != Irrep(0, 1):
        raise ValueError(f"nequip_layer: self_connection needs species as scalars 'n x 0e', got {attributes}")
    if not rep_out.blocks or rep_out.blocks[0][0] != Irrep(0, 1):
        raise ValueError(f"nequip_layer: the gate must give scalars 0e first, got {rep_out}")
    layer = Interaction(rep_in, degree, rep_out, attributes.dim, avg_num_neighbors, torch.Generator())
    if layer.rep_out != rep_out:
        raise ValueError(f"nequip_layer: the gate gives {rep_out}, of which edges reach {layer.rep_out} only")
    layer.gate = Gate(layer.gate.scalars.rep_in, _functions(gate), layer.gate.gated, *_gates(gate), normalize=False)
    layer = layer.to(linear_1.weight.device, linear_1.weight.dtype)
    order, rows = _paths(layer, product)
    first, last, own = _matrices(linear_1), _matrices(linear_2), _by_species(self_connection)
    with torch.no_grad():
        for (irrep, c), weight in zip(rep_in.blocks, layer.before):
            weight.copy_(first[irrep] * c**0.5)
        for k, (irrep, _) in enumerate(rep_out.blocks):
            picked, scale = rows[irrep]
            if last[irrep].shape[1] != layer.after[k].shape[1]:
                raise ValueError(f"nequip_layer: linear_2 gives {last[irrep].shape[1]} {irrep}, the gate takes others")
            matrix = last[irrep][picked] * scale[:, None].to(last[irrep])
            layer.after[k].copy_(matrix * matrix.shape[0] ** 0.5)
            if str(k) in layer.self_connection:
                weight = own[irrep]
                layer.self_connection[str(k)].copy_(weight * weight.shape[1] ** 0.5)
    return layer, order


def _functions(gate: Any) -> list[Any]:
    """Those of the scalars, scaled as e3nn does."""
    return [_scaled(act) for act in gate.act_scalars.acts]


def _gates(gate: Any) -> list[Any]:
    """The one function of all gates, in a list; none where nothing is gated."""
    acts = list(gate.act_gates.acts)
    if any(irrep != (0, 1) for _, irrep in gate.irreps_gates) or len({act.f for act in acts}) > 1:
        raise ValueError(f"nequip_layer: gates must be 0e and have one function, got {gate.irreps_gates}")
    return [_scaled(act) for act in acts[:1]]


def _scaled(act: Any) -> Any:
    f, constant = act.f, float(act.cst)
    return lambda x: f(x) * constant


def _paths(layer: Interaction, product: Any) -> tuple[Tensor, dict[Irrep, tuple[Tensor, Tensor]]]:
    """Where e3nn has each radial weight of ours; for each irrep, its rows in e3nn's order, and their scales."""
    middle = [(mul, Irrep(irrep.l, irrep.p)) for mul, irrep in product.irreps_out]
    weights, starts, found = 0, {}, {}
    seen: dict[Irrep, int] = {}
    for n, (mul, irrep) in enumerate(middle):
        starts[n] = seen.get(irrep, 0)
        seen[irrep] = starts[n] + mul
    for ins in product.instructions:
        mul, irrep = middle[ins.i_out]
        found[ins.i_in1, product.irreps_in2[ins.i_in2].ir.l, irrep] = weights, starts[ins.i_out], mul, ins.path_weight
        weights += mul
    if set(found) != set(layer.conv.paths):
        raise ValueError(f"nequip_layer: {product} does not have the paths of {layer.conv}")
    order, rows = [], {irrep: ([], []) for irrep, _ in layer.rep_out.blocks}
    for path in layer.conv.paths:
        weight, start, mul, scale = found[path]
        order.append(torch.arange(weight, weight + mul))
        rows[path[2]][0].append(torch.arange(start, start + mul))
        rows[path[2]][1].append(torch.full((mul,), scale / path[2].dim ** 0.5))
    return torch.cat(order), {irrep: (torch.cat(index), torch.cat(scale)) for irrep, (index, scale) in rows.items()}


def _matrices(linear: Any) -> Matrix:
    """Of each irrep, [channels in, channels out], all terms of it together."""
    parts = zip(
        linear.instructions, linear.weight.split([i.path_shape[0] * i.path_shape[1] for i in linear.instructions])
    )
    blocks = {(i.i_in, i.i_out): (w.view(i.path_shape) * i.path_weight).detach() for i, w in parts}
    return _joined(blocks, linear.irreps_in, linear.irreps_out, 0)


def _by_species(product: Any) -> Matrix:
    """Of each irrep, [species, channels in, channels out]."""
    parts = zip(
        product.instructions,
        product.weight.split([i.path_shape[0] * i.path_shape[1] * i.path_shape[2] for i in product.instructions]),
    )
    blocks = {}
    for i, w in parts:
        scale = i.path_weight * product.irreps_out[i.i_out].ir.dim ** -0.5
        blocks[i.i_in1, i.i_out] = (w.view(i.path_shape) * scale).detach().transpose(0, 1)
    return _joined(blocks, product.irreps_in1, product.irreps_out, 1)


def _joined(blocks: dict[tuple[int, int], Tensor], irreps_in: Any, irreps_out: Any, axis: int) -> Matrix:
    found = {}
    for wanted in {irrep for _, irrep in irreps_out}:
        ins = [n for n, (_, irrep) in enumerate(irreps_in) if irrep == wanted]
        outs = [n for n, (_, irrep) in enumerate(irreps_out) if irrep == wanted]
        if ins:
            rows = [torch.cat([blocks[i, j] for j in outs], axis + 1) for i in ins]
            found[Irrep(wanted.l, wanted.p)] = torch.cat(rows, axis)
    return found
