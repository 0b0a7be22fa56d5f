"""What a run leaves on disk is what it did, and is whole at every moment."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import read

from intertwine.data.atoms import collate, from_ase
from intertwine.interop.trajectory import Trajectory
from intertwine.models.atoms import Verlet
from models.atoms.springs import springs


def motion(count: int) -> Verlet:
    atoms = [Atoms("HO", positions=[[0, 0, 0], [0, 0, 1.1 + 0.1 * i]]) for i in range(count)]
    atoms[-1].set_cell(9 * np.eye(3))
    atoms[-1].pbc = True
    return Verlet(springs(), collate([from_ase(each, cutoff=None) for each in atoms]), timestep=0.5)


def test_frames_hold_what_the_motion_had(tmp_path):
    moving, write = motion(1), Trajectory(tmp_path / "run" / "md.extxyz")
    moving.run(10, every=5, observe=write)
    frames = read(tmp_path / "run" / "md.extxyz", index=":")
    assert [frame.info["step"] for frame in frames] == [0, 5, 10]
    assert [frame.info["time_fs"] for frame in frames] == [0.0, 2.5, 5.0]
    last = frames[-1]
    np.testing.assert_allclose(last.positions, moving.pos.numpy(), rtol=0, atol=1e-8)
    np.testing.assert_allclose(last.get_velocities() * units.fs, moving.velocities.numpy(), rtol=0, atol=1e-8)
    np.testing.assert_allclose(last.get_forces(), moving.forces.numpy(), rtol=0, atol=1e-7)
    assert last.get_potential_energy() == pytest.approx(float(moving.energy), abs=1e-7)
    assert last.info["total_energy"] == pytest.approx(float(moving.total_energy), abs=1e-7)
    assert last.info["temperature"] == pytest.approx(last.get_temperature(), rel=1e-5)
    assert last.pbc.all() and last.cell.lengths().tolist() == [9, 9, 9]


def test_several_structures_get_a_file_each(tmp_path):
    write = Trajectory(tmp_path / "md.extxyz", 2, first=3)
    motion(2).run(1, observe=write)
    assert [path.name for path in write.paths] == ["md-3.extxyz", "md-4.extxyz"]
    assert [len(read(path, index=":")) for path in write.paths] == [2, 2]
    with pytest.raises(ValueError, match="made for 2 structures, the motion has 1"):
        write(motion(1))
