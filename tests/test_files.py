"""A file is replaced whole or left as it was."""

import os
import stat

import pytest

from intertwine.files import replacing, write_atomically


def test_writes_bytes_and_text_and_makes_folders(tmp_path):
    path = tmp_path / "deep" / "er" / "file"
    write_atomically(path, "µ")
    assert path.read_bytes() == "µ".encode()
    write_atomically(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert os.listdir(path.parent) == ["file"]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "kept"
    write_atomically(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["kept"]


def test_the_mode_is_that_of_an_ordinary_file(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    write_atomically(tmp_path / "atomic", "")
    assert stat.S_IMODE((tmp_path / "atomic").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
