"""What a user installs: the wheel is whole, the pins cover everything, and one version number is told everywhere."""

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import intertwine

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    found = {}
    for line in filter(None, lines):
        name, _, pinned = line.partition("==")
        assert canonicalize_name(name) not in found, f"constraints.txt pins {name} twice"
        found[canonicalize_name(name)] = pinned
    return found


EXTRAS = ("atoms", "train", "report", "explain", "xtb", "dft", "lmdb", "bench", "docs", "dev")


def asked(extras: tuple[str, ...] = EXTRAS) -> list[Requirement]:
    listed = [*PROJECT["dependencies"], *(r for extra in extras for r in PROJECT["optional-dependencies"][extra])]
    return [Requirement(requirement) for requirement in listed]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1]
    assert intertwine.__version__ == citation["version"] == newest
    assert PROJECT["license"] == citation["license"] == "MIT"


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    ours = {str(path.relative_to(source)) for path in (source / "intertwine").rglob("*.py")}
    assert ours | {"intertwine/py.typed"} <= names
    assert all(name.startswith(("intertwine/", "intertwine-")) for name in names)
    assert not any("__pycache__" in name for name in names)


def test_the_wheel_tells_what_it_needs(wheel):
    archive = zipfile.ZipFile(wheel)
    named = {name.split("/")[-1]: name for name in archive.namelist() if ".dist-info/" in name}
    told = email.message_from_bytes(archive.read(named["METADATA"]))
    assert told["Version"] == intertwine.__version__
    assert told["Requires-Python"] == ">=3.11"
    core = {Requirement(r).name for r in told.get_all("Requires-Dist") if "extra ==" not in r}
    assert core == {"torch", "numpy", "scipy", "jaxtyping"}
    assert set(told.get_all("Provides-Extra")) == {*EXTRAS, "all"}
    assert "intertwine = intertwine.cli:main" in archive.read(named["entry_points.txt"]).decode()
    assert "LICENSE" in named


def test_the_wheel_works_where_the_sources_are_not(wheel, tmp_path):
    """The whole package is imported from the unpacked wheel, from an empty folder."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = f"""
import pkgutil, sys
sys.path.insert(0, {str(tmp_path / "site")!r})
import intertwine
assert intertwine.__file__.startswith({str(tmp_path)!r}), intertwine.__file__
for found in pkgutil.walk_packages(intertwine.__path__, "intertwine."):
    if not found.name.endswith("__main__"):
        __import__(found.name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_every_pin_satisfies_what_the_package_asks():
    pinned = pins()
    assert pinned["torch"] == "2.13.0", "a local version such as +cpu cannot be installed everywhere"
    for requirement in asked():
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"constraints.txt does not pin {name}"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} against the pin {pinned[name]}"


def test_everything_that_gets_installed_is_pinned():
    """Follow the requirements of what is installed here; CUDA's own libraries come with torch's version."""
    pinned, missing = pins(), set()
    todo, seen = [(r.name, tuple(sorted(r.extras))) for r in asked()], set()
    while todo:
        name, extras = todo.pop()
        if (canonicalize_name(name), extras) in seen:
            continue
        seen.add((canonicalize_name(name), extras))
        try:
            needs = requires(name) or []
        except PackageNotFoundError:
            continue
        if canonicalize_name(name) not in pinned and not name.startswith(("nvidia-", "triton", "cuda-")):
            missing.add(f"{canonicalize_name(name)}=={version(name)}")
        for requirement in map(Requirement, needs):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                todo.append((requirement.name, tuple(sorted(requirement.extras))))
    assert not missing, f"not in constraints.txt: {sorted(missing)}"


def test_the_pins_name_no_host_and_no_hash():
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text and "--" not in re.sub(r"^#.*$", "", text, flags=re.M)


def test_no_file_names_a_folder_of_one_machine():
    """Committed text holds no absolute path of a home or a work folder."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if listed.returncode:
        pytest.skip("not a git checkout")
    private = re.compile(r"(?<![\w./-])/(?:root|home|Users|work|opt|mnt)/\w")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".cff", ""):
            found = private.search(path.read_text(errors="ignore"))
            assert not found, f"{name} names a folder of one machine: {found[0]}"
