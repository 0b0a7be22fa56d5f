import copy

import pytest
import torch

from intertwine.models.points import FiberBundleConv, KernelBasis, PointConv
from intertwine.nn import full_graph

B, C, K, N = 5, 4, 3, 6


def edges(generator: torch.Generator) -> torch.Tensor:
    return torch.randint(N, (2, 11), generator=generator)


def settled(layer: torch.nn.Module) -> torch.nn.Module:
    """In float64, in evaluation."""
    return layer.double().eval()


@pytest.mark.parametrize("depthwise", [True, False])
def test_point_conv_is_the_sum_over_edges(depthwise, generator):
    conv = settled(PointConv(C, B, depthwise=depthwise, generator=generator))
    torch.nn.init.normal_(conv.bias, generator=generator)
    edge_index, basis = edges(generator), torch.randn(11, B, generator=generator, dtype=torch.float64)
    x = torch.randn(N, C, generator=generator, dtype=torch.float64)
    wanted = conv.bias.expand(N, C).clone()
    for e, (j, i) in enumerate(edge_index.T.tolist()):
        kernel = conv.kernel.weight @ basis[e]
        wanted[i] = wanted[i] + (kernel * x[j] if depthwise else kernel.reshape(C, C) @ x[j])
    assert (conv(x, edge_index, basis) - wanted).abs().max() < 1e-12


@pytest.mark.parametrize("depthwise", [True, False])
@pytest.mark.parametrize("separable", [True, False])
def test_bundle_conv_is_the_sum_over_edges_and_directions(separable, depthwise, generator):
    conv = settled(FiberBundleConv(C, B, depthwise=depthwise, separable=separable, generator=generator))
    torch.nn.init.normal_(conv.bias, generator=generator)
    edge_index = edges(generator)
    shape = (11, K, B) if separable else (11, K, K, B)
    basis = torch.randn(shape, generator=generator, dtype=torch.float64)
    fiber = torch.randn(K, K, B, generator=generator, dtype=torch.float64) if separable else None
    x = torch.randn(N, K, C, generator=generator, dtype=torch.float64)
    wanted = conv.bias.expand(N, K, C).clone()

    def mix(kernel: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return kernel * v if depthwise else kernel.reshape(C, C) @ v

    for o in range(K):
        for p in range(K):
            for e, (j, i) in enumerate(edge_index.T.tolist()):
                if separable:
                    sent = (conv.kernel.weight @ basis[e, p]) * x[j, p]
                    message = mix(conv.fiber_kernel.weight @ fiber[o, p], sent)
                else:
                    message = mix(conv.kernel.weight @ basis[e, o, p], x[j, p])
                wanted[i, o] = wanted[i, o] + message / K
    assert (conv(x, edge_index, basis, fiber) - wanted).abs().max() < 1e-12


def bundle(generator: torch.Generator, nodes: int = N) -> tuple[FiberBundleConv, tuple[torch.Tensor, ...]]:
    edge_index = full_graph(nodes, loops=True)
    data = (
        3 * torch.randn(nodes, K, C, generator=generator),
        edge_index,
        torch.randn(edge_index.shape[1], K, B, generator=generator),
        torch.randn(K, K, B, generator=generator),
    )
    return FiberBundleConv(C, B, generator=generator), data


def test_calibration_happens_once_in_training_and_keeps_the_deviation(generator):
    conv, data = bundle(generator)
    weights = copy.deepcopy([p.detach() for p in conv.parameters()])
    conv.eval()
    plain = conv(*data)
    assert not conv.calibration.calibrated and conv.calibration.scale == 1
    conv.train()
    first = conv(*data)
    assert abs(first.std() / data[0].std() - 1) < 1e-4  # the bias is zero
    assert conv.calibration.calibrated and conv.fiber_calibration.calibrated
    assert abs(plain.std() / data[0].std() - 1) > 0.1
    scales = conv.calibration.scale.clone(), conv.fiber_calibration.scale.clone()
    second = conv(*data)
    conv(7 * data[0], *data[1:])
    assert (conv.calibration.scale, conv.fiber_calibration.scale) == scales
    assert (first - second).abs().max() < 1e-5
    assert torch.equal(conv.eval()(*data), second)
    assert all(torch.equal(a, b) for a, b in zip(weights, conv.parameters()))


def test_edges_in_blocks_are_the_sum_of_all(generator, monkeypatch):
    conv, data = bundle(generator)
    conv.eval()
    whole = conv(*data)
    for block in (1, 40, 100):  # one edge at a time, three, eight
        monkeypatch.setattr("intertwine.models.points.fiber_conv.BLOCK", block)
        assert (conv(*data) - whole).abs().max() < 1e-5


def test_the_batch_that_calibrates_trains_too(generator):
    conv, data = bundle(generator)
    slopes = []
    for _ in range(2):
        conv.zero_grad()
        conv(*data).square().sum().backward()
        slopes.append([p.grad.clone() for p in conv.parameters()])
    assert all((a - b).abs().max() < 1e-4 * b.abs().max() for a, b in zip(*slopes))


def test_a_checkpoint_brings_the_calibration_back(generator):
    conv, data = bundle(generator)
    conv(*data)
    fresh = FiberBundleConv(C, B)
    fresh.load_state_dict(conv.state_dict())
    fresh.train()
    assert torch.equal(fresh(*data), conv(*data))
    assert torch.equal(fresh(7 * data[0], *data[1:]), conv(7 * data[0], *data[1:]))
    # and one from before it was found leaves it to be found
    early = FiberBundleConv(C, B)
    fresh.load_state_dict(early.state_dict())
    assert abs(fresh(*data).std() / data[0].std() - 1) < 1e-4
    names = set(conv.state_dict()) - {name for name, _ in conv.named_parameters()}
    assert names == {
        f"{part}.{name}" for part in ("calibration", "fiber_calibration") for name in ("scale", "calibrated")
    }


def test_batches_that_say_nothing_do_not_calibrate(generator):
    conv, data = bundle(generator)
    none = torch.empty(2, 0, dtype=torch.int64)
    assert (conv(data[0], none, data[2][:0], data[3]) == 0).all()
    assert not conv.calibration.calibrated
    empty, empty_data = bundle(generator, nodes=0)
    assert empty(*empty_data).shape == (0, K, C) and not empty.calibration.calibrated
    silent, data = bundle(generator)
    assert (silent(torch.zeros_like(data[0]), *data[1:]) == 0).all() and silent.calibration.scale == 1


def test_basis_counts_products_in_order(generator):
    for invariants, count in ((2, 14), (3, 39), (1, 3)):
        assert KernelBasis(invariants, 6, 7).first.in_features == count
    basis = KernelBasis(2, 6, 7, degree=2, generator=generator).double()
    a, b = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    numbers = torch.stack([a, b, a * a, a * b, b * a, b * b], -1)
    gelu = torch.nn.functional.gelu
    assert (basis(torch.stack([a, b], -1)) - gelu(basis.second(gelu(basis.first(numbers))))).abs().max() < 1e-12


def test_bad_input_is_named(generator):
    for make in (lambda: PointConv(0, 4), lambda: FiberBundleConv(4, 0)):
        with pytest.raises(ValueError, match="channels and basis_dim must be at least 1"):
            make()
    with pytest.raises(ValueError, match="sizes and degree must be at least 1"):
        KernelBasis(2, 4, 4, degree=0)
    conv, data = bundle(generator)
    with pytest.raises(ValueError, match="separable=True forward takes a basis of edges and one of pairs"):
        conv(*data[:3])
