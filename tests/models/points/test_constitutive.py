"""Stress laws turn with the body, and a law with energy is its slope."""

import pytest
import torch

from intertwine.audit import assert_equivariant
from intertwine.maps import Cartesian
from intertwine.models.points import Constitutive


@pytest.mark.parametrize("energy", [True, False])
def test_stress(energy, generator):
    model = Constitutive((Cartesian(2, symmetric=True),), energy, degree=3, hidden=(8,), generator=generator).double()
    F = torch.eye(3, dtype=torch.float64) + 0.3 * torch.randn(3, 3, 3, generator=generator, dtype=torch.float64)
    C, a = F.mT @ F, torch.randn(3, 3, generator=generator, dtype=torch.float64)
    A = a[:, :, None] * a[:, None]
    assert_equivariant(model, data=(C, A), steps=2, generator=generator)
    S = model(C, A)
    assert torch.equal(S, S.mT)
    if energy:
        D = torch.randn(3, 3, 3, generator=generator, dtype=torch.float64)
        D = (D + D.mT) * 1e-6
        slope = model.energy(C + D, A) - model.energy(C - D, A)
        assert torch.allclose(slope, (S * D).sum((-1, -2)), atol=1e-12)
    else:
        with pytest.raises(ValueError, match="no energy"):
            model.energy(C, A)
    with pytest.raises(ValueError, match="structural"):
        model(C)
