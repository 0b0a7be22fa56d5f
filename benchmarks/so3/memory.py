"""The memory of one forward and backward pass over very many edges; each candidate in a fresh process of its own."""

import argparse
import resource
import subprocess
import sys

import torch

from benchmarks.harness import peak_memory
from benchmarks.so3 import edge_conv, uvu

SETTINGS = {"EdgeConv": uvu.Setting, "SO2EdgeConv": edge_conv.Setting}


def measure(options: argparse.Namespace) -> None:
    """Print the peak of this process, and what the two passes add to the inputs."""
    torch.set_num_threads(options.threads)
    make = SETTINGS[options.only]
    shape = options.lmax, options.channels
    small = make(*shape, 50, torch.float32, torch.Generator().manual_seed(0))
    list(uvu.passes(*small.ours()).values())[1]()  # what is built once is not counted
    setting = make(*shape, options.edges, torch.float32, torch.Generator().manual_seed(0))
    run, inputs = setting.ours()
    given = sum(t.numel() * t.element_size() for t in inputs) / 2**20
    leaves = [t.requires_grad_() for t in inputs]

    def step() -> None:
        out = run(*leaves)
        torch.autograd.grad(out, leaves, torch.ones_like(out))

    extra = peak_memory(step)
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB
    print(
        f"| {options.only} | {given:.0f} MiB | {extra:.0f} MiB | {1024 * extra / options.edges:.2f} KiB | "
        f"{whole:.2f} GiB |",
        flush=True,
    )


def main() -> None:
    """Print a row for each candidate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lmax", type=int, default=4)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--edges", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=list(SETTINGS), help="measure one, in this process")
    options = parser.parse_args()
    if options.only:
        return measure(options)
    size = f"L = {options.lmax}, C = {options.channels}, {options.edges} edges"
    print(f"forward + backward, {size}, float32, all gradients\n")
    print("| | inputs | on top of them | per edge | peak of the process |\n|---|---|---|---|---|", flush=True)
    for name in SETTINGS:
        command = [sys.executable, "-m", "benchmarks.so3.memory", *sys.argv[1:], "--only", name]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
