"""The stiffness of lattices against closed forms, another way of assembling, and the laws that it must obey."""

from math import pi

import numpy as np
import pytest
import torch

from intertwine.data.atoms import collate_lattices, homogenize, lattice, random_lattice
from intertwine.so3 import to_voigt
from intertwine.so3.stiffness import mandel_basis


def section(one):
    """Area, moment of inertia and length of the first strut."""
    r = float(one.radius[0])
    return pi * r**2, pi * r**4 / 4, float(one.vectors.norm(dim=1)[0])


def voigt(one, **options):
    C = homogenize(one, **options)[0]
    return C[0, 0].item(), C[0, 1].item(), C[3, 3].item() / 2


def test_simple_cubic():
    """Stretching along the edges, bending under shear: C11 = EA/a², C12 = 0, C44 = 6EI/a⁴."""
    one = lattice("sc", 0.02)
    A, I, _ = section(one)
    assert np.allclose(voigt(one, E=7.0), (7 * A, 0, 7 * 6 * I), rtol=1e-12, atol=1e-15)


def test_octet():
    """Pinned: C11 = Eρ/6, C12 = C44 = Eρ/12."""
    assert np.allclose(voigt(lattice("fcc_octet", 0.03), joints="pinned"), (0.005, 0.0025, 0.0025), rtol=1e-12)


def test_kelvin():
    """Young's modulus along the cube: 6√2 EI/L⁴ / (1 + 12 I/AL²) (Zhu, Knott and Mills, 1997)."""
    one = lattice("kelvin", 0.02)
    A, I, L = section(one)
    young = 1 / torch.linalg.inv(homogenize(one)[0])[0, 0].item()
    assert young == pytest.approx(6 * 2**0.5 * I / L**4 / (1 + 12 * I / (A * L**2)), rel=1e-10)


@pytest.mark.parametrize(
    ("name", "mechanisms"), [("sc", 3), ("bcc", 2), ("diamond", 5), ("kelvin", 5), ("fcc_octet", 0), ("bcc_sc", 0)]
)
def test_mechanisms_cost_energy_only_with_rigid_joints(name, mechanisms):
    pinned, rigid = (torch.linalg.eigvalsh(homogenize(lattice(name), joints=j)[0]) for j in ("pinned", "rigid"))
    assert int((pinned.abs() < 1e-12 * pinned.max()).sum()) == mechanisms
    assert float(rigid.min()) > 1e-4 * float(rigid.max())
    assert bool((rigid - pinned > -1e-15).all())


def textbook(one, nu):
    """The same by the 12 x 12 matrix of a beam along x, turned and assembled; the null motions by a pseudo-inverse."""
    joints, bars, shift = len(one.pos), one.bars.T.tolist(), one.vectors.numpy()
    size = 6 * joints
    H = np.zeros((size + 6, size + 6))
    for (i, j), r, radius in zip(bars, shift, one.radius.tolist(), strict=True):
        L, A, I = np.linalg.norm(r), pi * radius**2, pi * radius**4 / 4
        k = np.zeros((12, 12))
        for p, value in ((0, A / L), (3, I / (1 + nu) / L)):
            k[np.ix_([p, p + 6], [p, p + 6])] = value * np.array([[1, -1], [-1, 1]])
        bend = I / L**3 * np.array([[12, 6 * L, -12, 6 * L], [6 * L, 4 * L**2, -6 * L, 2 * L**2]] * 2)
        bend[2] = -bend[0]
        bend[3, 1], bend[3, 3] = 2 * I / L, 4 * I / L
        for places, turn in (([1, 5, 7, 11], 1), ([2, 4, 8, 10], -1)):
            signs = np.array([1, turn, 1, turn])
            k[np.ix_(places, places)] += bend * signs[:, None] * signs
        x = r / L
        y = np.cross(x, np.eye(3)[np.abs(x).argmin()])
        y /= np.linalg.norm(y)
        T = np.kron(np.eye(4), np.stack([x, y, np.cross(x, y)]))
        B = np.zeros((12, size + 6))
        B[:6, 6 * i : 6 * i + 6] += np.eye(6)
        B[6:, 6 * j : 6 * j + 6] += np.eye(6)
        B[6:9, size:] = (mandel_basis() @ r).T
        H += B.T @ T.T @ k @ T @ B
    K, F, W = H[:size, :size], H[:size, size:], H[size:, size:]
    return (W - F.T @ np.linalg.pinv(K, rcond=1e-13) @ F) / float(one.volume)


@pytest.mark.parametrize("nu", [0.0, 0.3])
def test_another_way_of_assembling(nu, generator):
    one = random_lattice(5, generator=generator, rel_density=0.05)
    one = one._replace(radius=one.radius * torch.linspace(0.8, 1.2, len(one.radius), dtype=torch.float64))
    C, other = homogenize(one, nu=nu)[0].numpy(), textbook(one, nu)
    assert np.abs(C - other).max() < 1e-10 * np.abs(C).max()


def test_symmetric_definite_and_linear_in_the_modulus(generator):
    lattices = collate_lattices([random_lattice(k, generator=generator) for k in (2, 4, 8)])
    C = homogenize(lattices)
    assert C.dtype == torch.float64 and torch.equal(C, C.mT)
    assert float(torch.linalg.eigvalsh(C).min()) > 0
    assert torch.allclose(homogenize(lattices, E=70.0), 70 * C, rtol=1e-14)
    assert torch.equal(homogenize(lattices.split()[1])[0], C[1])
    softer = C - homogenize(lattices, nu=0.5)  # struts that twist more easily
    assert float(torch.linalg.eigvalsh(softer).min()) > -1e-12 * float(C.max()) and float(softer.max()) > 0


def test_scaling_laws():
    """Stretching gives stiffness like the density, bending like its square; the unit of length does not matter."""

    def exponent(name, entry, joints="rigid"):
        thin, thick = (homogenize(lattice(name, d), joints=joints)[0] for d in (1e-4, 2e-4))
        return float(torch.log2(entry(thick) / entry(thin)))

    young = lambda C: 1 / torch.linalg.inv(C)[0, 0]  # noqa: E731
    assert exponent("fcc_octet", young) == pytest.approx(1, abs=1e-3)
    assert exponent("fcc_octet", young, "pinned") == pytest.approx(1, abs=1e-9)
    assert exponent("diamond", young) == pytest.approx(2, abs=1e-3)
    assert exponent("kelvin", young) == pytest.approx(2, abs=1e-3)
    assert exponent("sc", lambda C: C[3, 3]) == pytest.approx(2, abs=1e-9)
    one = lattice("kelvin")
    large = one._replace(pos=1e3 * one.pos, cell=1e3 * one.cell, radius=1e3 * one.radius)
    assert torch.allclose(homogenize(large), homogenize(one), rtol=1e-9, atol=1e-15)


def test_a_strut_in_two_pieces_is_the_same_strut(generator):
    one = random_lattice(4, generator=generator)
    two = one.with_joint(3)
    assert len(two.pos) == 5 and two.bars.shape[1] == one.bars.shape[1] + 1
    with pytest.raises(ValueError, match="one lattice, not 2"):
        collate_lattices([one, one]).with_joint(0)
    C = homogenize(one)
    assert (homogenize(two) - C).abs().max() < 1e-11 * C.abs().max()


def test_voigt_matrix_of_an_isotropic_solid():
    """λ = 2, μ = 1 in engineering notation: 4, 2 and 1."""
    d = torch.eye(3)
    C = 2 * torch.einsum("ij,kl->ijkl", d, d)
    C = C + torch.einsum("ik,jl->ijkl", d, d) + torch.einsum("il,jk->ijkl", d, d)
    expected = torch.diag(torch.tensor([2.0, 2, 2, 1, 1, 1]))
    expected[:3, :3] += 2
    assert torch.equal(to_voigt(C), expected)


def test_wrong_arguments():
    one = lattice("sc")
    for arguments, message in (
        ({"joints": "glued"}, "'rigid' or 'pinned'"),
        ({"E": 0.0}, "E must be positive"),
        ({"nu": 0.6}, "nu between"),
    ):
        with pytest.raises(ValueError, match=message):
            homogenize(one, **arguments)
    with pytest.raises(ValueError, match="both > 0"):
        homogenize(one._replace(shift=0 * one.shift))
    with pytest.raises(ValueError, match="both > 0"):
        homogenize(one._replace(cell=one.cell * torch.tensor([1.0, 1.0, 0.0])[:, None]))
