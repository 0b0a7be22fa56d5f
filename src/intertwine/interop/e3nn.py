"""From e3nn and back: irreps, features and layers, with the same numbers; its layout of channels ends here."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from intertwine import nn, so3
from intertwine.extras import require
from intertwine.nn.activation import second_moment_constant
from intertwine.so3.couplings import Path


def to_e3nn(thing: Any, irreps: so3.Irreps | str | None = None) -> Any:
    """What e3nn has for `thing`, with the same numbers.

    An `Irreps` or its text: o3.Irreps (those of SO(3) get even parity, which rotations do not see); a feature of
    `irreps`, [..., dim]: the same in e3nn's layout, where a block c x l is [c, 2l+1] instead of [2l+1, c]; an
    `nn.Linear` or a `so3.TensorProduct` with a weight for each path: o3.Linear, o3.TensorProduct. Raises TypeError for
    anything else, ValueError for a layer that e3nn lacks, ModuleNotFoundError where e3nn is absent.
    """
    if isinstance(thing, Tensor):
        irreps = _given(irreps)
        irreps.check(thing)
        return torch.cat([thing[..., :0], *(block.mT.flatten(-2) for block in irreps.split(thing))], -1)
    if isinstance(thing, so3.Irreps | str):
        irreps = so3.Irreps(thing)
        return _o3().Irreps([(c, (irrep.l, irrep.p or 1)) for irrep, c in irreps.blocks])
    if isinstance(thing, nn.Linear):
        return _linear_to(thing)
    if isinstance(thing, so3.TensorProduct):
        return _product_to(thing)
    raise TypeError(f"to_e3nn: nothing in e3nn is known for a {type(thing).__name__}")


def from_e3nn(thing: Any, irreps: so3.Irreps | str | None = None) -> Any:
    """What intertwine has for an object of e3nn, with the same numbers.

    An o3.Irreps (terms with 0 channels are dropped); a feature of `irreps` in e3nn's layout; an o3.Linear; an
    o3.TensorProduct or one of its children, whose paths must share one mode and all have weights, or none. Raises
    TypeError for anything else, ValueError for a layer without a counterpart, ModuleNotFoundError where e3nn is absent.
    """
    if isinstance(thing, Tensor):
        irreps = _given(irreps)
        irreps.check(thing)
        parts = zip(irreps.blocks, thing.split([c * irrep.dim for irrep, c in irreps.blocks], -1))
        return irreps.join([part.unflatten(-1, (c, irrep.dim)).mT for (irrep, c), part in parts])
    o3 = _o3()
    if isinstance(thing, o3.Irreps):
        return so3.Irreps([(mul, so3.Irrep(irrep.l, irrep.p)) for mul, irrep in thing])
    if isinstance(thing, o3.Linear):
        return _linear_from(thing)
    if isinstance(thing, o3.TensorProduct):
        return _product_from(thing)
    raise TypeError(f"from_e3nn: nothing here is known for a {type(thing).__module__}.{type(thing).__name__}")


def scaled(fn: Callable[[Tensor], Tensor], constant: str = "e3nn") -> Callable[[Tensor], Tensor]:
    """A scalar function divided to second moment one, for layers with `normalize=False`.

    constant: "e3nn", from its million random samples, so that a network moves over with the same numbers; "exact", the
    integral, as all layers here have it. They differ in the third digit. Raises ValueError for another constant.
    """
    if constant not in ("e3nn", "exact"):
        raise ValueError(f"scaled: constant {constant!r} is neither 'e3nn' nor 'exact'")
    if constant == "exact":
        factor = float(second_moment_constant(fn))
    else:
        _o3()
        factor = float(require("e3nn.math", "bench").normalize2mom(fn).cst)
    return lambda x: fn(x) * factor


def _o3() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warnings of its import are its own
        return require("e3nn.o3", "bench")


def _given(irreps: so3.Irreps | str | None) -> so3.Irreps:
    if irreps is None:
        raise ValueError("a feature is converted block by block: give its irreps")
    return so3.Irreps(irreps)


@contextmanager
def _constants_as(dtype: torch.dtype) -> Iterator[None]:
    """e3nn rounds its constants to the default dtype when it makes a layer."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(before)


def _kept(irreps: Any) -> dict[int, int]:
    """e3nn's number of each term that has channels -> ours."""
    return {i: n for n, i in enumerate(i for i, (mul, _) in enumerate(irreps) if mul)}


# --- linear layers


def _linear_to(layer: nn.Linear) -> Any:
    if not isinstance(layer.rep_in, so3.Irreps) or not isinstance(layer.rep_out, so3.Irreps):
        raise ValueError(f"to_e3nn: e3nn has irreps of O(3) and SO(3) only, got {layer!r}")
    like = layer.weight
    with _constants_as(like.dtype):
        other = _o3().Linear(to_e3nn(layer.rep_in), to_e3nn(layer.rep_out), biases=layer.bias is not None)
    other = other.to(like.device)
    with torch.no_grad():
        for (i, j), w in _linear_weights(layer).items():
            ins, part = _linear_instructions(other)[i, j]
            other.weight[part] = w.flatten() / ins.path_weight
        if layer.bias is not None:
            other.bias.copy_(layer.bias)
    return other


def _linear_from(layer: Any) -> nn.Linear:
    rep_in, rep_out = from_e3nn(layer.irreps_in), from_e3nn(layer.irreps_out)
    if not layer.internal_weights or layer.weight.ndim != 1:
        raise ValueError("from_e3nn: only an o3.Linear that holds its weights has a counterpart here")
    biases = {ins.i_out for ins in layer.instructions if ins.i_in == -1}
    scalars = {i for i, (mul, irrep) in enumerate(layer.irreps_out) if mul and irrep.is_scalar()}
    if biases and biases != scalars:
        raise ValueError(
            f"from_e3nn: biases on terms {sorted(biases)} of {layer.irreps_out}; here all scalars have one"
        )
    own = nn.Linear(rep_in, rep_out, bias=bool(biases), normalize="none", allow_zero=True)
    own = own.to(layer.weight.device, layer.weight.dtype)
    theirs, first, second = _linear_instructions(layer), _kept(layer.irreps_in), _kept(layer.irreps_out)
    found = {(first[i], second[j]): value for (i, j), value in theirs.items() if i in first and j in second}
    with torch.no_grad():
        weights = _linear_weights(own)
        if set(weights) != set(found):
            raise ValueError(f"from_e3nn: an o3.Linear without some of its paths has no counterpart, got {layer}")
        for pair, w in weights.items():
            ins, part = found[pair]
            w.copy_(layer.weight[part].view_as(w) * ins.path_weight)
        if biases:
            own.bias.copy_(layer.bias)
    return own


def _linear_weights(layer: nn.Linear) -> dict[tuple[int, int], Tensor]:
    """[c_in, c_out] for (input term, output term): between irreps the only basis map is the identity."""
    weights = layer.map.weights(layer.weight.data)
    return {(block.index_in, block.index_out): w[0] for block, w in zip(layer.map.blocks, weights)}


def _linear_instructions(layer: Any) -> dict[tuple[int, int], tuple[Any, slice]]:
    found, start = {}, 0
    for ins in layer.instructions:
        if ins.i_in == -1:
            continue
        stop = start + math.prod(ins.path_shape)
        if (ins.i_in, ins.i_out) in found:
            raise ValueError(f"from_e3nn: two paths from term {ins.i_in} to term {ins.i_out} have no counterpart here")
        found[ins.i_in, ins.i_out] = ins, slice(start, stop)
        start = stop
    return found


# --- tensor products


def _product_to(product: so3.TensorProduct) -> Any:
    if product.weights == "separable" or product.mmax is not None:
        raise ValueError(f"to_e3nn: e3nn has products with a weight for each path and all orders only, got {product!r}")
    if product.pieces is not None:
        raise ValueError(f"to_e3nn: {product!r} pairs parts of terms; use e3nn's ElementwiseTensorProduct")
    sides = product.irreps_in1, product.irreps_in2, product.rep_out
    instructions = [(p.i1, p.i2, p.i3, p.mode, p.has_weight, p.scale**2) for p in product.paths]
    shared = product.weights == "shared"
    dtype = product.weight.dtype if shared else torch.get_default_dtype()
    with _constants_as(dtype):
        other = _o3().TensorProduct(
            *(to_e3nn(side) for side in sides),
            instructions,
            irrep_normalization="none",
            path_normalization="none",
            internal_weights=shared,
            shared_weights=product.weights != "external",
        )
    if shared:
        with torch.no_grad():
            other = other.to(product.weight.device)
            other.weight.copy_(product.weight)
    return other


def _product_from(product: Any) -> so3.TensorProduct:
    instructions = [ins for ins in product.instructions if 0 not in ins.path_shape]
    modes, weighted = ({getattr(ins, name) for ins in instructions} for name in ("connection_mode", "has_weight"))
    if len(modes) != 1 or len(weighted) != 1:
        raise ValueError(
            f"from_e3nn: a product here has one mode, and weights on all paths or none; got modes {sorted(modes)}, "
            f"has_weight {sorted(weighted)}"
        )
    if product.internal_weights:
        weights = "shared"
    else:
        weights = "external" if weighted == {True} else "none"
    sides = product.irreps_in1, product.irreps_in2, product.irreps_out
    own = [_kept(side) for side in sides]
    paths = [
        Path(own[0][i.i_in1], own[1][i.i_in2], own[2][i.i_out], i.connection_mode, i.has_weight, float(i.path_weight))
        for i in instructions
    ]
    found = so3.TensorProduct(
        *(from_e3nn(side) for side in sides),
        paths,
        mode=modes.pop(),
        weights=weights,
        generator=torch.Generator() if weights == "shared" else None,  # overwritten at once
    )
    if weights == "shared":
        found = found.to(product.weight.device, product.weight.dtype)
        with torch.no_grad():
            found.weight.copy_(product.weight)
    return found
