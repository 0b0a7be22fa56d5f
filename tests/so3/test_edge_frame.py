"""Edge frames: the right turn, and right derivatives everywhere although no frame is continuous."""

import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3 import EdgeFrame
from intertwine.so3.frame_blocks import column_orders

EXACT = {"atol": 1e-13, "rtol": 0.0}
POLES = [[0.0, 2.0, 0.0], [0.0, -0.5, 0.0], [1e-9, 1.0, 0.0], [0.0, -1.0, 1e-9], [0.3, -0.4, 0.5]]


@pytest.fixture
def vectors(generator):
    return torch.cat([torch.tensor(POLES, dtype=torch.float64), torch.randn(4, 3, generator=generator).double()])


def draw(generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def wave(frame: EdgeFrame, x: torch.Tensor, weights) -> torch.Tensor:
    """A map that commutes with turns about the edge, nonlinear so that second derivatives are not zero."""
    y = frame.into(x)
    out = [y[0].tanh() @ weights[0]]
    for m, part in enumerate(y[1:], 1):
        real, imaginary = part @ weights[m], part.flip(1) * part.new_tensor([[[-1.0]], [[1.0]]])
        out.append(real * (1 + part.square().sum(1, keepdim=True)) + imaginary @ weights[0])
    return frame.out_of(tuple(out))


@pytest.mark.parametrize("lmax", [0, 1, 2, 6, 11])
def test_the_polar_axis_goes_to_the_edge(lmax, vectors):
    frame = EdgeFrame.from_vectors(vectors, lmax)
    Y = so3.spherical_harmonics(vectors, lmax)[:, :, None]
    zero, *rest = frame.into(Y)
    root = torch.sqrt(2 * torch.arange(lmax + 1, dtype=torch.float64) + 1)
    assert_close(zero[:, :, 0], root.expand(len(vectors), -1), **EXACT)
    for part in rest:
        assert_close(part, torch.zeros_like(part), **EXACT)


@pytest.mark.parametrize("lmax", [1, 3, 10])
def test_blocks_are_wigner_matrices(lmax, vectors):
    frame = EdgeFrame.from_vectors(vectors, lmax)
    R = frame.blocks[1][:, :, [2, 0, 1]]  # columns 0, +1, -1: y, z, x
    assert_close(R.mT @ R, torch.eye(3, dtype=torch.float64).expand_as(R), **EXACT)
    for l, D in enumerate(frame.blocks):
        order = [l + m for m in column_orders(l)]
        assert_close(D, so3.wigner_D(l, R)[:, :, order], **EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lmax", [1, 2, 5])
def test_edges_next_to_the_pole_have_whole_frames(lmax, dtype):
    """Down to numbers that have lost their digits."""
    info = torch.finfo(dtype)
    least = info.tiny * info.eps
    near = [
        (0, 0),
        (0, -0.0),
        (least, least),
        (0, -least),
        (0, -info.tiny),
        (info.tiny / 2, -info.tiny),
        (1e-30, -1e-30),
    ]
    vectors = torch.tensor([[x, y, z] for x, z in near for y in (1.0, -1.0)], dtype=dtype)
    frame = EdgeFrame.from_vectors(vectors, lmax)
    for D in frame.blocks:
        assert_close(D.mT @ D, torch.eye(D.shape[2], dtype=dtype).expand_as(D), atol=30 * info.eps, rtol=0)
    assert_close(frame.blocks[1][:, :, 0], frame.direction, atol=2 * info.eps, rtol=0)


def test_many_edges_at_once_have_the_frames_of_each(generator):
    """They are made by chunks on the CPU."""
    many = draw(generator, 3000, 3)
    for lmax in (2, 3):
        whole, part = (EdgeFrame.from_vectors(r, lmax).blocks for r in (many, many[2500:2510]))
        for all_edges, few in zip(whole, part):
            assert_close(all_edges[2500:2510], few, **EXACT)
        torch.func.grad(lambda r, l=lmax: EdgeFrame.from_vectors(r, l).blocks[l].sum() + r.sum())(many)


@pytest.mark.parametrize("mmax", [0, 1, 3])
def test_truncation_keeps_rows_of_the_whole(mmax, vectors, generator):
    x = draw(generator, len(vectors), 16, 2)
    whole = EdgeFrame.from_vectors(vectors, 3)
    part = EdgeFrame.from_vectors(vectors, 3, mmax)
    for few, all_orders in zip(part.into(x), whole.into(x)):
        assert_close(few, all_orders, **EXACT)
    lower = whole.truncated(2, mmax)
    for few, all_orders in zip(lower.into(x[:, :9]), EdgeFrame.from_vectors(vectors, 2, min(2, mmax)).into(x[:, :9])):
        assert_close(few, all_orders, **EXACT)


def test_roll_turns_the_frame_about_its_edge(vectors, generator):
    angles = draw(generator, len(vectors))
    rolled = EdgeFrame.from_vectors(vectors, 4, 3, roll=angles)
    R = EdgeFrame.from_vectors(vectors, 1).blocks[1][:, :, [2, 0, 1]]
    turn = so3.axis_angle_to_matrix(angles.new_tensor([0.0, 1.0, 0.0]).expand(len(angles), 3), angles)
    for l, D in enumerate(rolled.blocks):
        order = [l + m for m in column_orders(min(l, 3))]
        assert_close(D, so3.wigner_D(l, R @ turn)[:, :, order], **EXACT)
    x, weights = draw(generator, len(vectors), 25, 2), [draw(generator, 2, 2) for _ in range(4)]
    assert_close(wave(rolled, x, weights), wave(EdgeFrame.from_vectors(vectors, 4, 3), x, weights), atol=1e-12, rtol=0)
    conv = so3.SO2EdgeConv(4, 4, 2, 2, mmax=3).double()
    src, dst = torch.randint(5, (2, len(vectors)), generator=generator)
    x = draw(generator, 5, 25, 2)
    found = [conv(x, EdgeFrame.from_vectors(vectors, 4, 3, roll=r), src, dst) for r in (None, angles)]
    assert_close(*found, atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match=r"9 edges need as many angles in roll, got \(3,\)"):
        EdgeFrame.from_vectors(vectors, 2, roll=angles[:3])


def test_back_and_forth(vectors, generator):
    x = draw(generator, len(vectors), 25, 3)
    frame = EdgeFrame.from_vectors(vectors, 4)
    assert_close(frame.out_of(frame.into(x)), x, **EXACT)


def test_first_and_second_derivatives_at_every_direction(generator):
    weights = [0.5 * draw(generator, 2, 2) for _ in range(3)]
    for pole in POLES:
        r = torch.tensor([pole], dtype=torch.float64, requires_grad=True)
        x = draw(generator, 1, 9, 2).requires_grad_()

        def layer(r, x):
            return wave(EdgeFrame.from_vectors(r, 2), x, weights)

        assert torch.autograd.gradcheck(layer, (r, x))
        assert torch.autograd.gradgradcheck(layer, (r, x))


def test_the_roll_of_the_frame_does_not_matter(vectors, generator):
    weights = [0.5 * draw(generator, 2, 2) for _ in range(4)]
    x = draw(generator, len(vectors), 16, 2)
    frame = EdgeFrame.from_vectors(vectors, 3)
    angle = draw(generator, len(vectors))
    rolled = []
    for l, D in enumerate(frame.blocks):
        zero = torch.zeros_like(angle)
        order = [l + m for m in column_orders(l)]
        roll = so3.wigner_D(l, so3.angles_to_matrix(angle, zero, zero))[:, order][:, :, order]
        rolled.append(D @ roll)
    other = EdgeFrame(frame.direction, tuple(rolled), 3, 3)
    assert_close(wave(other, x, weights), wave(frame, x, weights), atol=1e-12, rtol=0)


@pytest.mark.slow
def test_compiled_derivatives_agree(vectors, generator):
    weights = [0.5 * draw(generator, 2, 2) for _ in range(3)]
    x = draw(generator, len(vectors), 9, 2).requires_grad_()

    def force(r, x):
        return torch.func.grad(lambda r: wave(EdgeFrame.from_vectors(r, 2), x, weights).square().sum())(r)

    compiled = torch.compile(force, fullgraph=True, backend="aot_eager")
    for run in (force, compiled):
        r = vectors.clone().requires_grad_()
        f = run(r, x)
        second = torch.autograd.grad(f.square().sum(), (r, x))
        if run is force:
            expected = f, second
    assert_close(f, expected[0], atol=1e-10, rtol=1e-10)
    for ours, theirs in zip(second, expected[1]):
        assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


def test_no_edges():
    frame = EdgeFrame.from_vectors(torch.zeros(0, 3), 2)
    assert frame.out_of(frame.into(torch.zeros(0, 9, 4))).shape == (0, 9, 4)


def test_bad_input():
    with pytest.raises(ValueError, match=r"2 edges have length zero and no direction \(edges 1, 2\)"):
        EdgeFrame.from_vectors(torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]), 2)
    with pytest.raises(ValueError, match=r"mmax must be an integer from 0 to lmax=2, got 3"):
        EdgeFrame.from_vectors(torch.ones(1, 3), 2, 3)
    with pytest.raises(ValueError, match=r"\[edges, 3\], got \(3,\)"):
        EdgeFrame.from_vectors(torch.ones(3), 2)
    frame = EdgeFrame.from_vectors(torch.ones(2, 3), 1)
    with pytest.raises(ValueError, match=r"EdgeFrame.into: expected shape \(2, 4, 'channels'\), got \(2, 9, 1\)"):
        frame.into(torch.ones(2, 9, 1))
    with pytest.raises(ValueError, match=r"out_of: expected orders 0\.\.1 of 2 degrees, got 1 orders"):
        frame.out_of((torch.ones(2, 2, 1),))
