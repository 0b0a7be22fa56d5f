"""A document is a test: every code block of the README and of docs/ runs, and every command it shows exists."""

import doctest
import importlib
import json
import pkgutil
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml

import intertwine
from intertwine.cli import TRAINING, main, parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, and the line of the page where the text begins."""

    page: Path
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order; a fence may be indented, as in a list or a tab."""
    found, opened = [], None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.match(r"\s*(`{3,})\s*([\w-]*)", line)
        if opened is None and fence:
            opened = (fence[1], fence[2], number + 1, [])
        elif opened and fence and fence[1] == opened[0] and not fence[2]:
            found.append(Block(page, opened[1], textwrap.dedent("\n".join(opened[3])) + "\n", opened[2]))
            opened = None
        elif opened:
            opened[3].append(line)
    assert opened is None, f"{page}: the fence on line {opened[2] - 1} is never closed"
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]
with_python = [page for page in PAGES if any(b.page == page and b.language in ("python", "pycon") for b in BLOCKS)]


@pytest.mark.parametrize("page", with_python, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run_in_the_order_of_the_page(page, tmp_path, monkeypatch):
    """One namespace per page, an empty folder to write in, and tracebacks that point at the line of the page."""
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "__main__"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in blocks(page):
            if block.language == "python":
                exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), space)
            elif block.language == "pycon":
                examples(block.text, space, str(block))


def examples(text: str, space: dict, name: str) -> None:
    """Run `>>>` lines and compare what they print."""
    test = doctest.DocTestParser().get_doctest(text, space, name, name, 0)
    runner, said = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE), []
    runner.run(test, out=said.append, clear_globs=False)
    space.update(test.globs)
    assert not runner.failures, f"{name}\n{''.join(said)}"


def test_every_other_block_is_read():
    """YAML, TOML and JSON parse; a block without a language is a block that nobody checks."""
    readers = {"yaml": yaml.safe_load, "toml": tomllib.loads, "json": json.loads}
    for block in BLOCKS:
        if block.language in readers:
            try:
                readers[block.language](block.text)
            except Exception as error:
                raise AssertionError(f"{block}: {error}") from error
        else:
            known = ("python", "pycon", "bash", "text", "bibtex", "make", "mermaid")
            assert block.language in known, f"{block}: name the language of this block, one of {known}"


def commands() -> list[tuple[Block, list[str]]]:
    """The shell commands of all pages, split into words; comments and what a pipe feeds are left out."""
    found = []
    for block in BLOCKS:
        if block.language == "bash":
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words:
                    found.append((block, words))
    return found


def test_every_command_exists(capsys):
    """Targets of make, extras of pip, and every option of every `intertwine` command that a page shows."""
    targets = set(re.findall(r"^([a-z.]+|\$\(VENV\)):", (ROOT / "Makefile").read_text(), re.M))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    helped = {}
    for block, words in commands():
        match words:
            case ["make", *rest]:
                named = {word for word in rest if "=" not in word}
                assert named <= targets, f"{block}: make has no target {named - targets}"
            case ["intertwine", name, *rest] if not name.startswith("-"):
                if name not in helped:
                    helped[name] = said_by(name, "--help", capsys=capsys)
                flags = {word.split("=")[0] for word in rest if word.startswith("--")}
                known = set(re.findall(r"--[\w.-]+", helped[name]))
                if name == "bench" and rest and (ROOT / "benchmarks" / f"{rest[0]}.py").is_file():
                    files = (ROOT / "benchmarks" / f"{rest[0]}.py", ROOT / "benchmarks" / "harness.py")
                    known |= {flag for file in files for flag in re.findall(r'"(--[\w-]+)"', file.read_text())}
                assert flags <= known, f"{block}: intertwine {name} has no option {flags - known}"
                if name not in TRAINING:
                    parser().parse_args(words[1:])  # exits for what does not fit
            case ["intertwine", "--version" | "--help"]:
                pass
            case ["pip", "install", *rest] | ["python", "-m", "pip", "install", *rest]:
                for extra in re.findall(r"\[(.*?)\]", " ".join(rest)):
                    assert set(extra.split(",")) <= set(extras), f"{block}: no extra {extra}"
            case ["git" | "cd" | "ls" | "python" | "python3" | "pytest" | "torchrun", *_]:
                pass
            case _:
                raise AssertionError(f"{block}: this test does not know the command {words[0]}")


def said_by(*words: str, capsys: pytest.CaptureFixture) -> str:
    """What `intertwine ...` prints; it must end well."""
    try:
        status = main(list(words))
    except SystemExit as end:
        status = end.code
    out, err = capsys.readouterr()
    assert not status, f"intertwine {' '.join(words)}: {err}"
    return out


CHEAP = ("basis", "models", "--version")
shown = {tuple(words[1:]) for _, words in commands() if words[0] == "intertwine" and words[1] in CHEAP}


@pytest.mark.parametrize("words", sorted(shown), ids=" ".join)
def test_cheap_commands_run(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert said_by(*words, capsys=capsys).strip()


def test_the_command_is_installed():
    script = Path(sys.executable).with_name("intertwine")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == f"intertwine {intertwine.__version__}", done.stderr


def test_examples_in_docstrings_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for found in pkgutil.walk_packages(intertwine.__path__, "intertwine."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for test in doctest.DocTestFinder(exclude_empty=True).find(module, found.name):
            if test.examples:
                examples(test.docstring, dict(vars(module)), test.name)


def test_every_page_is_in_the_navigation():
    """A page that nobody can reach is not documentation."""
    text = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES:
        if page.is_relative_to(ROOT / "docs"):
            assert str(page.relative_to(ROOT / "docs")) in text, f"{page.name} is not in mkdocs.yml"


def test_every_public_package_has_a_reference_page():
    texts = [page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md")]
    entries = set(re.findall(r"^::: ([\w.]+)", "\n".join(texts), re.M))
    for path in sorted((ROOT / "src" / "intertwine").rglob("__init__.py")):
        name = ".".join(path.parent.relative_to(ROOT / "src").parts)
        if re.search(r"^from \.\S* import (\w+) as \1", path.read_text(), re.M):
            assert name in entries, f"docs/reference says nothing of {name}"


def test_the_documentation_needs_no_network():
    """No fonts, scripts or styles from elsewhere: the built pages work on a plane."""
    settings = re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text())
    config = yaml.safe_load(settings)
    assert config["theme"]["font"] is False
    assert not any("//" in str(entry) for entry in [*config.get("extra_css", []), *config.get("extra_javascript", [])])


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        prose = re.sub(r"(`{3,}).*?\1|`[^`]*`", "", page.read_text(), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)", prose):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), (
                    f"{page.relative_to(ROOT)} links to {target}, which is not there"
                )
