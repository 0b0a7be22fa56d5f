"""Maps over the symmetry of one graph: counts of the theory, functoriality, equivariance, known special cases."""

import itertools

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from conftest import TOL
from grids import seeded
from intertwine import maps, nn
from intertwine.audit import assert_equivariant
from intertwine.groups import SO, Automorphism, Dihedral, PermutationGroup, S
from intertwine.maps.diagrams import Bilabelled, Diagram, functor, homomorphism_matrix, spanning_set
from intertwine.maps.diagrams.bilabelled import counts, relations
from intertwine.maps.diagrams.graph_basis import GraphKernel, graphs
from intertwine.maps.diagrams.independence import exact_rank
from intertwine.maps.sharing import OrbitKernel

float64 = torch.float64
PAW = nx.Graph([(0, 1), (1, 2), (2, 0), (2, 3)])
GRAPHS = {
    "C5": nx.cycle_graph(5),
    "C6": nx.cycle_graph(6),
    "P4": nx.path_graph(4),
    "P5": nx.path_graph(5),
    "K33": nx.complete_bipartite_graph(3, 3),
    "K13": nx.star_graph(3),
    "cube": nx.hypercube_graph(3),
    "Petersen": nx.petersen_graph(),
    "grid": nx.grid_2d_graph(2, 3),
    "paw": PAW,
    "Frucht": nx.frucht_graph(),
    "empty": nx.empty_graph(4),
}
DIMENSIONS = {
    **{"C5": (1, 3, 13, 63), "C6": (1, 4, 20, 112), "P4": (2, 8, 32, 128), "K33": (1, 3, 11, 46)},
    **{"K13": (2, 5, 15, 51), "cube": (1, 4, 20, 120), "Petersen": (1, 3, 15, 107), "grid": (2, 10, 56, 328)},
    **{"paw": (3, 10, 36, 136), "Frucht": (12, 144, 1728, 20736), "empty": (1, 2, 5, 15)},
}
LABELLED = {
    "turns": Automorphism("0>1 1>2 2>3 3>0 0>4"),
    "two kinds of edges": Automorphism(np.array([[0, 1, 2], [1, 0, 1], [2, 1, 0]])),
    "marked square": Automorphism(nx.cycle_graph(4), [3, 1, 3, 1]),
    "loops": Automorphism("0-0 0-1 1-2 2-3 3-3"),
}


@pytest.mark.parametrize("name", DIMENSIONS)
def test_dimensions_are_the_numbers_of_orbits(name):
    group = Automorphism(GRAPHS[name])
    for m, orbits in enumerate(DIMENSIONS[name], 1):
        assert maps.dimension(group.V**m, group.V**0) == orbits  # by characters
        assert spanning_set(group, m, 0, "orbit").orbits == orbits
        assert maps.between(group.V ** (m - m // 2), group.V ** (m // 2)).dim == orbits


@pytest.mark.parametrize(
    "name, ranks",
    {"C6": (3, 4, 4), "P5": (3, 9, 13), "paw": (3, 8, 10), "grid": (3, 9, 10), "Frucht": (3, 5, 15)}.items(),
    ids=str,
)
def test_ranks_of_graphs_with_few_internal_vertices(name, ranks):
    group = Automorphism(GRAPHS[name])
    listed = itertools.takewhile(lambda H: H.internal <= 2, graphs(1, 1, relations(group), group.n))
    columns = {H: homomorphism_matrix(H, group).reshape(-1) for H in listed}
    for internal, rank in enumerate(ranks):
        assert exact_rank(np.stack([v for H, v in columns.items() if H.internal <= internal], 1)) == rank


@pytest.mark.parametrize("name", ["C5", "P4", "K33", "cube", "Petersen", "grid", "paw", "empty"])
@pytest.mark.parametrize("l, k", [(0, 0), (1, 0), (0, 2), (1, 1), (2, 1)])
def test_graphs_span_the_space(name, l, k):
    found = spanning_set(Automorphism(GRAPHS[name]), l, k)
    assert found.basis == "graphs" and len(found.graphs) == found.orbits
    matrices = found.matrices().reshape(found.orbits, -1)
    assert exact_rank(matrices.T) == found.orbits
    for H, M in zip(found.graphs, matrices):
        assert np.array_equal(homomorphism_matrix(H, Automorphism(GRAPHS[name])).reshape(-1), M)


@pytest.mark.parametrize("name", LABELLED)
def test_labels_and_directions_are_relations(name):
    """Without the labels the graphs would not reach all orbits."""
    group = LABELLED[name]
    assert spanning_set(group, 1, 1).basis == "graphs"
    assert spanning_set(group, 2, 1, "orbit").orbits == maps.dimension(group.V, group.V**2)


def test_the_search_ends_in_orbits_and_says_so():
    group = Automorphism(nx.frucht_graph())
    found = spanning_set(group, 1, 1, max_graphs=200)
    assert (found.basis, found.graphs, found.tried) == ("orbit", (), 200)
    assert f"the first 200 graphs reach rank {found.rank} of 144" in found.explain()
    assert 15 <= found.rank < 144
    assert np.array_equal(found.matrices().sum(0), np.ones((12, 12)))  # every entry in one orbit


def small(seed: int, l: int, k: int) -> Bilabelled:
    """A random bilabelled graph of at most four vertices."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    edges = [tuple(map(int, rng.integers(0, n, 2))) for _ in range(rng.integers(0, 5))]
    return Bilabelled(
        [*edges, *((v,) for v in range(n))], rng.integers(0, n, l).tolist(), rng.integers(0, n, k).tolist()
    )


@pytest.mark.parametrize("group", [Automorphism(PAW), Automorphism("0-0 0-1 1-2"), LABELLED["turns"]], ids=str)
@given(st.integers(0, 10**6), st.tuples(*[st.integers(0, 2)] * 3))
def test_the_functor_respects_composition_tensor_product_and_transpose(group, seed, orders):
    l, m, k = orders
    A, B = small(seed, l, m), small(seed + 1, m, k)
    X, Y = homomorphism_matrix(A, group), homomorphism_matrix(B, group)
    assert np.array_equal(homomorphism_matrix(A @ B, group), X @ Y)
    assert np.array_equal(homomorphism_matrix(A | B, group), np.kron(X, Y))
    assert np.array_equal(homomorphism_matrix(A.T, group), X.T)
    assert np.array_equal(homomorphism_matrix((A @ B).T, group), homomorphism_matrix(B.T @ A.T, group))
    assert A.T.T == A


@given(st.integers(0, 10**6))
def test_the_matrix_counts_homomorphisms(seed):
    """By trying every map of vertices."""
    H, group = small(seed, 1, 2), Automorphism(PAW)
    A, M = group.adjacency.numpy(), np.zeros((4, 16), dtype=np.int64)
    for phi in itertools.product(range(4), repeat=H.vertices):
        if all(A[phi[i], phi[j]] for i, j, _ in H.edges):
            M[phi[H.out[0]], 4 * phi[H.inp[0]] + phi[H.inp[1]]] += 1
    assert np.array_equal(homomorphism_matrix(H, group), M)


def test_vertices_may_collapse_and_loops_need_loops():
    path = Bilabelled([(0, 1), (1, 2)], [0], [2])
    A = nx.to_numpy_array(PAW).astype(int)
    assert np.array_equal(homomorphism_matrix(path, Automorphism(PAW)), A @ A)  # the diagonal too: not embeddings
    assert not homomorphism_matrix(Bilabelled([(0, 0)], [0], [0]), Automorphism(PAW)).any()
    assert homomorphism_matrix(Bilabelled([(0, 1), (0, 1)], [0], [1]), Automorphism(PAW)).max() == 1
    assert homomorphism_matrix(Bilabelled([(0,), (1,)], [], []), Automorphism(PAW)).item() == 16
    assert Bilabelled(nx.path_graph(["x", "y", "z"]), ["x"], ["z"]) == path


@pytest.mark.parametrize("l, k", [(1, 1), (2, 1), (2, 2)])
def test_without_edges_they_are_partition_diagrams(l, k):
    for H in itertools.takewhile(lambda H: not H.edges, graphs(l, k, [], 5)):
        labels = [*H.out, *H.inp]
        blocks = tuple(tuple(p for p, v in enumerate(labels) if v == block) for block in sorted(set(labels)))
        M = functor(Diagram(l, k, blocks), S(4))
        assert np.array_equal(homomorphism_matrix(H, Automorphism(nx.empty_graph(4))), M)


@pytest.mark.parametrize("name", ["C5", "K33", "cube", "Petersen", "grid", "paw"])
def test_all_elements_commute_exactly(name):
    group = Automorphism(GRAPHS[name])
    P = group.matrix(group.elements()).numpy()
    for H in (Bilabelled([(0, 2), (1, 2), (0, 1)], [0, 1], [2]), Bilabelled([(0, 1), (1, 2), (2, 3)], [0], [1, 3])):
        M = homomorphism_matrix(H, group)
        square = np.stack([np.kron(p, p) for p in P])
        left, right = (square, P) if H.l == 2 else (P, square)
        assert np.array_equal(left @ M, M @ right)


def spans_equal(first: maps.Map, second: maps.Map) -> bool:
    a, b = first.basis(orthonormal=True).flatten(1), second.basis(orthonormal=True).flatten(1)
    return len(a) == len(b) and torch.allclose(a.T @ a, b.T @ b, rtol=0, atol=1e-10)  # projections on the spaces


def test_special_graphs_give_known_layers():
    for k, l in [(1, 1), (2, 1), (2, 2)]:
        for graph in (nx.empty_graph(4), nx.complete_graph(4)):
            group = Automorphism(graph)
            assert spans_equal(maps.between(group.V**k, group.V**l), maps.between(S(4).V ** k, S(4).V ** l))
        ring = Automorphism(nx.cycle_graph(5))
        assert spans_equal(maps.between(ring.V**k, ring.V**l), maps.between(Dihedral(5).V ** k, Dihedral(5).V ** l))


def test_a_graph_and_its_complement_give_one_space():
    for graph in (nx.complete_bipartite_graph(3, 3), PAW):
        first, second = Automorphism(graph), Automorphism(nx.complement(graph))
        for k, l in [(1, 1), (1, 2)]:
            assert spans_equal(maps.between(first.V**k, first.V**l), maps.between(second.V**k, second.V**l))
    triangles = Automorphism(nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3)))
    assert [spanning_set(triangles, m, 0, "orbit").orbits for m in (1, 2, 3, 4)] == [1, 3, 11, 46]


def test_a_disjoint_union_gives_the_product():
    pieces = nx.cycle_graph(5), nx.star_graph(3)
    whole = Automorphism(nx.disjoint_union(*pieces))
    product = Automorphism(pieces[0]) * Automorphism(pieces[1])
    assert whole.order == product.order
    V = product.pull(0, product.factors[0].V) + product.pull(1, product.factors[1].V)
    assert spans_equal(maps.between(whole.V, whole.V), maps.between(V, V))
    assert maps.dimension(whole.V, whole.V**2) == maps.dimension(V, V * V)


@pytest.mark.parametrize("basis", ["independent", "orbit", "graphs", "orthonormal"])
@pytest.mark.parametrize("name", ["paw", "Petersen"])
def test_every_basis_spans_the_space_of_the_solver(name, basis):
    group = Automorphism(GRAPHS[name])
    for k, l in [(0, 1), (1, 1), (2, 1)]:
        space = maps.between(group.V**k, group.V**l, basis=basis)
        referee = maps.between(group.V**k, group.V**l, method="solver")
        assert space.blocks[0].route.startswith("bilabelled graphs") and "solver" in referee.blocks[0].route
        a, b = (s.basis().flatten(1) for s in (space, referee))
        assert space.dim == referee.dim
        assert (b - b @ torch.linalg.pinv(a) @ a).abs().max() < 1e-10
        kinds = {"graphs": GraphKernel, "orthonormal": maps.Kernel}
        assert isinstance(space.blocks[0].kernel, kinds.get(basis, OrbitKernel))


@pytest.mark.parametrize("basis", ["independent", "graphs"])
def test_apply_is_the_matrix_in_all_its_forms(basis, generator):
    group = Automorphism(PAW)
    V = group.V
    space = maps.between(2 * V**2 + 3 * V + group.trivial, 2 * V + V**2 + 2 * group.trivial, basis=basis)
    w = torch.randn(space.dim, generator=generator, dtype=float64, requires_grad=True)
    for batch in ((), (1,), (0,), (3,), (2, 2)):
        x = space.rep_in.randn(*batch, generator=generator, dtype=float64)
        assert torch.allclose(space.apply(x, w), x @ space.matrix(w).T, rtol=0, atol=1e-11)
    turned, y = space.transpose, space.rep_out.randn(4, generator=generator, dtype=float64)
    assert torch.allclose(turned.apply(y, space.transpose_weight(w)), y @ space.matrix(w), rtol=0, atol=1e-11)
    assert torch.allclose(space.project(space.matrix(w)), w, rtol=0, atol=1e-9)
    for block in space.blocks:
        B = block.dense().numpy()
        kernel = block.kernel
        assert np.allclose(kernel.squares(), (B**2).sum((1, 2)))
        assert np.allclose(kernel.row_norms(), np.sqrt((B**2).sum(2)).max(1))
        assert np.allclose(kernel.row_sums(), np.abs(B).sum(2).max(1))
    tiny = maps.between(2 * V, 2 * V, basis=basis)
    x = tiny.rep_in.randn(2, generator=generator, dtype=float64).requires_grad_()
    w = torch.randn(tiny.dim, generator=generator, dtype=float64, requires_grad=True)
    assert gradcheck(tiny.apply, (x, w), fast_mode=True) and gradgradcheck(tiny.apply, (x, w), fast_mode=True)


@pytest.mark.parametrize("name", ["C6", "Petersen", "paw", "Frucht"])
def test_layers_are_equivariant(name):
    V = Automorphism(GRAPHS[name]).V
    layer = nn.Linear(3 * V + 2 * V**2, 2 * V + V**2, generator=seeded()).double()
    assert_equivariant(layer, elements=8, steps=2, atol=TOL[float64], generator=seeded())
    single = nn.Linear(3 * V + 2 * V**2, 2 * V + V**2, generator=seeded())
    assert_equivariant(single, elements=4, atol=TOL[torch.float32], generator=seeded())


def test_a_layer_that_ignores_the_graph_would_fail():
    group = Automorphism(nx.path_graph(4))
    dense = torch.nn.Linear(4, 4, bias=False).double()
    dense.rep_in = dense.rep_out = group.V
    with pytest.raises(AssertionError):
        assert_equivariant(dense, elements=8, atol=TOL[float64], generator=seeded())


def test_products_with_other_groups():
    group = Automorphism(PAW) * SO(3)
    V = group.V
    assert maps.dimension(V, V) == 10 and maps.between(V, V).dim == 10


def test_options_that_do_not_fit():
    group = Automorphism(PAW)
    with pytest.raises(ValueError, match=r"basis 'graphs' needs Automorphism\(graph\).* S\(4\)"):
        maps.between(S(4).V, S(4).V, basis="graphs")
    with pytest.raises(ValueError, match="basis 'graphs' needs"):
        maps.between(PermutationGroup("(0 1)").V, PermutationGroup("(0 1)").V, basis="graphs")
    with pytest.raises(ValueError, match="basis 'graphs' is for tensor powers of V"):
        maps.between(group.V, group.regular, basis="graphs")
    assert maps.between(group.V, group.regular).dim == 4
    path = Automorphism(nx.path_graph(15)).V ** 2
    assert maps.between(path, path, max_dim=1000).dim == 25313 == path.dim**2 // 2 + 1
    with pytest.raises(ValueError, match="orders must not be negative"):
        spanning_set(group, -1, 1)
    with pytest.raises(ValueError, match="basis must be 'graphs' or 'orbit', got 'spam'"):
        spanning_set(group, 1, 1, "spam")


def test_bad_bilabelled_graphs():
    H = Bilabelled([(0, 1)], [0], [1])
    with pytest.raises(ValueError, match=r"has 1 inputs, but .* has 2 outputs"):
        _ = H @ Bilabelled([], [0, 1], [])
    with pytest.raises(ValueError, match=r"\(0, 1, 2, 3\) is no edge"):
        Bilabelled([(0, 1, 2, 3)], [], [])
    with pytest.raises(ValueError, match=r"\(0, 1, -1\) is no edge"):
        Bilabelled([(0, 1, -1)], [], [])
    with pytest.raises(ValueError, match=r"has an edge of relation 2, .* only 1"):
        homomorphism_matrix(Bilabelled([(0, 1, 2)], [0], [1]), Automorphism(PAW))
    with pytest.raises(ValueError, match="needs a tensor of 20"):
        homomorphism_matrix(Bilabelled([], list(range(7)), []), Automorphism(nx.dodecahedral_graph()))
    with pytest.raises(ValueError, match="too many to count exactly"):
        homomorphism_matrix(Bilabelled([(i, i + 1) for i in range(40)], [], []), Automorphism(PAW))
    assert counts(H, [], 3).sum() == 0 and str(H) == "graph 0 | 1 0-1"
