"""Exact solutions of addition: the semiring, the weights made of it, and reading them back."""

import cmath
import math

import numpy as np
import pytest
import torch

from intertwine.discover import cogo
from intertwine.groups import Cyclic, O, S

GROUPS = [(2,), (3,), (4,), (5,), (6,), (7,), (8,), (9,), (10,), (11,), (23,), (2, 2), (3, 4), (3, 3), (2, 2, 3)]
named = pytest.mark.parametrize("group", GROUPS, ids=str)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def partial(nodes: int, seed: int) -> cogo.Partial:
    rng = np.random.default_rng(seed)
    return cogo.Partial(rng.normal(size=(3, nodes)) + 1j * rng.normal(size=(3, nodes)))


def centred(values: torch.Tensor) -> torch.Tensor:
    return values - values.mean(-1, keepdim=True)


def error(weights, group) -> float:
    """The largest error of any score of any sum, the mean over the scores apart."""
    x, y, total = cogo.addition_table(group)
    target = torch.eye(len(weights[0][0]), dtype=torch.float64)[total]
    return centred(cogo.quadratic(*weights, x, y) - target).abs().max().item()


# The semiring


def test_potentials_by_their_definition():
    z = partial(4, 0).z
    found = cogo.potentials(cogo.Partial(z))
    assert len(found) == 10
    a, b, c = z
    assert found["abc"] == pytest.approx(sum(a * b * c))
    assert found["aBc"] == pytest.approx(sum(a * b.conj() * c))
    assert found["AAc"] == pytest.approx(sum(a.conj() ** 2 * c))


@pytest.mark.parametrize("nodes", [(0, 3), (1, 1), (2, 5)], ids=str)
def test_potentials_are_homomorphisms(nodes):
    p, q = partial(nodes[0], 1), partial(nodes[1], 2)
    of_p, of_q = cogo.potentials(p), cogo.potentials(q)
    assert (p + q).nodes == sum(nodes) and (p * q).nodes == math.prod(nodes)
    for name in of_p:
        assert cogo.potentials(p + q)[name] == pytest.approx(of_p[name] + of_q[name], abs=1e-12)
        assert cogo.potentials(p * q)[name] == pytest.approx(of_p[name] * of_q[name], abs=1e-12)


def test_the_semiring_has_its_laws():
    """Zero has no nodes, one is the node (1, 1, 1); products are associative and distribute from the right."""
    p, q, r = partial(2, 1), partial(3, 2), partial(2, 3)
    zero, one = cogo.Partial(np.zeros((3, 0))), cogo.Partial(np.ones((3, 1)))
    np.testing.assert_array_equal((p + zero).z, p.z)
    np.testing.assert_array_equal((one * p).z, p.z)
    assert (zero * p).nodes == 0
    np.testing.assert_allclose(((p * q) * r).z, (p * (q * r)).z)
    np.testing.assert_allclose(((p + q) * r).z, (p * r + q * r).z)


@pytest.mark.parametrize("angle", [0.0, 0.4, 2.9])
@pytest.mark.parametrize("sign", [1j, -1j], ids=["i", "-i"])
def test_the_solutions_of_one_frequency(angle, sign):
    unit = cmath.exp(1j * angle)
    six, four = cogo.potentials(cogo.order6(unit)), cogo.potentials(cogo.order4(unit, sign))
    free = cogo.potentials(cogo.syn(unit, cmath.exp(2.2j * angle)) * cogo.nu(1j))
    expected6 = dict.fromkeys(six, 0) | {"abc": 6}
    expected4 = dict.fromkeys(six, 0) | {"abc": 4, "aAc": 2 * (1 + sign), "bBc": 2 * (1 + sign)}
    assert six == pytest.approx(expected6, abs=1e-12)
    assert free == pytest.approx(expected6, abs=1e-12)
    assert four == pytest.approx(expected4, abs=1e-12)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: cogo.Partial(np.ones((2, 4))), r"\[3, nodes\], got \[2, 4\]"),
        (lambda: cogo.Partial(np.ones(3)), r"got \[3\]"),
        (lambda: cogo.Partial(np.full((3, 1), np.nan)), "finite"),
        (lambda: cogo.nu(0), "nu: v must not be 0"),
        (lambda: cogo.syn(1, 0), "syn: beta must not be 0"),
        (lambda: cogo.syn(0, 1), "syn: alpha must not be 0"),
        (lambda: cogo.xi(0), "xi: x must not be 0"),
        (lambda: cogo.xi(1, 1), "sign must be 1j or -1j, got 1"),
        (lambda: cogo.order6(2), "order6: the parameter must lie on the unit circle, got 2"),
        (lambda: cogo.order4(math.nan), "order4: the parameter must lie on the unit circle"),
    ],
)
def test_coefficients_that_make_no_solution(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_only_partials_are_composed():
    with pytest.raises(TypeError):
        cogo.syn() + 1
    with pytest.raises(TypeError):
        2 * cogo.syn()
    z = np.ones((3, 2))
    p = cogo.Partial(z)
    z[0, 0] = 5
    assert p.z[0, 0] == 1 and not p.z.flags.writeable and "Partial([[1" in repr(p)


# The weights


@named
@pytest.mark.parametrize("kind", ["6", "4/6", "memorise"])
@pytest.mark.parametrize("seed", [None, 0], ids=["plain", "drawn"])
def test_constructed_networks_add_exactly(group, kind, seed):
    weights = cogo.construct(group, kind, generator=None if seed is None else generator(seed))
    assert error(weights, group) < 1e-12
    d = math.prod(group)
    assert all(w.shape[1] == d and w.dtype == torch.float64 for w in weights)
    # order4 leaves at most 16 √2 / 8d of a constant; its share is bounded by that of all frequencies together
    bound = 2 * (8 * d) ** (-1 / 3)
    extra = math.sqrt(2) / 24 * (12 * d) ** (2 / 3) if kind == "4/6" else 0
    assert kind == "memorise" or max(w.abs().max() for w in weights) <= bound + extra


@pytest.mark.parametrize(
    "d, six, four",
    [(5, 12, 10), (7, 18, 14), (11, 30, 22), (23, 66, 46), (4, 8, 8), (6, 14, 12), (8, 20, 16), (10, 26, 20)],
)
def test_how_many_nodes_a_solution_takes(d, six, four):
    assert [len(cogo.construct([d], kind)[0]) for kind in ("6", "4/6", "memorise")] == [six, four, d * d]


def test_order4_alone_fails_by_a_constant():
    """What "4/6" takes away: without it, the error is the same for every pair of elements."""
    d, part = 5, cogo.order4()
    wave = np.exp(2j * np.pi * np.outer([1, 2], np.arange(d)) / d)
    scale = 2 * (8 * d) ** (-1 / 3)
    A, B = ((scale * np.multiply.outer(row, wave)).real.reshape(-1, d) for row in part.z[:2])
    C = (scale * np.multiply.outer(part.z[2], wave.conj())).real.reshape(-1, d)
    x, y, total = cogo.addition_table([d])
    output = cogo.quadratic(*map(torch.from_numpy, (A, B, C)), x, y)
    wrong = centred(output - torch.eye(d, dtype=torch.float64)[total])
    assert wrong.abs().max() > 0.1
    assert wrong.std(0).max() < 1e-12


def test_the_generator_draws_the_free_parameters():
    one, two, three = (cogo.construct([7], "4/6", generator=generator(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one, two))
    assert not torch.allclose(one[0], three[0])


@pytest.mark.parametrize("group", [Cyclic(6), Cyclic(3) * Cyclic(4)], ids=str)
def test_elements_are_numbered_as_the_group_lists_them(group):
    x, y, total = cogo.addition_table(group)

    def pick(rows):
        listed = group.elements()
        return tuple(part[rows] for part in listed) if isinstance(listed, tuple) else listed[rows]

    expected, found = group.compose(pick(x), pick(y)), pick(total)
    for ours, theirs in zip(found, expected) if isinstance(found, tuple) else [(found, expected)]:
        assert torch.equal(ours, theirs)
    orders = [factor.n for factor in getattr(group, "factors", (group,))]
    assert all(torch.equal(a, b) for a, b in zip(cogo.construct(group), cogo.construct(orders)))


@pytest.mark.parametrize(
    "group, kind, says",
    [
        ([7], "5", r"kind must be one of \('6', '4/6', 'memorise'\), got '5'"),
        (S(3), "6", r"a Cyclic\(n\) or a product of such, got S\(3\)"),
        (Cyclic(3) * O(2), "6", r"got Cyclic\(3\) \* O\(2\)"),
        ([], "6", r"2 or more, got \[\]"),
        ([5, 1], "6", r"2 or more, got \[5, 1\]"),
        (Cyclic(1), "6", r"2 or more, got \[1\]"),
        ([2.5], "6", r"got \[2.5\]"),
        ([1000], "memorise", "takes 22 GiB"),
    ],
    ids=["kind", "S(3)", "O(2)", "none", "one", "Cyclic(1)", "float", "memory"],
)
def test_what_cannot_be_constructed(group, kind, says):
    with pytest.raises(ValueError, match=says):
        cogo.construct(group, kind)


# Reading weights


def canonical6(v: complex) -> complex:
    """v up to sign, third roots of one and conjugation."""
    angle = cmath.phase(v**6) / 6
    return cmath.exp(1j * abs(angle))


def shuffled(weights, seed: int):
    """The same function: nodes in another order, scaled, and a and b with another sign."""
    g = generator(seed)
    q = len(weights[0])
    order = torch.randperm(q, generator=g)
    r = (0.5 + torch.rand(q, 1, generator=g, dtype=torch.float64)) * (2 * torch.randint(2, (q, 1), generator=g) - 1)
    A, B, C = (w[order] for w in weights)
    return A * r, B * r, C / r**2


@named
@pytest.mark.parametrize("kind", ["6", "4/6"])
def test_constructed_networks_are_recognised(group, kind):
    weights = shuffled(cogo.construct(group, kind, generator=generator()), 1)
    parts = cogo.decompose(*weights, group)
    first = next((part.frequency for part in parts if part.kind != "real"), None)
    for part in parts:
        real = all(2 * k % n == 0 for k, n in zip(part.frequency, group))
        expected = "real" if real else "order6" if kind == "6" or part.frequency == first else "order4"
        assert part.kind == expected and part.error < 1e-10 and part.purity > 1 - 1e-12
        assert len(part.nodes) == {"real": 2, "order4": 4, "order6": 6}[part.kind]
    assert sorted(node for part in parts for node in part.nodes) == list(range(len(weights[0])))


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.1, 2.0, -2.6])
@pytest.mark.parametrize("kind", ["order6", "order4", "order4-", "order6ab"])
def test_parameters_are_recovered(angle, kind):
    """Up to what does not change the function: see the docstring of Part."""
    unit = cmath.exp(1j * angle)
    part, expected = {
        "order6": (cogo.order6(unit), canonical6(unit)),
        "order4": (cogo.order4(unit), cmath.exp(1j * (angle % (math.pi / 2)))),
        "order4-": (cogo.order4(unit, -1j), cmath.exp(1j * (-angle % (math.pi / 2)))),
        "order6ab": (cogo.syn(cmath.exp(1j * (angle + 0.45)), cmath.exp(1.7j)) * cogo.nu(1j), None),
    }[kind]
    turned = cogo.Partial([[cmath.exp(0.7j)], [cmath.exp(-1.9j)], [cmath.exp(1.2j)]]) * part
    d = 9
    wave = np.exp(2j * np.pi * 2 * np.arange(d) / d)
    A, B = ((row[:, None] * wave).real for row in turned.z[:2])
    C = (turned.z[2][:, None] * wave.conj()).real
    weights = shuffled([torch.from_numpy(w) for w in (A, B, C)], 3)
    parts = cogo.decompose(*weights)
    assert [part.kind for part in parts] == ["other", kind.rstrip("-"), "other", "other"]
    assert parts[1].frequency == (2,) and parts[1].error < 1e-10
    assert parts[0] == cogo.Part((1,), (), "other", math.inf, None, 1.0)
    if expected is None:
        assert parts[1].parameter is None
    else:
        found = parts[1].parameter
        turn = math.pi / 3 if kind == "order6" else math.pi / 2  # angle 0 may be read as a whole turn
        gap = cmath.phase(found / expected) % turn
        assert min(gap, turn - gap) < 1e-6


@pytest.mark.parametrize("kind", ["6", "4/6"])
def test_weights_near_a_solution_are_read_and_far_ones_are_not(kind):
    weights = cogo.construct([7], kind, generator=generator())
    size = 2 * (2 * 7 * 6) ** (-1 / 3)

    def moved(by: float):
        g = generator(2)
        return [w + by * size * torch.randn(w.shape, generator=g, dtype=torch.float64) for w in weights]

    near, far = cogo.decompose(*moved(0.05)), cogo.decompose(*moved(0.4))
    assert all(part.kind in ("order6", "order4") and 1e-3 < part.error < 0.1 for part in near)
    assert [part.kind for part in near] == [part.kind for part in cogo.decompose(*weights)]
    assert all(part.kind == "other" and part.parameter is None and part.error > 0.1 for part in far)
    strict = cogo.decompose(*moved(0.05), tol=1e-3)
    assert [part.error for part in strict] == [part.error for part in near]
    assert all(part.kind == "other" for part in strict)


def test_other_networks_are_not_taken_for_a_solution():
    """Memorised sums use all frequencies at each node; an unused network has no nodes at all."""
    memorised = cogo.decompose(*cogo.construct([7], "memorise"))
    assert all(part.kind == "other" and part.purity < 0.9 for part in memorised if part.nodes)
    silent = cogo.decompose(*torch.zeros(3, 8, 7))
    assert all(part == cogo.Part((k,), (), "other", math.inf, None, 1.0) for k, part in enumerate(silent, 1))
    # Two nodes of equal sign at a real character count squares, not sums.
    A, B, C = cogo.construct([2])
    (part,) = cogo.decompose(A, B.abs() * A.sign(), C)
    assert part.kind == "other" and part.error > 0.5
    (part,) = cogo.decompose(A.repeat(2, 1), B.repeat(2, 1), C.repeat(2, 1))
    assert part.kind == "other" and len(part.nodes) == 4 and part.error == math.inf


def test_weights_of_parameters_and_of_single_precision_are_read():
    weights = [torch.nn.Parameter(w.float()) for w in cogo.construct([5])]
    assert [part.kind for part in cogo.decompose(*weights, Cyclic(5))] == ["order6", "order6"]


@pytest.mark.parametrize(
    "shapes, group, says",
    [
        ([(4, 5), (4, 5), (5, 4)], None, r"\[nodes, d\] alike, got \[4, 5\], \[4, 5\], \[5, 4\]"),
        ([(4,), (4,), (4,)], None, r"got \[4\], \[4\], \[4\]"),
        ([(4, 6)] * 3, (2, 4), "the group has 8 elements, the weights are of 6"),
        ([(4, 6)] * 3, S(3), r"got S\(3\)"),
    ],
    ids=["shapes", "flat", "order", "group"],
)
def test_weights_that_cannot_be_read(shapes, group, says):
    with pytest.raises(ValueError, match=says):
        cogo.decompose(*(torch.zeros(shape) for shape in shapes), group)


def test_weights_must_be_finite():
    A, B, C = cogo.construct([5])
    with pytest.raises(ValueError, match="finite"):
        cogo.decompose(A, B, C / 0)


# The network and its loss


@pytest.mark.parametrize("batch", [(), (0,), (1,), (3, 4)], ids=str)
def test_the_network_is_its_formula(batch):
    net = cogo.QuadraticNet(5, 3, generator=generator()).double()
    x, y = torch.randint(5, (2, *batch), generator=generator(1))
    expected = torch.einsum("js,...j->...s", net.C, (net.A[:, x] + net.B[:, y]).movedim(0, -1) ** 2)
    torch.testing.assert_close(net(x, y), expected)
    assert net(x, y).shape == (*batch, 5)


def test_the_loss_takes_the_mean_over_the_scores_away():
    x, y, total = cogo.addition_table([5])
    output = cogo.quadratic(*cogo.construct([5]), x, y)
    assert cogo.addition_loss(output, total) < 1e-24
    assert cogo.addition_loss(output + x[:, None], total) < 1e-24  # a constant over s is free
    assert cogo.addition_loss(torch.zeros(25, 5), total).item() == pytest.approx(1 - 1 / 5)


def test_every_solution_is_a_minimum():
    """The gradient of the loss vanishes there, and the network compiled says the same."""
    net = cogo.QuadraticNet(7, 14).double()
    with torch.no_grad():
        for parameter, weight in zip((net.A, net.B, net.C), cogo.construct([7], "4/6", generator=generator())):
            parameter.copy_(weight)
    x, y, total = cogo.addition_table([7])
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, y), net(x, y))
    cogo.addition_loss(net(x, y), total).backward()
    assert max(p.grad.abs().max() for p in net.parameters()) < 1e-12
    assert set(net.state_dict()) == {"A", "B", "C"}


def test_a_network_is_drawn_by_its_generator():
    one, two = (cogo.QuadraticNet(5, 3, generator=generator()) for _ in range(2))
    assert torch.equal(one.A, two.A) and torch.equal(one.C, two.C) and not torch.equal(one.A, one.B)
    with pytest.raises(ValueError, match="order and hidden must be positive, got 5 and 0"):
        cogo.QuadraticNet(5, 0)
    with pytest.raises(ValueError, match="got 0 and 3"):
        cogo.QuadraticNet(0, 3)
