"""Puts the table of a demo run into docs/demo.md: `python tools/demo_table.py runs/demo`."""

import json
import re
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "demo.md"
BLOCK = re.compile(r"(<!-- begin table -->\n).*(<!-- end table -->)", re.S)


def block(results: dict) -> str:
    """The table of errors and the facts below it, as Markdown."""
    header, *rows = results["table"]
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)], *rows]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"\n{table}\n" + "".join(f"- {fact}\n" for fact in results["facts"]) + "\n"


if __name__ == "__main__":
    results = json.loads((Path(sys.argv[1]) / "results.json").read_text())
    PAGE.write_text(BLOCK.sub(lambda found: found[1] + block(results) + found[2], PAGE.read_text()))
