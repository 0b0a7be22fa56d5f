"""What a paper claims, as a value: one experiment, its short and its full size, and the rule that decides."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"

Numbers = dict[str, float]


@dataclass(frozen=True)
class Claim:
    """One experiment of one paper.

    `experiment(seed=..., **size)` returns named numbers; `holds(numbers)` decides; `ours(numbers)` says them in words.
    `short` and `full` are the two sizes: arguments of the experiment.
    """

    name: str
    system: str
    symbol: str  # where the API reference explains the system, e.g. intertwine.models.atoms.NequIP
    arxiv: str
    statement: str
    theirs: str
    experiment: Callable[..., Numbers]
    holds: Callable[[Numbers], bool]
    ours: Callable[[Numbers], str]
    short: Mapping[str, Any] = field(default_factory=dict)
    full: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def record(self, numbers: Numbers, seconds: float) -> dict[str, Any]:
        """What goes into docs/results: the numbers and everything needed to get them again, and nothing of the disk."""
        return {
            "name": self.name,
            "system": self.system,
            "symbol": self.symbol,
            "arxiv": self.arxiv,
            "statement": self.statement,
            "ours": self.ours(numbers),
            "theirs": self.theirs,
            "holds": bool(self.holds(numbers)),
            "numbers": numbers,
            "size": dict(self.full),
            "seed": self.seed,
            "seconds": round(seconds, 1),
            "commit": commit(),
            "versions": versions(),
            "machine": machine(),
        }

    def write(self, numbers: Numbers, seconds: float) -> Path:
        """Write docs/results/<name>.json; the old file stays whole until the new one is."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        partial = path.with_suffix(".tmp")
        partial.write_text(json.dumps(self.record(numbers, seconds), indent=2, ensure_ascii=False) + "\n")
        partial.replace(path)
        return path

    def run(self, size: Mapping[str, Any]) -> tuple[Numbers, float]:
        """The numbers, and the seconds they took: of training too where an experiment found its run finished."""
        start = time.perf_counter()
        numbers = self.experiment(seed=self.seed, **size)
        return numbers, max(time.perf_counter() - start, numbers.get("training_seconds", 0.0))


def data_folder(name: str) -> Path | None:
    """A folder of the real data, or None: $INTERTWINE_DATA, else `shared/data` beside the checkout."""
    named = os.environ.get("INTERTWINE_DATA")
    folder = (Path(named) if named else ROOT.parent / "shared" / "data") / name
    return folder if folder.is_dir() else None


def commit() -> str:
    """The commit the code is at, marked where the package or the claim has changes that are not in it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "src", "tests/claims")
    return git("rev-parse", "--short=10", "HEAD") + ("+changes" if changed else "")


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    import numpy
    import torch

    import intertwine

    return {
        "python": platform.python_version(),
        "intertwine": intertwine.__version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def machine() -> str:
    """The class of machine, not its name: processor family, cores, accelerator."""
    import torch

    accelerator = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {os.cpu_count()} cores, {accelerator}"


def main(claims: Mapping[str, Claim], words: list[str]) -> int:
    """Run one claim in full and write its result; without a name, list them."""
    if not words:
        for name, claim in sorted(claims.items()):
            print(f"{name:12} {claim.system} (arXiv:{claim.arxiv}): {claim.statement}")
        print("\nrun one in full: make claims NAME=" + (min(claims) if claims else "..."))
        return 0
    name = words[0]
    if name not in claims:
        print(f"there is no claim {name!r}; there are: {', '.join(sorted(claims))}", file=sys.stderr)
        return 2
    claim = claims[name]
    print(f"{claim.system} (arXiv:{claim.arxiv}): {claim.statement}", flush=True)
    numbers, seconds = claim.run(claim.full)
    path = claim.write(numbers, seconds)
    print(
        f"ours:   {claim.ours(numbers)}\ntheirs: {claim.theirs}\n{seconds:.0f} s, written to {path.relative_to(ROOT)}"
    )
    if not claim.holds(numbers):
        print("the claim does not hold with these numbers", file=sys.stderr)
        return 1
    return 0
