"""The benchmarks still run: a tiny case of each, as a user would start them; peers are compared, or named as absent."""

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["uvu", "harmonics"])
def test_a_small_table(name, repo, tmp_path):
    file = tmp_path / "times.json"
    options = ["--degrees", "1", "2", "--edges", "20", "--repeats", "7", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.so3.{name}", *options],
        capture_output=True,
        text=True,
        cwd=repo,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n| L = ") == 2
    (table,) = json.loads(file.read_text())
    assert [row["size"][:5] for row in table["rows"]] == ["L = 1", "L = 2"]
    for row in table["rows"]:
        assert set(row["ms"]) == {"forward", "forward + backward", "double backward"}
        for times in row["ms"].values():
            assert 0 < times["intertwine"]["minimum"] <= times["intertwine"]["median"]
            for peer in ("e3nn", "cuequivariance"):
                assert peer in times or f"left out: {peer}" in done.stdout
        assert all(difference < 1e-4 for difference in row["error"].values())
    assert "torch" in table["versions"]
