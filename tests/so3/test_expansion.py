"""Irreps to blocks of a matrix: published counts, a change of basis that loses nothing, both sides turn."""

import pytest
import torch

from intertwine.groups import SO, O
from intertwine.so3 import Expansion, Irreps, clebsch_gordan

CASES = {
    "O(3)": ("3x0e + 2x1o + 2x1e + 2x2e + 2x2o + 1x3o + 1x3e + 1x4e", "2x0e + 1x1o + 1x2e", "1x1o + 2x0e + 1x2e"),
    "SO(3)": ("3x0 + 2x1 + 2x2 + 1x3 + 1x4", "1x2 + 3x0 + 2x1", "1x0 + 1x2 + 1x0"),
    "scalars": ("4x0", "2x0", "3x0"),
}


@pytest.fixture(params=list(CASES))
def expansion(request) -> Expansion:
    return Expansion(*CASES[request.param])


def numbers(expansion: Expansion, *batch: int, generator: torch.Generator) -> list[torch.Tensor]:
    sizes = expansion.rep_in.dim, expansion.weight_numel, expansion.bias_numel
    return [torch.randn(*batch, n, generator=generator, dtype=torch.float64) for n in sizes]


def test_the_published_counts():
    published = Expansion("32x0e+32x1e+32x2e+32x3e+32x4e", "3x0e+2x1e+1x2e", "3x0e+2x1e+1x2e")
    assert len(published.instructions) == 19
    assert (published.weight_numel, published.bias_numel) == (1792, 14)


@pytest.mark.parametrize("batch", [(), (0,), (1,), (2, 3)], ids=("none", "empty", "one", "two axes"))
def test_blocks_turn_on_both_sides(expansion, batch, generator):
    x, weight, bias = numbers(expansion, *batch, generator=generator)
    out = expansion(x, weight, bias)
    assert out.shape == (*batch, expansion.rep_row.dim, expansion.rep_col.dim)
    for g in expansion.rep_in.group.sample(3, generator=generator):
        row, col = expansion.rep_row.matrix(g), expansion.rep_col.matrix(g)
        turned = expansion(expansion.rep_in.act(g, x), weight, bias)
        torch.testing.assert_close(turned, row @ out @ col.mT, rtol=0, atol=1e-10)


def test_the_gradient_turns_too(expansion, generator):
    x, weight, bias = numbers(expansion, 4, generator=generator)
    wanted = torch.randn(4, expansion.rep_row.dim, expansion.rep_col.dim, generator=generator, dtype=torch.float64)

    def gradient(x, wanted):
        x = x.clone().requires_grad_()
        return torch.autograd.grad((expansion(x, weight, bias) * wanted).sum(), x)[0]

    g = expansion.rep_in.group.sample(1, generator=generator)[0]
    row, col = expansion.rep_row.matrix(g), expansion.rep_col.matrix(g)
    turned = gradient(expansion.rep_in.act(g, x), row @ wanted @ col.mT)
    expected = expansion.rep_in.act(g, gradient(x, wanted))
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-10)


def test_it_is_the_sum_of_the_definition(generator):
    expansion = Expansion("2x0+3x1+2x2", "1x0+2x1", "1x1")
    x, weight, bias = numbers(expansion, generator=generator)
    features = dict(zip((0, 1, 2), expansion.rep_in.split(x)))
    out, at, biased = torch.zeros(7, 3, dtype=torch.float64), 0, 0
    columns = {0: 2, 1: 3, 2: 2}  # numbers uv of each degree: 0x0→1 is none of them; 1x1 twice, and 0⊗1 for degree 1
    for l, width in columns.items():
        c = features[l].shape[1]
        y = features[l] @ weight[at : at + c * width].view(c, width) / c**0.5
        at += c * width
        if l == 0:
            y = y + bias[biased : biased + width]
            biased += width
        column = 0
        for l1, rows in ((0, [[0]]), (1, [[1, 3, 5], [2, 4, 6]])):
            C = torch.tensor(clebsch_gordan(l1, 1, l)) * (2 * l + 1) ** 0.5
            for row in rows if C.any() else []:
                out[row] += torch.einsum("ijk,k->ij", C, y[:, column])
                column += 1
    torch.testing.assert_close(expansion(x, weight, bias), out)


def test_every_matrix_is_reached_once(expansion):
    """With one channel and unit weights each, coefficients and entries are the same space."""
    (T,) = expansion._basis.arrays
    T = torch.tensor(T)
    assert T.shape[0] == T.shape[1] == expansion.rep_row.dim * expansion.rep_col.dim
    torch.testing.assert_close(T @ T.mT, torch.eye(len(T), dtype=torch.float64), rtol=0, atol=1e-12)


def test_one_set_of_weights_serves_all_samples(expansion, generator):
    x = numbers(expansion, 3, generator=generator)[0]
    _, weight, bias = numbers(expansion, generator=generator)
    same = expansion(x, weight.expand(3, -1), bias.expand(3, -1))
    torch.testing.assert_close(expansion(x, weight, bias), same)


def test_bad_input_is_named(generator):
    with pytest.raises(ValueError, match=r"1o ⊗ 1o holds 2e, but rep_in 4x0e \+ 4x1e does not"):
        Expansion("4x0e+4x1e", "1x1o", "1x1o")
    with pytest.raises(ValueError, match="stands twice"):
        Expansion("1x0+1x0", "1x0", "1x0")
    with pytest.raises(TypeError, match="parity"):
        Expansion("1x0", "1x0e", "1x0e")
    expansion = Expansion("2x0", "1x0", "1x0")
    with pytest.raises(ValueError, match="2 weights and 1 biases"):
        expansion(torch.zeros(2), torch.zeros(3), torch.zeros(1))
    with pytest.raises(ValueError):
        expansion(torch.zeros(3), torch.zeros(2), torch.zeros(1))


def test_groups():
    assert Expansion(*CASES["O(3)"]).rep_row.group == O(3)
    assert Expansion(*CASES["SO(3)"]).rep_row.group == SO(3)
    assert isinstance(Expansion(*CASES["SO(3)"]).rep_col, Irreps)


def test_it_compiles_whole(generator):
    expansion = Expansion(*CASES["SO(3)"])
    x, weight, bias = numbers(expansion, 3, generator=generator)
    compiled = torch.compile(expansion, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, weight, bias), expansion(x, weight, bias))
