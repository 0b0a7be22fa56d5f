"""Training and inference of MACE and NequIP, against mace-torch and nequip in their own environments.

    python -m benchmarks.atoms.throughput --data DIR/acac --mace-python ENV/bin/python --nequip-python ENV/bin/python

On acetylacetone, ten structures of 15 atoms a step; with `--copper` on one periodic box of 500 atoms, 21,000 edges.

The environments: pip install torch==2.13.0 mace-torch==0.3.16, and pip install torch==2.13.0 nequip==0.19.1.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.harness import machine, versions

ROWS = {
    "MACE": [("32", 32, 1), ("64", 64, 1), ("128", 128, 1)],
    "NequIP": [("32", 32, 1), ("64", 64, 1), ("32, L = 2", 32, 2)],
}
FILE = "train_300K.xyz"
PEER = {"MACE": "mace-torch", "NequIP": "nequip"}


class Worker:
    """A process that holds one library's model and times it when told to."""

    def __init__(self, python: str, library: str, channels: int, degree: int, options: argparse.Namespace):
        command = [
            python,
            str(Path(__file__).with_name("worker.py")),
            library,
            "copper" if options.copper else str(options.data / FILE),
        ]
        command += ["--channels", str(channels), "--degree", str(degree), "--frames", str(frames(options))]
        command += ["--threads", str(options.threads)] + ["--compiled"] * (options.compiled and "intertwine" in library)
        environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.about = self._answer()
        self.peak = 0.0

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self.process.args)} ended; run it by hand to see why")
        return json.loads(line)

    def times(self, what: str, count: int) -> list[float]:
        """Milliseconds of `count` calls."""
        self.process.stdin.write(f"{what} {count}\n")
        self.process.stdin.flush()
        answer = self._answer()
        if what == "train":
            self.peak = answer["peak"]
        return answer["ms"]

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def frames(options: argparse.Namespace) -> int:
    """Structures in a step."""
    return options.frames or (1 if options.copper else 10)


def row(network: str, label: str, channels: int, degree: int, python: str | None, options: argparse.Namespace) -> dict:
    """Times of ours and the peer, in turn, and their memory."""
    workers = {"intertwine": Worker(sys.executable, f"intertwine {network}", channels, degree, options)}
    if python:
        workers[PEER[network]] = Worker(python, PEER[network], channels, degree, options)
    found: dict = {"network": network, "channels": label, "ms": {}, "parameters": {}, "MiB": {}}
    for what in ("train", "infer"):
        times: dict[str, list[float]] = {name: [] for name in workers}
        for worker in workers.values():
            worker.times(what, 2)
        for _ in range(options.repeats):
            for name, worker in workers.items():
                times[name] += worker.times(what, 1)
        found["ms"][what] = {name: [min(t), statistics.median(t)] for name, t in times.items()}
    for name, worker in workers.items():
        found["parameters"][name] = worker.about["parameters"]
        found["MiB"][name] = worker.peak - worker.about["before"]
        worker.close()
    return found


def line(found: dict, peer: str) -> str:
    """The row as Markdown."""
    cells = [f"{found['network']} {found['channels']}", " / ".join(f"{n:,}" for n in found["parameters"].values())]
    for what in ("train", "infer"):
        times = found["ms"][what]
        own = times["intertwine"]
        ratio = f" / {times[peer][0]:.0f}; {times[peer][0] / own[0]:.1f}× ({times[peer][1] / own[1]:.1f}×)"
        cells.append(f"{own[0]:.0f}" + (ratio if peer in times else ""))
    cells.append(" / ".join(f"{n:.0f}" for n in found["MiB"].values()))
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("INTERTWINE_DATA", ".")) / "acac")
    parser.add_argument("--mace-python", help="the interpreter of an environment with mace-torch")
    parser.add_argument("--nequip-python", help="the interpreter of an environment with nequip")
    parser.add_argument("--only", choices=list(ROWS), help="one of the two networks")
    parser.add_argument("--channels", type=int, help="rows of that many channels only")
    parser.add_argument("--copper", action="store_true", help="500 atoms of copper instead")
    parser.add_argument("--frames", type=int, help="structures in a step: 10, or 1 box of copper")
    parser.add_argument("--threads", type=int, default=2, help="1: process time, which a busy machine moves little")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--compiled", action="store_true", help="ours with compile_training()")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not options.copper and not (options.data / FILE).is_file():
        parser.error(f"{options.data} holds no {FILE}: give the folder of acetylacetone by --data")
    torch.set_num_threads(options.threads)  # for what is printed: nothing is computed here
    print(f"{machine()} by each process; {versions()}")
    print(f"Milliseconds of ours / the peer for {frames(options)} structures; ratio of the minima (of the medians).\n")
    print("| channels | parameters | training step | inference | MiB of a training step |\n|---|---|---|---|---|")
    pythons, rows = {"MACE": options.mace_python, "NequIP": options.nequip_python}, []
    for network, sizes in ROWS.items():
        for label, channels, degree in sizes:
            if options.only in (None, network) and options.channels in (None, channels):
                rows.append(row(network, label, channels, degree, pythons[network], options))
                print(line(rows[-1], PEER[network]), flush=True)
    if options.json:
        about = {"machine": machine(), "versions": versions(), "threads": options.threads, "frames": frames(options)}
        options.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
