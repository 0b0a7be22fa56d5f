"""Writes docs/systems.md, the table of what was reproduced, from docs/results/*.json (`--check` only compares)."""

import json
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "systems.md"
HEAD = """# What was reproduced

Each row is an experiment of a paper, run in full by `make claims NAME=…` on the machine it names, and in a short form
by `make test`. The numbers are ours and theirs; where the setting differs, the row says so. The files behind the rows
are in `docs/results/`.

| system | what was reproduced | ours | theirs | seconds | commit | seed |
|---|---|---|---|---|---|---|
"""


def row(result: dict) -> str:
    """One result as a row of the table."""
    paper = f"arXiv:{result['arxiv']}"
    cells = (
        f"[{result['system']}][{result['symbol']}] ({paper})",
        result["statement"] + ("" if result["holds"] else " **Not reproduced.**"),
        result["ours"],
        result["theirs"],
        f"{result['seconds']:.0f} ({result['machine']})",
        f"`{result['commit']}`",
        str(result["seed"]),
    )
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n"


def page() -> str:
    """The whole page; rows in the order of their file names."""
    results = [json.loads(path.read_text()) for path in sorted((DOCS / "results").glob("*.json"))]
    return HEAD + "".join(row(result) for result in results)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if PAGE.read_text() == page() else "docs/systems.md is out of date: run `make systems`")
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(DOCS.parent)}")
