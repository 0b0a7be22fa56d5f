"""Move a space of maps to another n: diagrams say the same for vectors of any length."""

from collections.abc import Callable
from dataclasses import replace

from ..groups import SO, A, GLPlus, Group, O, S, Sp
from ..reps import Factor, Product, Rep
from ..reps.factor import Defining, Determinant, Dual
from .diagrams.kernel import DiagramKernel
from .kernel import Kernel
from .map import Map
from .routes import Options, find

FAMILIES = (S, A, O, SO, Sp, GLPlus)  # given by n alone


def at_size(space: Map, n: int) -> Map:
    """`space` with every diagram on R^n; see `Map.at_size`."""
    group = space.rep_in.group
    if type(group) not in FAMILIES:
        raise ValueError(
            f"at_size: {group} is not one of a family in n; it is for {', '.join(f.__name__ for f in FAMILIES)}"
        )
    if n == group.dim_V:
        return space
    other = type(group)(n)
    sides = [_moved(rep, other) for rep in (space.rep_in, space.rep_out)]
    rep_in, rep_out = sides
    kernels: dict[Kernel, Kernel] = {}
    blocks = []
    for block in space.blocks:
        U, W = rep_in.terms[block.index_in][0], rep_out.terms[block.index_out][0]
        if block.kernel not in kernels:
            kernels[block.kernel] = _kernel(block.kernel, str(block), other, U, W, space.options)
        blocks.append(replace(block, kernel=kernels[block.kernel], U=U, W=W))
    return Map(rep_in, rep_out, tuple(blocks), space.options)


def _moved(rep: Rep, group: Group) -> Rep:
    return Rep(group, [(Product(tuple(_factor(f, group) for f in W.factors)), c) for W, c in rep.terms])


def _factor(factor: Factor, group: Group) -> Factor:
    if isinstance(factor, Dual):
        return _factor(factor.base, group).dual
    made: Callable[[Group], Factor] | None = {Defining: Defining, Determinant: Determinant}.get(type(factor))
    if made is None:
        raise ValueError(f"at_size: {factor} of {factor.group} is not made of V, V.dual and det, which exist for any n")
    return made(group)


def _kernel(kernel: Kernel, name: str, group: Group, U: Product, W: Product, options: Options) -> Kernel:
    """The kernel with the same labels between U and W."""
    if not isinstance(kernel, DiagramKernel) and (U.factors or W.factors):
        raise ValueError(f"at_size: the block {name} was found by {kernel.route}; only diagrams exist for any n")
    found = find(group, U, W, options)
    if found.labels == kernel.labels:
        return found
    missing = [label for label in kernel.labels if label not in found.labels]
    if missing:
        raise ValueError(f"at_size: the basis of {U} -> {W} of {group} has no map {missing[0]!r}, which {name} has")
    return replace(kernel, group=group, whole=found.N)
