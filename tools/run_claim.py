"""Runs a paper's experiment in full and writes docs/results/<name>.json: `python tools/run_claim.py nequip`."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]  # claims, and the benchmarks that some measure with

import systems  # noqa: E402  (the neighbour of this file)

from claims.claim import Claim, main  # noqa: E402


def load() -> dict[str, Claim]:
    """Every `CLAIM` in tests/claims/test_*.py, by name."""
    found = {}
    for path in sorted((ROOT / "tests" / "claims").glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"claims.{path.stem}", path)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # by name, for processes of its own
        spec.loader.exec_module(module)
        if hasattr(module, "CLAIM"):
            found[module.CLAIM.name] = module.CLAIM
    return found


if __name__ == "__main__":
    status = main(load(), sys.argv[1:])
    if sys.argv[1:] and status != 2:
        systems.PAGE.write_text(systems.page())
    sys.exit(status)
