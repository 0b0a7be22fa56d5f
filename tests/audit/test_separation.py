"""Separation: the tables of the specification, a slow twin from the definition, and real networks that must agree."""

import itertools
import time

import pytest
import torch
from torch import Tensor

from grids import seeded
from intertwine import maps, nn
from intertwine.audit import separation
from intertwine.audit.orbitals import Orbitals, points
from intertwine.audit.separation import classes, colours, depth_threshold, hierarchy, report, separated
from intertwine.groups import A, Cyclic, Dihedral, E, O, S, Trivial, embedding
from intertwine.reps import Rep


def graph(edges, n):
    """A flat adjacency matrix."""
    matrix = torch.zeros(n, n, dtype=torch.float64)
    for i, j in edges:
        matrix[i, j] = matrix[j, i] = 1
    return matrix.flatten()


def ring(k, first=0):
    return [(first + i, first + (i + 1) % k) for i in range(k)]


def strongly_regular():
    """The 4 × 4 rook's graph and the Shrikhande graph."""
    squares = list(itertools.product(range(4), range(4)))
    pairs = list(itertools.combinations(range(16), 2))
    rook = [(a, b) for a, b in pairs if (squares[a][0] == squares[b][0]) != (squares[a][1] == squares[b][1])]
    steps = {(1, 0), (0, 1), (1, 1), (3, 0), (0, 3), (3, 3)}
    torus = [(a, b) for a, b in pairs if tuple((q - p) % 4 for p, q in zip(squares[a], squares[b])) in steps]
    return graph(rook, 16), graph(torus, 16)


HEXAGON = graph(ring(6), 6), graph(ring(3) + ring(3, 3), 6)
HEPTAGON = graph(ring(7), 7), graph(ring(3) + ring(4, 3), 7)
TREES = graph([(0, 1), (1, 2), (2, 3), (3, 4), (1, 5)], 6), graph([(0, 1), (1, 2), (2, 3), (3, 4), (2, 5)], 6)

TABLE = [
    *((HEXAGON, orders, False) for orders in ([1], [2], [2, 2], [2, 2, 2], [1, 3])),
    *((HEXAGON, orders, True) for orders in ([3], [2, 3])),
    *((HEPTAGON, orders, told) for orders, told in (([2, 2], False), ([3], True))),
    *((TREES, orders, False) for orders in ([1], [1, 1], [1, 1, 1], [1, 2])),
    *((TREES, orders, True) for orders in ([2], [2, 1])),
]


def test_the_table_of_graphs():
    for (x, y), orders, told in TABLE:
        V = S(int(len(x) ** 0.5)).V
        assert separated(x, y, V**2, [V**k for k in orders]) == told, (len(x), orders)


def test_strongly_regular_graphs_defeat_order_three():
    x, y = strongly_regular()
    V = S(16).V
    start = time.perf_counter()
    assert not separated(x, y, V**2, [V**3])
    assert time.perf_counter() - start < 60


# --- the definition, for groups small enough to list


def slow_classes(x: Tensor, rep_in: Rep, hidden: list[Rep]) -> list[int]:
    """Stabilisers by listing them: projections onto their fixed vectors, then multisets over their orbits."""
    group = rep_in.group
    elements = group.elements()
    matrices = rep_in.matrix(elements)
    moves = [rep.permutation(elements) for rep in hidden]
    known: list[dict] = [{} for _ in range(len(hidden) + 1)]

    def name(layer, key):
        return known[layer].setdefault(key, len(known[layer]))

    def kind(move, i):
        return tuple(sorted(set(move[:, i].tolist())))  # the orbit of a point

    table = []
    for sample in x:
        row = []
        for i in range(hidden[0].dim):
            fixing = matrices[moves[0][:, i] == i].mean(0)
            # the same functionals at another point of the orbit: brought to the first point of the orbit
            first = min(moves[0][:, i])
            back = matrices[int((moves[0][:, i] == first).nonzero()[0])]
            row.append(name(0, (kind(moves[0], i), *(back @ fixing @ sample).round(decimals=6).add(0.0).tolist())))
        table.append(row)
    for layer in range(1, len(hidden)):
        source, target, new = moves[layer - 1], moves[layer], []
        for row in table:
            fresh = []
            for j in range(hidden[layer].dim):
                first = int(target[:, j].min())
                g = int((target[:, j] == first).nonzero()[0])  # takes j to the first point of its orbit
                stabiliser = target[:, first] == first
                bags = {}
                for i in range(hidden[layer - 1].dim):
                    orbit = tuple(sorted(set(source[stabiliser][:, source[g, i]].tolist())))
                    bags.setdefault(orbit, []).append(row[i])
                fresh.append(name(layer, (first, *sorted((orbit, tuple(sorted(bag))) for orbit, bag in bags.items()))))
            new.append(fresh)
        table = new
    seen = {}
    return [seen.setdefault(tuple(sorted(row)), len(seen)) for row in table]


S3, D4 = S(3), Dihedral(4)
CASES = [
    (S3.V**2, [S3.V, S3.V]),
    (S3.V**2, [S3.V + S3.trivial, S3.V**2]),
    (2 * S3.V + S3.det, [S3.regular]),
    (S3.det + S3.V, [A(3).trivial.induce(S3), S3.V]),
    (D4.V, [D4.V, D4.V]),
    (D4.irrep(1, 1) + D4.irrep(1, 0), [D4.V]),
    (D4.irrep(1, 1), [Dihedral(1).trivial.induce(D4), D4.regular]),
    (Cyclic(4).V, [Cyclic(2).trivial.induce(Cyclic(4)), Cyclic(4).V]),
    ((S3 * Cyclic(2)).V, [(S3 * Cyclic(2)).V, (S3 * Cyclic(2)).V]),
]


@pytest.mark.parametrize("rep_in, hidden", CASES, ids=lambda case: str(case))
def test_it_is_the_definition(rep_in, hidden):
    """On inputs with few different entries, so that many look alike, moved ones among them."""
    group = rep_in.group
    x = torch.randint(0, 2, (24, rep_in.dim), generator=seeded()).double()
    x = torch.cat([x, rep_in.act(group.sample(24, generator=seeded(1)), x)])
    fast, slow = classes(x, rep_in, hidden).tolist(), slow_classes(x, rep_in, hidden)
    assert len(set(zip(fast, slow))) == len(set(fast)) == len(set(slow))
    assert fast[:24] == fast[24:]
    assert 1 < len(set(fast)) < 24


def test_equality_of_indices_and_search_agree():
    """The shortcut for tuples under S(n), against orbits of pairs found from generators."""
    V = S(4).V
    x = torch.randint(0, 2, (30, 16), generator=seeded()).double()
    embedded = [V, V**2, V + V**2 + S(4).trivial]
    for first, second in itertools.product(embedded, embedded):
        fast = classes(x, V**2, [first, second])
        full = range(10**4)
        every = [list(full[: count(V**2, first)]), list(full[: count(first, second)])]
        searched = classes(x, V**2, [first, second], layers=every)
        assert torch.equal(fast, searched), (first, second)


def count(a, b):
    single = [Rep(rep.group, [(W, 1) for W, _ in rep.terms]) for rep in (a, b)]
    return maps.dimension(*single)


# --- statements of the paper


def test_the_regular_representation_separates_orbits_exactly():
    V, regular = S(4).V, S(4).regular
    x = V.randn(6, generator=seeded(), dtype=torch.float64)
    x = torch.cat([x, V.act(S(4).sample(6, generator=seeded(1)), x)])
    assert classes(x, V, [regular]).tolist() == [*range(6), *range(6)]
    assert len(set(classes(x, 1 * V, [S(4).trivial]).tolist())) == 6  # sums of random numbers differ


def test_invariants_only_compare_invariants():
    x = torch.tensor([[1.0, 2, 3, 4], [0, 0, 5, 5], [1, 2, 3, 5]])
    assert classes(x, S(4).V, [S(4).trivial]).tolist() == [0, 0, 1]


def test_widths_and_added_invariants_change_nothing():
    V = S(5).V
    x = (torch.rand(60, 25, generator=seeded()) < 0.1).double()
    for hidden in ([V], [V, V], [V**2, V]):
        plain = classes(x, V**2, hidden)
        assert torch.equal(plain, classes(x, V**2, [7 * rep for rep in hidden]))
        assert torch.equal(plain, classes(x, V**2, [rep + 2 * S(5).trivial for rep in hidden]))
        assert 3 < len(set(plain.tolist())) < 60


def finer(a, b):
    """Whether classes b never tell apart what a does not."""
    return len(set(zip(a.tolist(), b.tolist()))) == len(set(a.tolist()))


def test_sums_and_smaller_subgroups_refine():
    group, V = S(4), S(4).V
    x = torch.randint(0, 3, (80, 4), generator=seeded()).double()
    x = torch.cat([x, torch.randint(0, 2, (80, 4), generator=seeded(1)).double()])
    both = classes(x, V, [V + A(4).trivial.induce(group)])
    for part in (V, A(4).trivial.induce(group)):
        assert finer(both, classes(x, V, [part]))
    subgroups = [Trivial(), S(2), A(3), S(3), S(2) * S(2), A(4), S(4)]
    rep_in = V**2
    y = torch.randint(0, 2, (80, 16), generator=seeded()).double()
    found = {str(H): classes(y, rep_in, [H.trivial.induce(group)]) for H in subgroups}
    order = hierarchy(group, subgroups)
    assert len(order.edges) >= 8
    for stronger, weaker in order.edges:
        assert finer(found[stronger], found[weaker]), (stronger, weaker)
    assert {name: order.nodes[name]["index"] for name in ("Trivial()", "S(3)", "S(4)")} == {
        **{"Trivial()": 24, "S(3)": 4, "S(4)": 1}
    }
    assert not finer(found["S(4)"], found["S(3)"])  # and the difference is real
    assert not finer(found["S(3)"], found["S(2)"])


def test_conjugate_subgroups_share_a_node():
    def swap(i, j):
        def embed(h):
            p = torch.arange(4).expand(*h.shape[:-1], 4).clone()
            p[..., i], p[..., j] = torch.where(h[..., 0] == 0, i, j), torch.where(h[..., 0] == 0, j, i)
            return p

        return embed

    one, other = S(2), embedding(S(2), S(4), swap(2, 3))
    order = hierarchy(S(4), [one, other, S(4)])
    assert len(order.nodes) == 2
    assert " = " in next(iter(order.nodes))
    x = torch.randint(0, 2, (60, 16), generator=seeded()).double()
    first, second = (
        classes(x, S(4).V ** 2, [H]) for H in (one.trivial.induce(S(4)), S(2).trivial.induce(S(4), swap(2, 3)))
    )
    assert torch.equal(first, second)


def test_depth_helps_up_to_a_threshold():
    V = S(8).V
    path = [(i, i + 1) for i in range(7)]
    legs = [[(i, 7) for i in (k,)] + path[:6] for k in range(1, 6)]
    x = torch.stack([graph(edges, 8) for edges in [path, *legs]])
    depth = depth_threshold(V**2, V**2, x)
    found = [len(set(classes(x, V**2, [V**2] * d).tolist())) for d in range(1, depth + 3)]
    assert found[depth - 1] == found[depth] == found[depth + 1]
    assert depth == 1 or found[depth - 2] < found[depth - 1]
    assert depth_threshold(V**2, V, x) >= 1


def test_small_filters_see_less():
    """On a ring of 8, with filters of 3: one layer cannot tell how far apart two marks are, deeper ones can."""
    group = Cyclic(8)
    V = group.V
    marks = torch.zeros(3, 8)
    for sample, gap in enumerate((2, 3, 4)):
        marks[sample, [0, gap]] = 1
    offsets = [0, 1, 7]  # orbit k of pairs joins output j to input j + k
    assert torch.equal(torch.tensor(separation_orbits(V)), (torch.arange(8)[None] - torch.arange(8)[:, None]) % 8)
    found = [classes(marks, V, [V] * depth, layers=[offsets] * depth).tolist() for depth in (1, 2)]
    assert found == [[0, 1, 1], [0, 1, 2]]
    assert classes(marks, V, [V]).tolist() == [0, 1, 2]


def separation_orbits(V):
    basis = maps.between(V, V, method="solver").basis()
    return basis.argmax(0).tolist()


# --- networks


def network(rep_in, hidden, fn, generator):
    """Three linear maps with random weights and biases."""
    reps = [rep_in, *(3 * rep for rep in hidden), 1 * rep_in.group.trivial]
    layers = [nn.Linear(a, b, generator=generator).double() for a, b in itertools.pairwise(reps)]
    for layer in layers:
        if layer.bias is not None:
            layer.bias.data.normal_(generator=generator)

    def run(x):
        for layer in layers[:-1]:
            x = fn(layer(x))
        return layers[-1](x)[..., 0].detach()

    return run


@pytest.mark.parametrize("fn", [torch.relu, torch.tanh, torch.nn.functional.gelu], ids=lambda fn: fn.__name__)
def test_networks_agree_with_the_audit(fn):
    """Equal pairs stay together in 20 networks; others are told apart, whatever the function."""
    V = S(6).V
    generator = seeded()
    random = torch.randint(0, 2, (14, 6, 6), generator=seeded(2)).double().triu(1)
    x = torch.cat([torch.stack([*HEXAGON, *TREES]), (random + random.mT).flatten(1)])
    pairs = list(itertools.combinations(range(len(x)), 2))
    told = {True: 0, False: 0}
    for hidden in ([V**2, V], [V, V**2]):
        audit = classes(x, V**2, hidden)
        outputs = torch.stack([network(V**2, hidden, fn, generator)(x) for _ in range(20)])
        size = outputs.abs().amax()
        for a, b in pairs:
            apart = (outputs[:, a] - outputs[:, b]).abs().max() / size
            if audit[a] == audit[b]:
                assert apart < 1e-9, (hidden, a, b)
                told[False] += 1
            else:
                told[True] += bool(apart > 1e-9)
    different = sum(
        int(a) != int(b) for h in ([V**2, V], [V, V**2]) for a, b in itertools.combinations(classes(x, V**2, h), 2)
    )
    assert told[True] >= 0.99 * different > 100
    assert told[False] >= 3


def test_squares_tell_less_apart():
    """A polynomial of degree 2 sees two power sums; these sets share both, and every other function parts them."""
    x = torch.tensor([[0.0, 3, 5, 6], [1, 2, 4, 7]], dtype=torch.float64)
    assert torch.equal(x.sum(1), x[:1].sum(1).expand(2))
    assert torch.equal(x.square().sum(1), x[:1].square().sum(1).expand(2))
    V = S(4).V
    assert separated(x[0], x[1], V, [V])
    for fn, told in ((torch.square, False), (torch.relu, True), (torch.tanh, True)):
        gaps = [network(V, [V], fn, seeded(k))(x).diff().abs().item() for k in range(20)]
        assert (max(gaps) > 1e-6) == told, (fn, max(gaps))


# --- reports, options, errors


def test_report():
    V = S(6).V
    model = torch.nn.Sequential(
        nn.Linear(V**2, 4 * V**2),
        torch.nn.ReLU(),
        nn.Linear(4 * V**2, 2 * V**2),
        torch.nn.ReLU(),
        nn.Linear(2 * V**2, 1 * V**0),
    )
    pairs = {"rings": HEXAGON, "trees": TREES}
    found = report(model, pairs)
    assert found.together == ("rings",)
    assert str(found) == (
        "V^2 -> 4*V^2 -> 2*V^2 -> 1 of S(6)\n  rings  NOT told apart by any weights\n  trees  told apart"
    )
    assert found == report([V**2, 4 * V**2, 2 * V**2], pairs)
    assert report([V**2, V**3], [HEXAGON]).together == ()
    assert report(nn.Linear(V**2, 2 * V), [TREES]).together == ("pair 0",)
    assert all(0 < pair.gap <= 1 for pair in found.pairs)


def test_values_within_the_tolerance_are_one_colour():
    V = S(3).V
    x = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0 + 1e-12], [1.0, 2.0, 3.0 + 1e-4]], dtype=torch.float64)
    assert classes(x, V, [V]).tolist() == [0, 0, 1]
    assert classes(x, V, [V], tol=1e-3).tolist() == [0, 0, 0]
    (layer,) = colours(x, V, [V])
    assert layer.shape == (3, 3)
    gap = report([V, V], [(x[0], x[2])]).pairs[0].gap
    assert 1e-6 < gap < 1e-4


def test_no_samples_and_one_point():
    V = S(3).V
    assert classes(torch.zeros(0, 3), V, [V, V]).shape == (0,)
    assert [layer.shape for layer in colours(torch.zeros(2, 3), V, [V**0, V, V**0])] == [(2, 1), (2, 3), (2, 1)]


def test_errors():
    V, x = S(3).V, torch.zeros(3)
    with pytest.raises(ValueError, match=r"hidden features must permute their entries, and det of S\(3\) does not"):
        separated(x, x, V, [S(3).det])
    with pytest.raises(ValueError, match=r"O\(3\) is infinite; this audit is for finite groups"):
        separated(x, x, O(3).V, [O(3).trivial])
    with pytest.raises(ValueError, match=r"rep_in belongs to S\(3\), a hidden Rep to S\(4\)"):
        separated(x, x, V, [S(4).V])
    with pytest.raises(ValueError, match="has dimension 3, the data has trailing dimension 2"):
        classes(torch.zeros(1, 2), V, [V])
    with pytest.raises(ValueError, match=r"samples must be \[samples, dim\]"):
        classes(x, V, [V])
    with pytest.raises(ValueError, match="two flat inputs"):
        separated(x, x[None], V, [V])
    with pytest.raises(ValueError, match="at least one hidden"):
        separated(x, x, V, [])
    with pytest.raises(ValueError, match="2 hidden Reps take 2 choices of maps, got 1"):
        separated(x, x, V, [V, V], layers=[None])
    for chosen in ([[2], None], [None, [-1]]):
        with pytest.raises(ValueError, match=r"the basis maps 0..1, got"):
            separated(x, x, V, [V, V], layers=chosen)
    with pytest.raises(ValueError, match="pairs of points, more than"):
        Orbitals(*points(Cyclic(12000).V), *points(Cyclic(12000).V))
    with pytest.raises(ValueError, match=r"Linear\(V -> V .* is followed by Linear\(V\^2 -> 1"):
        report(torch.nn.Sequential(nn.Linear(V, V), nn.Linear(V**2, 1 * V**0)), [])
    with pytest.raises(ValueError, match=r"ReLU holds no nn\.Linear"):
        report(torch.nn.ReLU(), [])
    with pytest.raises(ValueError, match="no standard embedding"):
        hierarchy(Cyclic(4), [Cyclic(3)])
    with pytest.raises(ValueError, match="infinite"):
        hierarchy(E(2), [Trivial()])


def test_it_is_part_of_the_audit():
    from intertwine import audit

    assert audit.separation is separation
