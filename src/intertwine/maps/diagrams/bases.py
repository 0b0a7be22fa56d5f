"""Which diagrams serve which group: the spanning set and the basis of the maps between two tensor powers."""

from dataclasses import dataclass
from functools import lru_cache
from math import factorial

from ...groups import GL, SL, SO, A, GLPlus, Group, Lorentz, O, S, Sp
from ...groups import U as Unitary
from ...reps import Factor, Product
from ...reps.factor import Defining, Determinant, Dual
from . import brauer, jellyfish, partition
from .category import Diagram
from .independence import independent
from .layout import Calculus

MAX_DIAGRAMS = 200_000
# a subclass with other elements has other maps, so types are compared
FULL = (S, A, O, SO, Sp, Lorentz, GL, GLPlus, SL, Unitary)


@dataclass(frozen=True)
class Term:
    """One side of a block: the types of its axes (1 for a dual one) and whether its determinants are odd in number."""

    dual: tuple[bool, ...]
    odd: bool

    @property
    def order(self) -> int:
        """Number of axes."""
        return len(self.dual)


def term(group: Group, U: Product) -> Term | None:
    """U as a tensor power of V, V* and det, or None if it is none."""
    if type(group) not in FULL or not all(_known(group, factor) for factor in U.factors):
        return None
    axes = [factor for factor in U.factors if not isinstance(factor, Determinant)]
    odd = (len(U.factors) - len(axes)) % 2 == 1 and not brauer.keeps_orientation(group) and type(group) is not A
    return Term(tuple(isinstance(factor, Dual) for factor in axes), odd)


def _known(group: Group, factor: Factor) -> bool:
    if isinstance(factor, Determinant):
        return isinstance(group, SL) or not isinstance(group, GLPlus)
    base = factor.base if isinstance(factor, Dual) else factor
    return isinstance(base, Defining)


def counts(group: Group, W: Term, U: Term) -> tuple[int, int]:
    """Diagrams without and with a head, before any reduction."""
    n, m = group.dim_V, W.order + U.order
    plain, headed = _parity(group, W.odd != U.odd)
    if isinstance(group, S):
        return partition.dimension(n, m, 0) * plain, jellyfish.head_dimension(n, m) * headed
    if isinstance(group, GLPlus):
        few, many = _types(W, U)
        count, rest = divmod(many - few, n)
        if rest or (count and not isinstance(group, SL)):
            return 0, 0
        # the determinants, in no order, each in no order of its legs, and partners for the rest
        total = factorial(many) // (factorial(n) ** count * factorial(count))
        return (0, total) if count else (total, 0)
    if isinstance(group, Unitary):
        return brauer.matching_count(m) * 2 ** (m // 2), 0
    return brauer.matching_count(m) * plain, brauer.head_count(n, m) * headed


def dimension(group: Group, W: Term, U: Term) -> int:
    """Dimension of the space of maps from U to W, by formula."""
    n, m = group.dim_V, W.order + U.order
    plain, headed = _parity(group, W.odd != U.odd)
    if isinstance(group, S):
        return sum(counts(group, W, U))
    if isinstance(group, SL):
        return brauer.special_linear_dimension(n, *_types(W, U))
    if isinstance(group, GLPlus):
        few, many = _types(W, U)
        return brauer.general_linear_dimension(n, few) if few == many else 0
    if isinstance(group, Unitary):
        return brauer.unitary_dimension(group.n, m)
    if isinstance(group, Sp):
        return brauer.symplectic_dimension(n, m)
    return brauer.pairing_dimension(n, m) * plain + brauer.head_dimension(n, m) * headed


def _parity(group: Group, odd: bool) -> tuple[bool, bool]:
    """Whether diagrams without and with a head are equivariant between terms whose determinants differ or not."""
    if isinstance(group, S):
        if group.dim_V == 1:
            return True, False
        return not odd, odd or isinstance(group, A)
    if isinstance(group, Sp | GLPlus):
        return True, False
    both = brauer.keeps_orientation(group)
    return both or not odd, both or odd


def _types(W: Term, U: Term) -> list[int]:
    """Numbers of vector and covector indices of a block of GL(n) as an invariant tensor, the smaller one first."""
    return sorted(map(len, brauer.orientation(W.dual, U.dual)))


@lru_cache(maxsize=256)
def diagrams(group: Group, W: Term, U: Term, spanning: bool = False) -> tuple[Diagram, ...]:
    """The basis of the maps from U to W, or the spanning set; those without a head first, each in its own order.

    Raises ValueError above 200 000 diagrams.
    """
    l, k, n = W.order, U.order, group.dim_V
    total = sum(counts(group, W, U))
    if total > MAX_DIAGRAMS:
        raise ValueError(
            f"the maps of {group} from order {k} to order {l} are spanned by {total} diagrams, more than "
            f"{MAX_DIAGRAMS}; lower the orders, or split the layer in two through an order in between"
        )
    plain, headed = _parity(group, W.odd != U.odd)
    found: list[Diagram] = []
    if isinstance(group, S):
        found += partition.partitions(l, k, None if spanning else n) if plain else ()
        return (*found, *(jellyfish.jellyfish(l, k, n) if headed else ()))
    if isinstance(group, Unitary):
        found += brauer.decorated(l, k)
        return tuple(found if spanning else independent(found, group, brauer.unitary_dimension(group.n, l + k)))
    if isinstance(group, SL) and len(set(_types(W, U))) == 2:
        found += brauer.determinants(W.dual, U.dual, n)
        return tuple(found if spanning else independent(found, group, dimension(group, W, U)))
    if isinstance(group, GLPlus):
        found += brauer.oriented(W.dual, U.dual)
        return tuple(found if spanning else (d for d in found if brauer.is_standard_oriented(d, W.dual, U.dual, n)))
    if plain:
        found += brauer.pairings(l, k, "symplectic" if isinstance(group, Sp) else "brauer")
        found = found if spanning else [d for d in found if brauer.is_standard(d, n)]
    if headed:
        heads = list(brauer.free_vertex(l, k, n))
        found += heads if spanning else independent(heads, group, brauer.head_dimension(n, l + k))
    return tuple(found)


@lru_cache(maxsize=64)
def calculus(group: Group) -> Calculus:
    """The forms that a group's diagrams contract with."""
    n = group.dim_V
    if isinstance(group, S):
        return Calculus(n)
    if isinstance(group, Sp):
        return Calculus(n, ((0, 1, 2, n // 2, 1), (1, 0, 2, n // 2, -1)), ((0, 1, 2, n // 2, -1), (1, 0, 2, n // 2, 1)))
    if isinstance(group, Lorentz):
        metric = ((0, 0, 1, group.p, 1), (group.p, group.p, 1, group.q, -1))
        return Calculus(n, metric, metric, (1,) * group.p + (-1,) * group.q)
    delta = ((0, 0, 1, n, 1),)
    return Calculus(n, delta, delta)


def served_as(group: Group) -> Group:
    """The group whose diagrams are used: SL(2) is Sp(2), where pairings suffice."""
    return Sp(2) if type(group) is SL and group.n == 2 else group


def is_oriented(group: Group) -> bool:
    """Whether V and V* are different, and no form identifies them."""
    return isinstance(group, GLPlus)
