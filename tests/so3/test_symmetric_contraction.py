"""The symmetric contraction: path counts, its tensors, a direct sum over paths, cuequivariance, and derivatives."""

from itertools import permutations

import numpy as np
import pytest
import torch

from intertwine.so3 import Irreps, SymmetricContraction, coupling_tensors

SPHERICAL = "0e + 1o + 2e + 3o"


def contraction(rep_in, rep_out, correlation, channels=2, n_species=3, **options):
    def widened(text):
        return Irreps([(channels, irrep) for irrep, _ in Irreps(text).blocks])

    generator = torch.Generator().manual_seed(5)
    made = SymmetricContraction(
        widened(rep_in), widened(rep_out), correlation, n_species, generator=generator, **options
    )
    return made.double()


def direct_sum(module, x, species):
    """Σ over degrees and paths of w U(A, .., A), with the dense tensors."""
    A = x.view(len(x), -1, module.channels)
    inputs, found = str(Irreps([(1, irrep) for irrep, _ in module.rep_in.blocks])), []
    for (irrep, _), weight, counts in zip(module.rep_out.blocks, module.weights, module.path_counts):
        out = 0
        for degree, w in enumerate(weight[species].split(counts, 1), 1):
            U = torch.tensor(coupling_tensors(inputs, irrep, degree, symmetric=module.symmetric))
            power = torch.einsum("pm...i,nic->ncpm...", U, A)
            for _ in range(degree - 1):
                power = torch.einsum("ncpm...i,nic->ncpm...", power, A)
            out = out + torch.einsum("ncpm,npc->nmc", power, w)
        found.append(out.flatten(1))
    return torch.cat(found, 1)


def sample(module, nodes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(nodes, module.rep_in.dim, generator=generator, dtype=torch.float64)
    return x, torch.randint(module.n_species, (nodes,), generator=generator)


@pytest.mark.parametrize(
    ("irrep", "symmetric", "counts"),
    [
        ("0e", True, (1, 4, 8)),
        ("1o", True, (1, 3, 12)),
        ("2e", True, (1, 5, 14)),
        ("0e", False, (1, 4, 23)),
        ("1o", False, (1, 6, 51)),
        ("2e", False, (1, 7, 65)),
    ],
)
def test_numbers_of_paths(irrep, symmetric, counts):
    assert contraction(SPHERICAL, irrep, 3, symmetric=symmetric).path_counts == (counts,)


def test_numbers_of_paths_of_degrees_up_to_one():
    assert contraction("0e + 1o", "0e", 3).path_counts == ((1, 2, 2),)


@pytest.mark.parametrize("irrep", ["0e", "1o", "2e"])
def test_symmetrised_tensors(irrep):
    """Unchanged under exchange, orthogonal, and spanning what the chains of couplings span after symmetrisation."""
    U, chains = (coupling_tensors(SPHERICAL, irrep, 3, symmetric=s) for s in (True, False))
    orders = list(permutations((2, 3, 4)))
    for order in orders:
        np.testing.assert_allclose(U.transpose(0, 1, *order), U, rtol=0, atol=1e-14)
    flat = U.reshape(len(U), -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(len(U)) * U.shape[1] / 6, rtol=0, atol=1e-12)
    folded = sum(chains.transpose(0, 1, *order) for order in orders).reshape(len(chains), -1) / 6
    coefficients, *_ = np.linalg.lstsq(flat.T, folded.T, rcond=None)
    assert np.abs(flat.T @ coefficients - folded.T).max() < 1e-12
    assert np.linalg.matrix_rank(folded, tol=1e-9) == len(U)


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "chains"])
@pytest.mark.parametrize(
    ("rep_in", "rep_out", "correlation"),
    [
        (SPHERICAL, "0e + 1o", 3),
        (SPHERICAL, "2e + 1o", 2),
        (SPHERICAL, "1o", 1),
        ("0e + 1o", "0e + 1o", 4),
        ("0 + 1 + 2", "1 + 0", 3),
        ("0e + 0o + 1e + 1o", "0o + 1e", 3),
        ("1o + 1o", "0e + 1e", 3),
    ],
    ids=["usual", "degree 2", "linear", "five bodies", "SO(3)", "both parities", "a block twice"],
)
def test_direct_sum_over_paths(rep_in, rep_out, correlation, symmetric):
    module = contraction(rep_in, rep_out, correlation, symmetric=symmetric)
    x, species = sample(module)
    torch.testing.assert_close(module(x, species), direct_sum(module, x, species), rtol=0, atol=1e-10)


def test_both_bases_give_the_same_functions():
    """Every function of the chains is one of the symmetric basis; its weights follow by least squares."""
    basis, chains = (contraction(SPHERICAL, "1o", 3, channels=1, n_species=1, symmetric=s) for s in (True, False))
    x, species = sample(basis, nodes=40)

    def columns(module):
        (weight,) = module.weights
        found = []
        for one in torch.eye(weight.shape[1], dtype=torch.float64):
            with torch.no_grad():
                weight.copy_(one[None, :, None])
            found.append(module(x, species).detach().flatten())
        return torch.stack(found, 1)

    few, many = columns(basis), columns(chains)
    solved = torch.linalg.lstsq(few, many).solution
    assert (few @ solved - many).abs().max() < 1e-10
    assert torch.linalg.matrix_rank(many, rtol=1e-9) == torch.linalg.matrix_rank(few, rtol=1e-9) == few.shape[1]


def test_cuequivariance():
    """Its contraction with random weights is ours with other weights: least squares on samples leaves nothing."""
    cue = pytest.importorskip("cuequivariance")
    cuet = pytest.importorskip("cuequivariance_torch")
    ours = contraction("0e + 1o + 2e", "0e + 1o", 3, channels=1, n_species=1)
    theirs = cuet.SymmetricContraction(
        cue.Irreps("O3", "0e + 1o + 2e"), cue.Irreps("O3", "0e + 1o"), 3, 1, layout=cue.ir_mul, dtype=torch.float64,
        math_dtype=torch.float64, method="naive",
    )  # fmt: skip
    x, species = sample(ours, nodes=60)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
        wanted = theirs(x, species.int())
        columns = []
        for weight in ours.weights:
            weight.zero_()
        for weight in ours.weights:
            for path in range(weight.shape[1]):
                weight[:, path] = 1
                columns.append(ours(x, species).flatten())
                weight[:, path] = 0
        solved = torch.linalg.lstsq(torch.stack(columns, 1), wanted.flatten()).solution
        for weight, part in zip(ours.weights, solved.split([w.shape[1] for w in ours.weights])):
            weight.copy_(part[None, :, None])
        torch.testing.assert_close(ours(x, species), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "chains"])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_equivariant_with_its_gradient(channels, symmetric, generator):
    module = contraction(SPHERICAL, "0e + 1o", 3, channels=channels, symmetric=symmetric)
    x, species = sample(module)
    into, out = module.rep_in, module.rep_out
    weight = torch.randn(4, out.dim, generator=generator, dtype=torch.float64)

    def gradient(x, weight):
        x = x.detach().requires_grad_()
        return torch.autograd.grad((module(x, species) * weight).sum(), x)[0]

    for g in into.group.sample(3, generator=generator):
        y = module(into.act(g, x), species)
        torch.testing.assert_close(y, out.act(g, module(x, species)), rtol=0, atol=1e-10)
        turned = gradient(into.act(g, x), out.act(g, weight))
        torch.testing.assert_close(turned, into.act(g, gradient(x, weight)), rtol=0, atol=1e-10)


def test_float32_is_close(generator):
    module = contraction(SPHERICAL, "0e + 1o", 3, channels=4)
    x, species = sample(module)
    exact = module(x, species)
    single = module.float()(x.float(), species)
    assert (single - exact).abs().max() < 1e-5 * exact.abs().max()
    torch.testing.assert_close(module.double()(x, species), exact, rtol=1e-6, atol=1e-6)  # constants come back exact


def test_derivatives_to_second_order():
    module = contraction("0e + 1o", "0e + 1o", 3, channels=1, n_species=2)
    x, species = sample(module, nodes=2)
    weights = [w.detach().requires_grad_() for w in module.weights]

    def run(x, *weights):
        named = {f"weights.{i}": w for i, w in enumerate(weights)}
        return torch.func.functional_call(module, named, (x, species))

    inputs = x.requires_grad_(), *weights
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("nodes", [0, 1, 5])
def test_batches_and_species(nodes):
    """Atoms are treated one by one, each with the weights of its species."""
    module = contraction(SPHERICAL, "0e + 1o", 3)
    x, species = sample(module, nodes=nodes)
    together = module(x, species)
    assert together.shape == (nodes, module.rep_out.dim)
    for i in range(nodes):
        torch.testing.assert_close(module(x[i : i + 1], species[i : i + 1])[0], together[i], rtol=0, atol=1e-12)
    if nodes > 1:
        assert (module(x, (species + 1) % 3) - together).abs().max() > 1e-3
        order = torch.arange(nodes).flip(0)
        torch.testing.assert_close(module(x[order], species[order]), together[order], rtol=0, atol=1e-12)
        torch.testing.assert_close(module(x.T.contiguous().T, species), together, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_it_compiles_whole_with_second_derivatives():
    module = contraction("0e + 1o", "0e + 1o", 3)
    x, species = sample(module)

    def slope(x):
        first = torch.func.grad(lambda x: module(x, species).square().sum())
        return torch.func.grad(lambda x: first(x).square().sum())(x)

    compiled = torch.compile(slope, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), slope(x), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("2x0e + 3x1o", "2x0e", 2), "channel by channel"),
        (("2x0e + 2x1o", "3x0e", 2), "channel by channel"),
        (("", "3x0e", 2), "channel by channel"),
        (("2x0e + 2x1o", "2x0e", 0), "correlation=0"),
        (("2x0e + 2x1o", "2x0e", 2, 0), "n_species=0"),
        (("2x0e + 2x1o", "2x1e", 3), "no power up to 3"),
        (("2x0e + 2x1o + 2x2e + 2x3o", "2x0e", 8), "16 components have 490,314 products of 8"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SymmetricContraction(*arguments)


def test_wrong_features_are_named():
    module = contraction(SPHERICAL, "0e", 2)
    with pytest.raises(ValueError, match="32"):
        module(torch.zeros(3, 31, dtype=torch.float64), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="degree must be at least 1"):
        coupling_tensors(SPHERICAL, "0e", 0)
