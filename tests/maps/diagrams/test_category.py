"""The category of diagrams is checked against its tensors: composition, product and transpose, exactly in integers."""

import itertools
import random

import numpy as np
import pytest

from intertwine.groups import SL, SO, A, GLPlus, Lorentz, O, S, Sp, U
from intertwine.maps.diagrams import (
    Diagram,
    FormalSum,
    cap,
    compose,
    cup,
    factor,
    functor,
    identity,
    parse,
    partitions,
    permutation,
    spider,
    swap,
    tensor,
)
from intertwine.maps.diagrams.factor import is_planar

GROUP = {"partition": S, "brauer": O, "symplectic": Sp, "brauer+free": SO, "jellyfish": A}


def random_blocks(rng: random.Random, m: int) -> list[tuple[int, ...]]:
    blocks: dict[int, list[int]] = {}
    for point in range(m):
        blocks.setdefault(rng.randrange(m), []).append(point)
    return sorted(map(tuple, blocks.values()))


def random_pairs(rng: random.Random, points: list[int]) -> list[tuple[int, ...]]:
    points = rng.sample(points, len(points))
    return [tuple(sorted(points[i : i + 2])) for i in range(0, len(points), 2)]


def draw(rng: random.Random, kind: str, l: int, k: int, n: int) -> Diagram | None:
    """A random diagram; a headed kind gives headless ones too, None where there is none."""
    m = l + k
    headless = rng.random() < 0.3
    if kind == "partition" or (kind == "jellyfish" and headless):
        return Diagram(l, k, tuple(random_blocks(rng, m)))
    if kind == "jellyfish":
        blocks = random_blocks(rng, m)
        legs = [count for count in (n, n - 1) if 0 < count <= len(blocks)]
        if not legs:
            return Diagram(l, k, tuple(blocks))
        tied = rng.choice(legs)
        head = (*sorted(rng.sample(range(len(blocks)), tied)), *[-1] * (n - tied))
        return Diagram(l, k, tuple(blocks), kind, head)
    if kind == "brauer+free" and not headless and m >= n and (m - n) % 2 == 0:
        free = rng.sample(range(m), n)
        blocks = sorted([(p,) for p in free] + random_pairs(rng, [p for p in range(m) if p not in free]))
        return Diagram(l, k, tuple(blocks), kind, tuple(i for i, b in enumerate(blocks) if len(b) == 1))
    if m % 2:
        return None
    return Diagram(l, k, tuple(random_pairs(rng, list(range(m)))), "brauer" if kind == "brauer+free" else kind)


def draw_pair(rng: random.Random, kind: str):
    """Two composable diagrams and an n."""
    while True:
        n = rng.choice([2, 4] if kind == "symplectic" else [2, 3, 4])
        l, m, k = (rng.randint(0, 3) for _ in range(3))
        a, b = draw(rng, kind, l, m, n), draw(rng, kind, m, k, n)
        if a and b:
            return a, b, n


def dense(total: FormalSum, group, shape) -> np.ndarray:
    return sum((c * functor(d, group) for d, c in total.at(group.dim_V).items()), np.zeros(shape, dtype=np.int64))


@pytest.mark.parametrize("kind", GROUP)
def test_functor_respects_composition_product_and_transpose(kind):
    rng = random.Random(kind)
    for _ in range(200):
        a, b, n = draw_pair(rng, kind)
        group = GROUP[kind](n)
        F, G = functor(a, group), functor(b, group)
        assert np.array_equal(dense(a @ b, group, (len(F), G.shape[1])), F @ G), f"{a} @ {b}"
        assert np.array_equal(functor(a.T, group), a.transpose_sign * F.T), str(a)
        assert a == a.T.T
        assert parse(a.ascii()) == a
        if F.size * G.size <= 10**6 and not (a.head and b.head):
            assert np.array_equal(functor(a | b, group), np.kron(F, G)), f"{a} | {b}"


@pytest.mark.parametrize(("group", "det_form"), [(Lorentz(1, 2, "restricted"), 1), (Lorentz(2, 1, "restricted"), -1)])
def test_heads_with_a_metric_multiply_to_its_determinant(group, det_form):
    rng = random.Random(0)
    seen = 0
    while seen < 50:
        l, m, k = (rng.randint(0, 4) for _ in range(3))
        a, b = draw(rng, "brauer+free", l, m, 3), draw(rng, "brauer+free", m, k, 3)
        if a and b and a.head and b.head:
            product = functor(a, group) @ functor(b, group)
            assert np.array_equal(dense(compose(a, b, det_form=det_form), group, product.shape), product)
            seen += 1


def test_oriented_diagrams_compose_as_permutations():
    s, t = permutation((1, 2, 0), "oriented"), permutation((0, 2, 1), "oriented")
    assert (s @ t).at(2) == {permutation((1, 0, 2), "oriented"): 1}
    assert np.array_equal(functor(s, GLPlus(2)) @ functor(t, GLPlus(2)), functor(permutation((1, 0, 2)), S(2)))


def starred(rng: random.Random, kind: str, n: int) -> Diagram:
    """A random diagram of pairs, some of them or some blocks of n starred."""
    stars, pairs = rng.randint(0, 2), rng.randint(0, 2)
    size = 2 if kind == "unitary" else n
    points = rng.sample(range(total := stars * size + 2 * pairs), total)
    blocks = [points[size * i : size * (i + 1)] for i in range(stars)]
    rest = points[stars * size :]
    blocks += [rest[2 * i : 2 * i + 2] for i in range(pairs)]
    ordered = sorted(tuple(sorted(block)) for block in blocks)
    head = tuple(sorted(ordered.index(tuple(sorted(block))) for block in blocks[:stars]))
    l = rng.randint(0, total)
    return Diagram(l, total - l, tuple(ordered), kind, head)


@pytest.mark.parametrize(
    ("kind", "group", "n"), [("unitary", U(1), 2), ("unitary", U(2), 2), ("determinant", SL(3), 3)]
)
def test_starred_kinds_respect_product_and_transpose(kind, group, n):
    rng = random.Random(kind)
    for _ in range(60):
        a, b = starred(rng, kind, n), starred(rng, kind, n)
        if group.dim_V ** (a.l + a.k) > 10**4:
            continue
        F = functor(a, group)
        assert np.array_equal(functor(a.T, group), a.transpose_sign * F.T), str(a)
        assert a == a.T.T
        assert parse(a.ascii()) == a
        if F.size * group.dim_V ** (b.l + b.k) <= 10**6:
            assert np.array_equal(functor(a | b, group), np.kron(F, functor(b, group))), f"{a} | {b}"


def test_starred_kinds_are_multiplied_as_matrices():
    turn = Diagram(1, 1, ((0, 1),), "unitary", (0,))
    with pytest.raises(ValueError, match="unitary diagrams do not compose here"):
        turn @ turn
    J = functor(turn, U(2))
    assert np.array_equal(J @ J, -np.eye(4))
    with pytest.raises(ValueError, match=r"O\(3\) has none"):
        functor(turn, O(3))
    with pytest.raises(ValueError, match="has 3 points"):
        functor(Diagram(3, 0, ((0, 1, 2),), "determinant", (0,)), SL(4))


@pytest.mark.parametrize("kind", GROUP)
def test_composition_is_associative_and_interchanges_with_the_product(kind):
    rng = random.Random(kind)
    tried = 0
    while tried < 30:
        n = 2
        a, b, c = (draw(rng, kind, *(rng.randint(0, 2),) * 2, n) for _ in range(3))
        if not (a and b and c) or not a.l == b.l == c.l:
            continue
        tried += 1
        left, right = (a @ b) @ c, FormalSum.of(a) @ (b @ c)
        if any(d.head for d in (a, b, c)):  # the sums may differ by a relation that holds for this n
            shape = n**a.l, n**c.k
            group = GROUP[kind](n)
            assert np.array_equal(dense(left, group, shape), dense(right, group, shape))
            if not (c.head and (a.head or b.head)):  # (a b | c c') = (a | c)(b | c'), with one headed factor in each
                outer = a | identity(c.l, "brauer" if kind == "brauer+free" else "partition")
                product = np.kron(functor(a, group) @ functor(b, group), functor(c, group))
                below = dense(FormalSum.of(b) | c, group, (n ** (b.l + c.l), n ** (b.k + c.k)))
                assert np.array_equal(functor(outer, group) @ below, product)
                assert np.array_equal(dense(FormalSum.of(outer) @ (FormalSum.of(b) | c), group, product.shape), product)
        else:
            assert left.at(n) == right.at(n)
            assert ((a @ b) | (c @ c)).at(n) == ((a | c) @ (b | c)).at(n)


@pytest.mark.parametrize(("kind", "loop"), [("brauer", 5), ("symplectic", -5)])
def test_zigzag_and_closed_loop(kind, loop):
    one = identity(1, kind)
    assert ((cap(kind) | one) @ (one | cup(kind))).at(7) == {one: 1}
    assert ((one | cap(kind)) @ (cup(kind) | one)).at(7) == {one: 1}
    assert (cap(kind) @ cup(kind)).at(5) == {Diagram(0, 0, (), kind): loop}


@pytest.mark.parametrize("kind", ["partition", "brauer", "symplectic"])
def test_factor_recomposes_and_is_planar(kind):
    rng = random.Random(kind)
    for _ in range(200):
        d = draw_pair(rng, kind)[0]
        top, planar, bottom = factor(d)
        assert is_planar(planar)
        assert top.through == top.blocks
        assert bottom.through == bottom.blocks
        assert ((top @ planar) @ bottom).at(3) == {d: 1}
        again = factor(planar)
        assert again[1] == planar  # a planar diagram in this order is its own planar part
        order = [b for b in planar.blocks if b[-1] < planar.l]
        assert all(b < t for b in order for t in planar.through)
        sizes = [len(b) for b in planar.bottom_only]
        assert sizes == sorted(sizes)


def test_factor_needs_no_crossing_where_there_is_none():
    d = Diagram(2, 3, ((0, 2), (1, 3), (4,)))
    assert [str(part) for part in factor(d)] == ["partition 1-1' 2-2'", str(d), "partition 1-1' 2-2' 3-3'"]
    assert not is_planar(swap(2, 0))


def test_partition_algebra_of_order_two():
    """P_2(n): closed under multiplication, the identity is its unit, and it agrees with matrices for n >= 4."""
    basis = list(partitions(2, 2))
    assert len(basis) == 15
    one = identity(2)
    for a, b in itertools.product(basis, repeat=2):
        ((d, c),) = (a @ b).terms.items()
        assert d in basis
        assert np.array_equal(c[-1] * 4 ** (len(c) - 1) * functor(d, S(4)), functor(a, S(4)) @ functor(b, S(4)))
    assert all((one @ a).at(9) == {a: 1} == (a @ one).at(9) for a in basis)


def test_sums_of_diagrams():
    a, b = identity(1), Diagram(1, 1, ((0,), (1,)))
    square = (FormalSum.of(a) + b) @ (FormalSum.of(a) + b)
    assert square.terms == {a: (1,), b: (2, 1)}  # (1 + J)² = 1 + 2J + nJ
    assert (square - a).at(3) == {b: 5}
    assert (2 * FormalSum.of(a) - a - a).terms == {}
    assert str(square) == "(1) [partition 1-1'] + (2 + 1·n^1) [partition 1 1']"
    assert str(FormalSum({})) == "0"
    assert ((FormalSum.of(a) + b) | a).terms == {a | a: (1,), b | a: (1,)}


def test_product_of_two_heads_is_a_sum():
    leg = Diagram(1, 0, ((0,),), "brauer+free", (0,))  # n = 1
    with pytest.raises(ValueError, match="two heads"):
        tensor(leg, leg)
    product = (leg | identity(1, "brauer")) @ (identity(0, "brauer") | leg)
    assert product.at(1) == {cup(): 1}


def test_text():
    assert str(Diagram(2, 2, ((0, 2), (1,), (3,)))) == "partition 1-1' 2 2'"
    assert str(Diagram(2, 1, ((0, 2), (1,)), "jellyfish", (0, 1, -1))) == "jellyfish 1-1'* 2* *"
    assert str(spider(0, 0)) == "partition"
    assert parse("partition 2 1'-1 2'") == Diagram(2, 2, ((0, 2), (1,), (3,)))
    for wrong in ("", "braids 1-1'", "partition 1-x", "partition 0-1'", "partition 1-3'", "brauer 1-2-1'", "brauer 1*"):
        with pytest.raises(ValueError):
            parse(wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Diagram(1, 1, ((0,),)),
        lambda: Diagram(1, 1, ((0, 1), (1,))),
        lambda: Diagram(1, 1, ((0, 2),)),
        lambda: Diagram(-1, 1, ()),
        lambda: Diagram(1, 1, ((0, 1), ())),
        lambda: Diagram(1, 1, ((0,), (1,)), "brauer"),
        lambda: Diagram(1, 1, ((0, 1),), "brauer", (0,)),
        lambda: Diagram(1, 1, ((0, 1),), "jellyfish"),
        lambda: Diagram(2, 0, ((1,), (0,)), "jellyfish", (0, 1)),
        lambda: Diagram(2, 0, ((0,), (1,)), "jellyfish", (1, 0)),
        lambda: Diagram(2, 0, ((0, 1),), "brauer+free", (0,)),
        lambda: Diagram(1, 0, ((0,),), "brauer+free", (0, -1)),
        lambda: Diagram(3, 0, ((0, 1, 2),), "unitary", (0,)),
        lambda: Diagram(3, 0, ((0, 1, 2),), "determinant"),
        lambda: Diagram(5, 0, ((0, 1, 2), (3, 4)), "determinant", (0, 1)),
        lambda: swap(2, 1),
        lambda: identity(1) @ identity(2),
        lambda: identity(2, "brauer") @ identity(2, "symplectic"),
        lambda: identity(1, "brauer") | identity(1),
        lambda: functor(Diagram(2, 0, ((0,), (1,)), "jellyfish", (0, 1)), A(3)),
        lambda: factor(Diagram(2, 0, ((0,), (1,)), "jellyfish", (0, 1))),
    ],
)
def test_what_is_no_diagram_is_refused(make):
    with pytest.raises(ValueError):
        make()


def test_pictures():
    from intertwine.maps.diagrams import jellyfish, plot, svg

    d = Diagram(2, 1, ((0, 2), (1,)), "jellyfish", (0, 1, -1))
    image = svg(d)
    assert image == d._repr_svg_()
    assert image.count("<circle") == 4
    assert image.count("<path") == 1 + 3  # one link, three legs
    figure = plot([*partitions(1, 2), *jellyfish(1, 2, 3)], columns=3)
    assert len(figure.axes) == 9
    pair = Diagram(2, 2, ((0, 2), (1, 3)), "unitary", (1,))
    assert (svg(pair).count("crimson"), svg(pair).count("<circle"), svg(pair).count("<path")) == (1, 4, 2)
    assert len(plot(identity(2)).axes) == 1
