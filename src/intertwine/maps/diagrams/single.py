"""One diagram applied to a tensor, step by step as in the paper: the slow twin of the fused layer."""

import string

import torch
from jaxtyping import Float
from torch import Tensor

from ...groups import Group
from .category import SPARE, STARRED, Diagram
from .factor import factor
from .functor import forms, functor, levi_civita


def apply_one(
    diagram: Diagram, group: Group, x: Float[Tensor, "*batch in_components channels"]
) -> Float[Tensor, "*batch out_components channels"]:
    """The matrix of a diagram times x, channel by channel: permute, contract, transfer, copy, permute.

    Without a head by the factors of the diagram, contracting from the right (arXiv:2304.14165, algorithm 1); with one
    by a sum over the head's legs; starred kinds by their matrix. Raises ValueError if x does not have n^k components.
    """
    n = group.dim_V
    if x.shape[-2] != n**diagram.k:
        raise ValueError(f"apply_one: {diagram} takes {n}^{diagram.k} components of {group}, x has {x.shape[-2]}")
    if diagram.kind in STARRED:
        return torch.from_numpy(functor(diagram, group)).to(x) @ x
    lead, c = x.shape[:-2], x.shape[-1]
    tensor = x.movedim(-1, 0).reshape(c, *lead, *(n,) * diagram.k)
    y = (_with_head if diagram.head else _planar)(diagram, group, tensor, 1 + len(lead))
    return y.reshape(c, *lead, n**diagram.l).movedim(0, -1)


def _planar(diagram: Diagram, group: Group, x: Tensor, lead: int) -> Tensor:
    top, planar, bottom = factor(diagram)
    images = [block[0] for block in sorted(bottom.blocks, key=lambda block: block[1])]
    x = _permute(x, sorted(range(len(images)), key=images.__getitem__), lead)
    below = forms(group)[0]
    for block in reversed(planar.bottom_only):
        if planar.is_partition:
            for _ in block[1:]:
                x = x.diagonal(dim1=-2, dim2=-1)
            x = x.sum(-1)
        else:
            x = (x * torch.from_numpy(below).to(x)).sum((-2, -1))
    for position, block in enumerate(planar.through):
        for _ in range(sum(p >= planar.l for p in block) - 1):
            x = x.diagonal(dim1=lead + position, dim2=lead + position + 1).movedim(-1, lead + position)
    y = _copied(planar, group, x, lead)
    above = [block[0] for block in sorted(top.blocks, key=lambda block: block[1])]
    return _permute(y, sorted(range(len(above)), key=above.__getitem__), lead)


def _copied(planar: Diagram, group: Group, x: Tensor, lead: int) -> Tensor:
    """The output of a planar diagram from one axis for each through block: ones or the form, then copies."""
    n, above = group.dim_V, torch.from_numpy(forms(group)[1]).to(x)
    for block in reversed(planar.top_only):
        axes = 1 if planar.is_partition else len(block)
        x = x.reshape(*x.shape[:lead], *(1,) * axes, *x.shape[lead:])
        factor_ = torch.ones(n).to(x) if planar.is_partition else above
        x = x * factor_.reshape(*factor_.shape, *(1,) * (x.ndim - lead - axes))
    if not planar.is_partition:
        return x
    y = x.new_zeros(*x.shape[:lead], *(n,) * planar.l)
    view = y
    for position, block in enumerate(planar.top_only + planar.through):
        for _ in range(sum(p < planar.l for p in block) - 1):
            view = view.diagonal(dim1=lead + position, dim2=lead + position + 1).movedim(-1, lead + position)
    view.copy_(x)
    return y


def _permute(x: Tensor, order: list[int], lead: int) -> Tensor:
    return x.permute(*range(lead), *(lead + axis for axis in order))


def _with_head(diagram: Diagram, group: Group, x: Tensor, lead: int) -> Tensor:
    """One letter for each block: einsum multiplies by the forms of pairs and the sign of the legs, and sums."""
    below, above = (torch.from_numpy(form).to(x) for form in forms(group))
    n, l = group.dim_V, diagram.l
    letters = iter(string.ascii_lowercase)
    batch = "".join(next(letters) for _ in range(lead))
    name: dict[int, str] = {}
    operands: list[tuple[str, Tensor]] = []
    for block in diagram.blocks:
        if diagram.is_partition or block[0] < l <= block[-1]:
            name.update(dict.fromkeys(block, next(letters)))
            continue
        name.update({p: next(letters) for p in block})
        if len(block) == 2:
            operands.append((name[block[0]] + name[block[1]], below if block[0] >= l else above))
        elif block[0] < l:  # a leg on top is raised
            operands.append((name[block[0]], above.diagonal()))
    epsilon = torch.from_numpy(levi_civita(n).copy()).to(x)
    if diagram.head[-1] == SPARE:
        epsilon = epsilon.sum(-1)
    operands.append(("".join(name[diagram.blocks[i][0]] for i in diagram.head if i != SPARE), epsilon))
    operands.append((batch + "".join(name[p] for p in range(l, l + diagram.k)), x))
    above_names = list(dict.fromkeys(name[p] for p in range(l)))
    there = "".join(text for text, _ in operands)
    missing = [(letter, torch.ones(n).to(x)) for letter in above_names if letter not in there]
    operands += missing
    text = ",".join(text for text, _ in operands) + "->" + batch + "".join(above_names)
    core = torch.einsum(text, *(tensor for _, tensor in operands))
    y = x.new_zeros(*x.shape[:lead], *(n,) * l)
    view = y
    tops = [name[p] for p in range(l)]
    for letter in reversed(above_names):
        first, *more = [p for p, there in enumerate(tops) if there == letter]
        for p in reversed(more):
            view = view.diagonal(dim1=lead + first, dim2=lead + p).movedim(-1, lead + first)
            tops.pop(p)
    view.copy_(core)
    return y
