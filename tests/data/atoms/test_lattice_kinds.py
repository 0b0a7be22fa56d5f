"""Named lattices have the struts that books give them; random ones are seeded and hold together."""

import pytest
import torch

from intertwine.data.atoms import homogenize, lattice, random_lattice
from intertwine.data.atoms.lattice_kinds import PROTOTYPES, SHARPEST, spans_space


def valences(one):
    return torch.bincount(one.bars.flatten(), minlength=len(one.pos))


@pytest.mark.parametrize(
    ("name", "joints", "valence"),
    [("sc", 1, 6), ("fcc_octet", 1, 12), ("bcc", 1, 8), ("bcc_sc", 1, 14), ("diamond", 2, 4), ("kelvin", 6, 4)],
)
def test_prototypes(name, joints, valence):
    one = lattice(name, 0.03)
    assert valences(one).tolist() == [valence] * joints
    assert spans_space(one.bars, one.shift, joints)
    assert abs(float(one.relative_density) - 0.03) < 1e-12
    C = homogenize(one)[0]
    cubic = [*(C[i, i] - C[0, 0] for i in (1, 2)), *(C[i, i] - C[3, 3] for i in (4, 5)), C[0, 1] - C[1, 2]]
    assert torch.stack([*cubic, *C[:3, 3:].flatten(), C[3, 4], C[4, 5], C[3, 5]]).abs().max() < 1e-15


def test_a_name_that_is_none():
    with pytest.raises(ValueError, match=f"no 'fcc'; there are {', '.join(PROTOTYPES)}"):
        lattice("fcc")


@pytest.mark.parametrize(("joints", "valence"), [(2, 4), (4, 4), (8, 4), (5, 6), (30, 3)])
def test_random_lattices(joints, valence):
    make = lambda seed: random_lattice(joints, generator=torch.Generator().manual_seed(seed), valence=valence)  # noqa: E731
    one, again, other = make(0), make(0), make(1)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.pos, other.pos)
    assert int(valences(one).min()) >= valence
    n = one.vectors / one.vectors.norm(dim=1, keepdim=True)
    for k in range(joints):
        away = torch.cat([n[one.bars[0] == k], -n[one.bars[1] == k]])
        assert float((away @ away.T).fill_diagonal_(0).max()) <= SHARPEST
    assert float(torch.linalg.eigvalsh(homogenize(one)).min()) > 0


def test_what_hangs_together():
    bars, shift = torch.tensor([[0, 1, 0], [1, 0, 1]]), torch.eye(3)
    assert not spans_space(bars, shift, 2)  # the three struts close to two ways only
    assert not spans_space(torch.tensor([[0, 0, 0], [0, 0, 0]]), shift, 2)  # the second joint hangs on nothing
    assert spans_space(torch.tensor([[0, 0, 0], [0, 0, 0]]), shift, 1)


def test_wrong_sizes(generator):
    for arguments in ({"joints": 1}, {"joints": 4, "valence": 0}, {"joints": 4, "valence": 13}):
        with pytest.raises(ValueError, match="at least two joints and 1 to 12"):
            random_lattice(**arguments, generator=generator)
    with pytest.raises(ValueError, match="between 0 and 1"):
        random_lattice(4, generator=generator, rel_density=2.0)
