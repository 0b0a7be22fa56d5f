"""The chunked edge sum: equal to ordinary operations, value and derivatives, and lean."""

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from intertwine.so3 import EdgeFrame, SO2EdgeConv, so2_chunks
from intertwine.so3.so2_edge_sum import SO2EdgeSum
from intertwine.so3.so2_plan import edge_sum

EXACT = {"atol": 1e-11, "rtol": 1e-11}
CASES = [  # lmax_in, lmax_out, mmax, channels in, channels out, parity, bias, scale
    (2, 2, 2, 3, 3, False, False, False),
    (3, 1, 1, 2, 3, False, True, True),
    (1, 4, 0, 2, 1, False, True, False),
    (4, 4, 2, 1, 2, True, False, True),
    (0, 0, 0, 2, 2, False, True, True),
]


class Case:
    """One convolution on one graph; `leaves` are everything it can be differentiated by."""

    def __init__(self, generator, lmax_in, lmax_out, mmax, c_in, c_out, parity, bias, scale, edges=23):
        def draw(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

        layer = SO2EdgeConv(
            lmax_in, lmax_out, c_in, c_out, mmax=mmax, parity=parity, bias=bias, generator=generator
        ).double()
        self.plan, self.n = layer.conv.plan, 7
        self.lmax, self.mmax = max(lmax_in, lmax_out), max(lmax_in, lmax_out)
        self.src, self.dst = (torch.randint(self.n, (edges,), generator=generator) for _ in range(2))
        self.weights = [w.detach().requires_grad_() for w in layer.conv.weights]
        bias = draw(len(layer.conv.weights[0][0])) if bias else None
        scale = draw(edges, layer.conv.scale_numel) if scale else None
        self.given = [draw(self.n, (lmax_in + 1) ** 2, c_in), draw(edges, 3), bias, scale]
        self.leaves = [t for t in (*self.given, *self.weights) if t is not None]

    def inputs(self):
        x, r, bias, scale = self.given
        return x, EdgeFrame.from_vectors(r, self.lmax), bias, scale

    def plain(self):
        x, frame, bias, scale = self.inputs()
        return edge_sum(self.plan, frame, x, self.weights, bias, scale, self.src, self.dst, self.n)

    def fused(self):
        x, frame, bias, scale = self.inputs()
        rest = (bias, scale, self.src, self.dst, *self.weights, *frame.blocks)
        return SO2EdgeSum.apply(self.plan, self.n, x, frame.direction, *rest)


@pytest.fixture(params=[1, 1 << 40], ids=["small chunks", "one chunk"])
def sizes(request, monkeypatch):
    monkeypatch.setattr(so2_chunks, "LEAST_EDGES", 5)
    monkeypatch.setattr(so2_chunks, "CACHE_BYTES", request.param)
    monkeypatch.setattr("intertwine.so3.so2_edge_sum.CHUNK_BYTES_ELSEWHERE", request.param)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equal_to_ordinary_operations(case, sizes, generator):
    case = Case(generator, *case)
    found = []
    for run in (case.plain, case.fused):
        y = run()
        h = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view_as(y)
        first = torch.autograd.grad(y, case.leaves, h, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), case.leaves, allow_unused=True)
        found.append((y, *first, *second))
    for ours, theirs in zip(*found):
        assert_close(ours, theirs, **EXACT)


def test_derivative_by_the_features_alone(sizes, generator):
    case = Case(generator, *CASES[1])
    case.leaves = case.leaves[:1]
    assert_close(
        torch.autograd.grad(case.fused().sum(), case.leaves), torch.autograd.grad(case.plain().sum(), case.leaves)
    )


def test_transforms(generator):
    case = Case(generator, *CASES[1])
    x, frame, bias, scale = (t.detach() if isinstance(t, torch.Tensor) else t for t in case.inputs())

    def run(x, r):
        rest = (bias, scale, case.src, case.dst, *case.weights, *frame.blocks)
        return SO2EdgeSum.apply(case.plan, case.n, x, r, *rest)

    xs = torch.stack([x, 2 * x])
    both = torch.vmap(run, (0, None))(xs, frame.direction.detach())
    assert_close(both, torch.stack([run(x, frame.direction) for x in xs]), **EXACT)
    r = frame.direction.detach()
    slope = torch.func.grad(lambda r: run(x, r).square().sum())(r)
    leaf = r.clone().requires_grad_()
    assert_close(slope, torch.autograd.grad(run(x, leaf).square().sum(), leaf)[0], **EXACT)


class Largest(TorchDispatchMode):
    """The most numbers in one tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for t in out if isinstance(out, tuple | list) else (out,):
            if isinstance(t, torch.Tensor):
                self.numel = max(self.numel, t.numel())
        return out


def test_messages_of_all_edges_never_exist(generator):
    edges, nodes, channels, lmax = 20_000, 100, 8, 3
    layer = SO2EdgeConv(lmax, lmax, channels, channels, generator=generator)
    x = torch.randn(nodes, 16, channels, generator=generator).requires_grad_()
    r = torch.randn(edges, 3, generator=generator).requires_grad_()
    src, dst = (torch.randint(nodes, (edges,), generator=generator) for _ in range(2))
    frame = EdgeFrame.from_vectors(r, lmax)
    assert frame.blocks  # made once for all layers, and no message
    with Largest() as largest:
        torch.autograd.grad(layer(x, frame, src, dst).sum(), [x, *layer.parameters()])
    assert largest.numel < edges * 16 * channels / 2
