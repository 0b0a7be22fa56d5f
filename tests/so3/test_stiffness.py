"""Mandel's matrix is the tensor in an orthonormal basis; Voigt's is not."""

import pytest
import torch

from intertwine.groups import SO, O
from intertwine.so3 import (
    CartesianTensor,
    Mandel,
    directional_modulus,
    from_mandel,
    from_voigt,
    random_rotation,
    to_mandel,
    to_voigt,
)


@pytest.fixture
def C(generator):
    elasticity = CartesianTensor("ijkl=jikl=klij")
    return elasticity.from_irreps(elasticity.irreps.randn(2, 3, generator=generator, dtype=torch.float64))


def test_there_and_back(C):
    assert torch.allclose(from_mandel(to_mandel(C)), C, rtol=1e-15)
    assert torch.equal(from_voigt(to_voigt(C)), C)
    assert torch.allclose(to_mandel(C), to_mandel(C).mT, atol=1e-15)
    assert torch.allclose(to_mandel(C).square().sum((-1, -2)), C.square().sum((-1, -2, -3, -4)))


def test_energy_of_a_strain(C, generator):
    e = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    e = e + e.T
    energy = torch.einsum("...ijkl,ij,kl->...", C, e, e)
    pairs = torch.stack([e[0, 0], e[1, 1], e[2, 2], e[1, 2], e[0, 2], e[0, 1]])
    mandel = pairs * torch.tensor([1.0, 1, 1, 2**0.5, 2**0.5, 2**0.5])
    engineering = pairs * torch.tensor([1.0, 1, 1, 2, 2, 2])
    assert torch.allclose(mandel @ (to_mandel(C) @ mandel[:, None])[..., 0].movedim(-1, 0).flatten(1), energy.flatten())
    assert torch.allclose(torch.einsum("...ab,a,b->...", to_voigt(C), engineering, engineering), energy)


@pytest.mark.parametrize("group", [O(3), SO(3)], ids=str)
def test_turning(group, C, generator):
    for g in (group.sample(1, generator=generator)[0], group.sample(2, generator=generator)):
        turned = torch.einsum(
            "...ai,...bj,...ck,...dl,...ijkl->...abcd", *[g[..., None, :, :] if g.ndim == 3 else g] * 4, C
        )
        assert (Mandel(group)(g, to_mandel(C)) - to_mandel(turned)).abs().max() < 1e-14
    Q = Mandel.matrix(g)
    assert (Q @ Q.mT - torch.eye(6)).abs().max() < 1e-15 * 10
    inverse = torch.linalg.inv(torch.diag(torch.tensor([1.0, 1, 1, 2**0.5, 2**0.5, 2**0.5], dtype=torch.float64)))
    voigt = inverse @ Q @ torch.linalg.inv(inverse)  # what turns stresses written in Voigt's way
    assert (voigt @ voigt.mT - torch.eye(6)).abs().max() > 0.1


def test_stiffness_along_a_direction(C, generator):
    n = torch.nn.functional.normalize(torch.randn(5, 3, generator=generator, dtype=torch.float64))
    c = directional_modulus(C, n)
    assert c.shape == (2, 3, 5)
    assert torch.allclose(
        directional_modulus(C, torch.eye(3, dtype=torch.float64)), C[..., [0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2]]
    )
    R = random_rotation(generator=generator).double()
    turned = torch.einsum("ai,bj,ck,dl,...ijkl->...abcd", R, R, R, R, C)
    assert torch.allclose(directional_modulus(turned, n @ R.T), c)


def test_wrong_shapes():
    for function, shape in ((to_mandel, (3, 3)), (to_voigt, (6, 6)), (from_mandel, (5, 6)), (from_voigt, (3, 3, 3, 3))):
        with pytest.raises(ValueError, match="stiffness"):
            function(torch.zeros(shape))
    with pytest.raises(ValueError, match="last two axes"):
        Mandel(O(3))(torch.eye(3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="batch shape"):
        Mandel(O(3))(torch.eye(3).expand(2, 3, 3), torch.zeros(6, 6))
    with pytest.raises(ValueError, match=r"not O\(2\)"):
        Mandel(O(2))
