"""A published file comes from a local folder or the network, and is never accepted with other bytes."""

import hashlib
import http.server
import threading
from contextlib import contextmanager

import pytest

from intertwine.data import Remote, fetch, published

CONTENT = b"1\nenergy=-1.0\nH 0 0 0\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@contextmanager
def serve(folder):
    """A web server on this machine, one thread, no log."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv("INTERTWINE_DATA", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_file_is_downloaded_once_and_checked(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "h.xyz").write_bytes(CONTENT)
    with serve(tmp_path / "web") as url:
        files = [Remote("set/h.xyz", f"{url}/h.xyz", DIGEST)]
        path = fetch("set/h.xyz", folder=tmp_path / "shelf", files=files)
    assert path == tmp_path / "shelf" / "set" / "h.xyz"
    assert path.read_bytes() == CONTENT
    assert fetch("set/h.xyz", folder=tmp_path / "shelf", files=files) == path  # the server is gone


def test_other_bytes_are_refused_and_leave_nothing(tmp_path):
    (tmp_path / "h.xyz").write_bytes(b"something else")
    with serve(tmp_path) as url, pytest.raises(ValueError, match="hash"):
        fetch("set/h.xyz", folder=tmp_path / "shelf", files=[Remote("set/h.xyz", f"{url}/h.xyz", DIGEST)])
    assert not (tmp_path / "shelf" / "set" / "h.xyz").exists()


def test_no_network_says_where_to_put_the_file(tmp_path):
    files = [Remote("set/h.xyz", "http://127.0.0.1:9/h.xyz", DIGEST)]
    with pytest.raises(OSError, match=r"INTERTWINE_DATA/set/h\.xyz"):
        fetch("set/h.xyz", folder=tmp_path, files=files)


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_local_folder_comes_first(tmp_path, monkeypatch, how):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "h.xyz").write_bytes(CONTENT)
    files = [Remote("set/h.xyz", "http://127.0.0.1:9/h.xyz", DIGEST)]
    monkeypatch.setenv("INTERTWINE_DATA", str(tmp_path if how == "environment" else tmp_path / "nowhere"))
    folder = tmp_path if how == "argument" else None
    assert fetch("set/h.xyz", folder=folder, files=files) == tmp_path / "set" / "h.xyz"


def test_a_local_file_with_other_bytes_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "h.xyz").write_bytes(b"mine")
    with pytest.raises(ValueError, match="not the published"):
        fetch("set/h.xyz", folder=tmp_path, files=[Remote("set/h.xyz", "http://127.0.0.1:9/h.xyz", DIGEST)])


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"acac/train_300K\.xyz"):
        fetch("acac")


def test_the_table_holds_full_digests_and_pinned_addresses():
    for file in published():
        assert len(bytes.fromhex(file.sha256)) == 32
        assert "/29e6d467317e4b5967b7ea5cbee54de953fa0d45/" in file.url
        assert file.url.endswith(file.name)


@pytest.mark.parametrize("name", ["acac/train_300K.xyz", "acac/test_MD_300K.xyz", "ethanol/train.xyz"])
def test_the_files_here_are_the_published_ones(data_dir, name):
    if not (data_dir / name).is_file():
        pytest.skip(f"no {name} here")
    assert fetch(name, folder=data_dir) == data_dir / name
