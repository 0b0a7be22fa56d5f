"""The product of functions on the sphere: degrees mix at O(L³) a channel, and what it cannot do is be antisymmetric."""

from functools import lru_cache, reduce

import torch
from jaxtyping import Float
from torch import Tensor

from ..maps.constants import Constants, tensors
from ..maps.own_derivatives import quick
from . import gaunt_methods
from .columns import columns, multiplied_by_chunks, rows
from .gaunt_methods import Plan, candidates, multiply
from .grid import S2Grid, degree_of
from .wigner import check_degree

METHODS = ("auto", "grid", "fourier", "cg")


def gaunt_product(
    x: Float[Tensor, "*#batch components1 #channels"],
    y: Float[Tensor, "*#batch components2 #channels"],
    lmax_out: int,
    *,
    method: str = "auto",
    grid: S2Grid | None = None,
    allow_alias: bool = False,
) -> Float[Tensor, "*batch (lmax_out+1)**2 channels"]:
    """Coefficients, degrees 0..lmax_out, of the point-wise product of the functions Σ x_lm Y_lm and Σ y_lm Y_lm.

    Y are orthonormal. z = Σ g(l1, l2, l3) C_ijk x_i y_j with `gaunt_factor` and `clebsch_gordan`: equivariant under
    O(3) for parities (-1)^l, commutative, and only l1 + l2 + l3 even: a cross product it cannot do. method: "grid"
    (values at points), "fourier" (series on the torus), "cg" (coefficients), or the one predicted to be fastest.
    `grid`: points of your own. Derivatives of every order are products of the same kind and keep nothing but x and y.
    Raises ValueError for another method, lmax_out > lmax1 + lmax2, shapes that do not fit, or a grid too small to be
    exact unless allow_alias. Source: arXiv:2401.10216.
    """
    degrees = degree_of("gaunt_product: x", x), degree_of("gaunt_product: y", y), lmax_out
    plan = plan_for("gaunt_product", degrees, method, grid, allow_alias)
    batch = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    channels = torch.broadcast_shapes(x.shape[-1:], y.shape[-1:])
    x, y = (z.expand(*batch, z.shape[-2], *channels) for z in (x, y))
    return multiplied(plan, x, y)


def gaunt_power(
    x: Float[Tensor, "*batch components channels"],
    nu: int,
    lmax_out: int,
    *,
    weights: Float[Tensor, "nu degrees #channels"] | None = None,
) -> Float[Tensor, "*batch (lmax_out+1)**2 channels"]:
    """Coefficients of the nu-th power of the function Σ x_lm Y_lm, by one grid exact for degree nu·lmax + lmax_out.

    weights: factors of each degree and channel, one set for each of the nu copies; then their product is taken.
    Raises ValueError for nu < 1, lmax_out > nu·lmax or weights of another shape. Source: arXiv:2401.10216, section 3.3.
    """
    lmax = degree_of("gaunt_power", x)
    check_degree("gaunt_power: lmax_out", lmax_out)
    if isinstance(nu, bool) or not isinstance(nu, int) or nu < 1:
        raise ValueError(f"gaunt_power: nu must be an integer of at least 1, got {nu!r}")
    if lmax_out > nu * lmax:
        raise ValueError(
            f"gaunt_power: the power {nu} of degree {lmax} has none above {nu * lmax}, asked for {lmax_out}"
        )
    if weights is not None and (weights.ndim != 3 or weights.shape[:2] != (nu, lmax + 1)):
        raise ValueError(
            f"gaunt_power: weights must be [{nu}, {lmax + 1}, channels], one for each copy and degree, "
            f"got {tuple(weights.shape)}"
        )
    plan = _power_plan(lmax, nu, lmax_out)
    constants = _constants(plan, x)
    if weights is None:
        values = gaunt_methods.to_points(plan, constants, columns(x), 0) ** nu
    else:
        copies = [columns(x * by_row(w)) for w in weights]
        values = reduce(torch.mul, [gaunt_methods.to_points(plan, constants, copy, 0) for copy in copies])
    return rows(gaunt_methods.from_points(plan, constants, values), x.shape)


def explain(lmax1: int, lmax2: int, lmax_out: int) -> str:
    """What method="auto" weighs: operations, bytes and nanoseconds that each way is predicted to take for a channel."""
    lines = [f"Gaunt product of degrees {lmax1} and {lmax2}, output up to {lmax_out}; one channel of one sample:"]
    for plan in sorted(candidates(lmax1, lmax2, lmax_out), key=lambda plan: plan.seconds):
        flops, moved = plan.cost()
        where = f", {len(plan.grid)} points" if plan.grid else ""
        lines.append(f"  {plan.method:8} {flops:9.0f} flops {moved:8.0f} bytes {1e9 * plan.seconds:8.0f} ns{where}")
    return "\n".join(lines)


def plan_for(
    name: str, degrees: tuple[int, int, int], method: str, grid: S2Grid | None = None, allow_alias: bool = False
) -> Plan:
    """The plan of a product; raises ValueError as `gaunt_product` does, in the name of `name`."""
    check_degree(f"{name}: degrees", *degrees)
    if degrees[2] > degrees[0] + degrees[1]:
        raise ValueError(f"{name}: degrees {degrees[0]} and {degrees[1]} give none above their sum, not {degrees[2]}")
    if method not in METHODS:
        raise ValueError(f"{name}: method {method!r} is not one of {', '.join(METHODS)}")
    if grid is None:
        return _fastest(degrees, method)
    if method not in ("auto", "grid"):
        raise ValueError(f"{name}: method {method!r} needs no grid, got {grid}")
    if grid.exactness < sum(degrees) and not allow_alias:
        raise ValueError(
            f"{name}: {grid} is exact up to degree {grid.exactness}, degrees {degrees} need {sum(degrees)}; "
            "leave the grid out, or allow_alias=True"
        )
    return Plan("grid", degrees, grid)


@lru_cache(maxsize=256)
def _fastest(degrees: tuple[int, int, int], method: str) -> Plan:
    names = {"auto": ("grid", "rings", "fourier", "cg"), "grid": ("grid", "rings")}.get(method, (method,))
    return min((plan for plan in candidates(*degrees) if plan.method in names), key=lambda plan: plan.seconds)


@lru_cache(maxsize=64)
def _power_plan(lmax: int, nu: int, lmax_out: int) -> Plan:
    """nu copies of degree lmax; the plan's grid is that of one factor with all the others."""
    exact = candidates(lmax, (nu - 1) * lmax, lmax_out)[0].grid
    plans = [Plan(method, (lmax, lmax, lmax_out), exact) for method in ("grid", "rings")]
    return min(plans, key=lambda plan: plan.seconds)


def by_row(w: Float[Tensor, "degrees channels"]) -> Float[Tensor, "components channels"]:
    """A number for each degree, repeated for its orders."""
    return torch.cat([w[l : l + 1].expand(2 * l + 1, -1) for l in range(len(w))])


def _constants(plan: Plan, like: Tensor) -> list[Tensor]:
    return tensors(gaunt_methods.tables(plan), like.dtype, like.device)


def multiplied(plan: Plan, x: Tensor, y: Tensor, constants: Constants | None = None) -> Tensor:
    """The product of x and y of equal batch and channels by a plan; `constants`: those of a module, for a compiler."""
    if not torch.compiler.is_compiling():
        return _Product.apply(x, y, plan)
    # torch 2.13 compiles an autograd function inside torch.func.grad to wrong second derivatives, silently
    tables = _constants(plan, x) if constants is None else constants(x)
    return multiplied_by_chunks(lambda a, b: multiply(plan, tables, a, b), x, y, 1)


class _Product(torch.autograd.Function):
    """The trilinear form (x, y, output) of a plan; its derivatives are the same form with places exchanged."""

    generate_vmap_rule = True

    @staticmethod
    @quick
    def forward(x: Tensor, y: Tensor, plan: Plan) -> Tensor:
        tables = _constants(plan, x)
        return multiplied_by_chunks(lambda a, b: multiply(plan, tables, a, b), x, y, plan.rows)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, y, ctx.plan = inputs
        ctx.square = x is y
        ctx.save_for_backward(x, y)

    @staticmethod
    def backward(ctx, g: Tensor):
        x, y = ctx.saved_tensors
        need = ctx.needs_input_grad
        gx = _Product.apply(g, y, ctx.plan.derivative(0)) if need[0] else None
        if ctx.square:
            return gx, gx, None
        return gx, _Product.apply(g, x, ctx.plan.derivative(1)) if need[1] else None, None
