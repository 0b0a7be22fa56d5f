"""The representations that groups know by name: V, trivial, regular, adjoint, det, and those pulled from members."""

from ..groups import DirectProduct, Group
from .external import pull
from .factor import Adjoint, Defining, Determinant, Factor, Regular
from .product import Product
from .rep import Rep


def _one(group: Group, *factors: Factor) -> Rep:
    return Rep(group, [(Product(factors), 1)])


@Group.defines("V")
def _defining(group: Group) -> Rep:
    return _one(group, Defining(group))


@DirectProduct.defines("V")
def _product_defining(group: DirectProduct) -> Rep:
    V = group.trivial
    for i, member in enumerate(group.factors):
        V = V * pull(group, i, member.V)
    return V


@Group.defines("trivial")
def _trivial(group: Group) -> Rep:
    return _one(group)


@Group.defines("regular")
def _regular(group: Group) -> Rep:
    return _one(group, Regular(group))


@Group.defines("adjoint")
def _adjoint(group: Group) -> Rep:
    return _one(group, Adjoint(group))


@DirectProduct.defines("adjoint")
def _product_adjoint(group: DirectProduct) -> Rep:
    parts = [pull(group, i, member.adjoint) for i, member in enumerate(group.factors) if len(member.lie_algebra())]
    if not parts:
        raise ValueError(f"adjoint: {group} has no Lie algebra")
    return sum(parts[1:], parts[0])


@Group.defines("det")
def _determinant(group: Group) -> Rep:
    return _one(group, Determinant(group))


@DirectProduct.defines("_pull")
def _pull(group: DirectProduct, index: int, rep: Rep) -> Rep:
    return pull(group, index, rep)
