"""Functions of tensors turn with their inputs, forward and gradient, at any batch."""

import pytest
import torch

from intertwine.audit import assert_equivariant
from intertwine.groups import SO
from intertwine.maps import Cartesian
from intertwine.nn import EquivariantFunction
from intertwine.so3 import Spherical

SYMMETRIC = Cartesian(2, symmetric=True)


@pytest.mark.parametrize("output", [Cartesian(0), SYMMETRIC, Spherical(2), Cartesian(1, parity=1)], ids=str)
def test_equivariant(output, generator):
    inputs = {"C": SYMMETRIC, "x": Spherical(2), "a": Cartesian(1, parity=1)}
    model = EquivariantFunction(inputs, output, 3, (8,), generator=generator).double()
    M = torch.randn(3, 3, 3, generator=generator, dtype=torch.float64)
    x, a = (torch.randn(3, n, generator=generator, dtype=torch.float64) for n in (5, 3))
    data = {"C": M + M.mT, "x": x, "a": a}
    assert_equivariant(model, data=data, steps=2, generator=generator)
    for batch in (0, 1):
        assert model({name: t[:batch] for name, t in data.items()}).shape == (batch, *output.shape)


def test_errors():
    with pytest.raises(ValueError, match="is zero"):
        EquivariantFunction({"a": Cartesian(1)}, Cartesian(0, parity=-1))
    with pytest.raises(ValueError, match="do not matter"):
        EquivariantFunction({"a": Cartesian(1), "x": Spherical(3)}, Cartesian(1), 1, group=SO(3))
