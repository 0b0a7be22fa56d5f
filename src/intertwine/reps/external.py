"""Representations of a direct product, from those of its members."""

from ..groups import Group
from ..groups.product import parts, product
from .product import Product
from .pullback import lift
from .rep import Rep


def outer(a: Rep, b: Rep) -> Rep:
    """The external tensor product: a representation of group(a) * group(b), also where both groups are the same."""
    group = product(a.group, b.group)
    offset = len(parts(a.group))
    terms = []
    for U, c in a.terms:
        for W, d in b.terms:
            left = tuple(lift(group, 0, factor) for factor in U.factors)
            right = tuple(lift(group, offset, factor) for factor in W.factors)
            terms.append((Product(left + right), c * d))
    return Rep(group, terms)


def pull(group: Group, index: int, rep: Rep) -> Rep:
    """A representation of factor `index` of a direct product, as one of the whole product."""
    members, own = parts(group), parts(rep.group)
    if not isinstance(index, int) or not 0 <= index < len(members):
        raise ValueError(f"pull: {group} has factors 0 to {len(members) - 1}, got {index!r}")
    there = members[index : index + len(own)]
    if there != own:
        names = " * ".join(map(str, there))
        raise ValueError(f"pull: factor {index} of {group} is {names}, the representation is of {rep.group}")
    if len(own) == len(members):
        return rep
    return Rep(group, [(Product(tuple(lift(group, index, f) for f in W.factors)), c) for W, c in rep.terms])
