"""The command `intertwine`: a thin door to each job; everything heavy is imported when its command is chosen."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

TRAINING = ("fit", "validate", "test", "predict")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it went well, 1 when an audit or a relaxation fails, 2 for wrong usage or data."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv and argv[0] in TRAINING:
            from intertwine.train.command import run

            run(argv)
            return 0
        arguments = parser().parse_args(argv)
        return arguments.run(arguments)
    except BrokenPipeError:  # `intertwine basis ... | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, ArithmeticError, FileNotFoundError, ModuleNotFoundError, RuntimeError) as error:
        if os.environ.get("INTERTWINE_DEBUG"):
            raise
        print(f"intertwine: {error}\n(INTERTWINE_DEBUG=1 shows where this comes from)", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; those of training parse their own options."""
    from intertwine import __version__

    top = argparse.ArgumentParser(prog="intertwine", description="Equivariant deep learning for any symmetry.")
    top.add_argument("--version", action="version", version=f"intertwine {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("fit", "train a potential: intertwine fit --data.path mine.extxyz --trainer.max_time 00:00:30:00"),
        ("validate", "errors on the validation set of a checkpoint"),
        ("test", "errors on test structures: intertwine test CHECKPOINT --data.test test.extxyz"),
        ("predict", "write predictions beside the structures: intertwine predict CHECKPOINT --data.predict new.extxyz"),
    ):
        commands.add_parser(name, help=text)
    _add_audit(commands)
    _add_simulation(commands)
    _add_basis(commands)
    _add_pack(commands)
    models = commands.add_parser("models", help="list the models there are")
    models.set_defaults(run=_models)
    bench = commands.add_parser("bench", help="time ours and the peers side by side, as ratios")
    bench.add_argument("--list", action="store_true", help="print the names and stop")
    bench.add_argument("name", nargs="?", help="one, such as so3/uvu, or a group, such as so3; none runs all")
    bench.add_argument(
        "options",
        nargs=argparse.REMAINDER,
        help="what the benchmark takes, such as --degrees 1 2; so3 --tune [FILE] fits method='auto' to this machine",
    )
    bench.set_defaults(run=_bench)
    demo = commands.add_parser("demo", help="the whole job on ethanol in a few minutes: report.html")
    demo.add_argument("--out", default="runs/demo", help="folder for everything that is made")
    demo.add_argument("--molecule", default="CCO", help="a name or SMILES of a small molecule")
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--fast", action="store_true", help="a smaller job, for a first look and for tests")
    demo.set_defaults(run=_demo)
    return top


def _add_audit(commands: Any) -> None:
    audit = commands.add_parser("audit", help="measure the symmetry of a trained potential, or of any model")
    audit.add_argument(
        "model", help="a file written by intertwine fit, or an import path: package.module:model, 'net.py:build(3)'"
    )
    audit.add_argument("--rep-in", help="how the input moves, such as 'Images(Cyclic(4))'; default: the model's own")
    audit.add_argument("--rep-out", help="how the output moves, such as 'Invariant()' or 'V of SO(3)'")
    audit.add_argument(
        "--data", help="structures, a .pt or .npy file, or an import path; default: the test set of the run"
    )
    audit.add_argument("--samples", type=int, default=32, help="how many inputs (32)")
    audit.add_argument("--elements", type=int, default=16, help="how many group elements for each (16)")
    audit.add_argument("--scale", type=float, default=1.0, help="of shifts, in the unit of the data (1)")
    audit.add_argument("--batch", type=int, default=256, help="inputs that go through the model together (256)")
    audit.add_argument("--seed", type=int, default=0)
    audit.add_argument("--html", help="write a page to read")
    audit.add_argument("--json", help="write all numbers")
    audit.add_argument(
        "--fail-on", choices=("broken", "approximate"), default="broken", help="exit code 1 from this verdict on"
    )
    audit.set_defaults(run=_audit)


def _add_simulation(commands: Any) -> None:
    md = commands.add_parser("md", help="molecular dynamics: intertwine md MODEL structures.extxyz --picoseconds 5")
    md.add_argument("--picoseconds", type=float, default=1.0, help="how long (1)")
    md.add_argument("--timestep", type=float, default=0.5, help="fs (0.5)")
    md.add_argument("--temperature", type=float, default=300.0, help="K, of the first velocities and the thermostat")
    md.add_argument(
        "--friction", type=float, help="of a Langevin thermostat, 1/fs, such as 0.01; none: constant energy"
    )
    md.add_argument("--every", type=int, default=20, help="steps from one written frame to the next (20)")
    md.add_argument("--seed", type=int, default=0)
    md.add_argument("--out", default="md.extxyz", help="frames; several structures get md-0.extxyz, md-1.extxyz, ...")
    relax = commands.add_parser("relax", help="move atoms to where no forces are: intertwine relax MODEL mine.extxyz")
    relax.add_argument("--fmax", type=float, default=0.05, help="done when no force is larger, eV/Å (0.05)")
    relax.add_argument("--steps", type=int, default=500, help="at most so many (500)")
    relax.add_argument("--cell", action="store_true", help="relax the cells too, of crystals, one after the other")
    relax.add_argument("--out", default="relaxed.extxyz", help="relaxed structures with energies and forces")
    export = commands.add_parser(
        "export", help="one file that runs without the network's code: MODEL structures.extxyz"
    )
    export.add_argument("--target", choices=("aoti", "torch.export"), default="aoti", help="compiled, or operations")
    export.add_argument("--out", help="a .pt2 file; default: beside the checkpoint")
    for command in (md, relax, export):
        command.add_argument("model", help="a checkpoint of intertwine fit, or a .pt2 file of intertwine export")
        command.add_argument(
            "structures", help="a file of structures" + ", to check the result on" * (command is export)
        )
        command.add_argument("--device", default="cpu")
        command.set_defaults(run=_simulate)
    for command in (md, relax):
        command.add_argument("--batch", type=int, default=64, help="structures that move together (64)")
        command.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="of the network")
        command.add_argument(
            "--allow-nonconservative", action="store_true", help="go on with forces that are no derivative of an energy"
        )


def _simulate(arguments: argparse.Namespace) -> int:
    from intertwine.interop import command

    return getattr(command, arguments.command)(arguments)


def _add_basis(commands: Any) -> None:
    basis = commands.add_parser("basis", help='the linear maps between two representations: basis "S(5)" "V^2" "V"')
    basis.add_argument("group", help='such as "S(5)", "O(3)", "S(3) * SO(3)"')
    basis.add_argument("rep_in", help='such as "V^2 + 3*V", "8x0e + 4x1o"')
    basis.add_argument("rep_out")
    basis.add_argument("--basis", default="independent", help="which one: orbit, graphs, spanning or orthonormal")
    basis.add_argument("--plot", metavar="FILE", help="draw the basis as images (png, svg or pdf)")
    basis.add_argument("--limit", type=int, default=8, help="print so many basis maps for each pair of terms (8)")
    basis.set_defaults(run=_basis)


def _add_pack(commands: Any) -> None:
    pack = commands.add_parser("pack", help="check structure files and put them into one .lmdb file for training")
    pack.add_argument(
        "files", nargs="+", metavar="FILE", help="structure files; the last one is the .lmdb file to write"
    )
    pack.add_argument("--cutoff", type=float, help="count neighbours within so many Å, for --data.max_edges")
    pack.add_argument("--float32", action="store_true", help="positions and forces in single precision: half the size")
    pack.add_argument("--on-bad", choices=("raise", "drop"), default="raise", help="what to do with bad frames (raise)")
    for label in ("energy", "forces", "stress"):
        pack.add_argument(f"--{label}", default=label, metavar="KEY", help=f"the name of the {label} in the files")
    pack.set_defaults(run=_pack)


def _models(arguments: argparse.Namespace) -> int:
    from intertwine.models.catalog import ENTRIES, OTHERS

    entries = (*ENTRIES, *OTHERS)
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        source = f" ({entry.source})" if entry.source else ""
        print(f"{entry.name:<{width}}  {entry.task}\n{'':<{width}}  {entry.summary}{source}")
    return 0


def _basis(arguments: argparse.Namespace) -> int:
    from intertwine import maps
    from intertwine.groups import SO, O
    from intertwine.reps import parse_group, parse_rep
    from intertwine.so3 import Irreps

    group = parse_group(arguments.group)
    irreps = Irreps if group in (O(3), SO(3)) else None
    rep_in, rep_out = (parse_rep(text, group, irreps=irreps) for text in (arguments.rep_in, arguments.rep_out))
    space = maps.between(rep_in, rep_out, basis=arguments.basis, allow_zero=True)
    print(f"dimension {space.dim}")
    print(maps.describe(space, most=arguments.limit))
    if arguments.plot and space.dim:
        maps.plot_basis(space, arguments.plot)
        print(f"\ndrawn: {arguments.plot}")
    return 0


def _pack(arguments: argparse.Namespace) -> int:
    from intertwine.data.atoms import Keys, pack, read

    *sources, out = arguments.files
    if not sources:
        raise ValueError(f"pack: nothing to put into {out}; name structure files before it")
    keys = Keys(energy=arguments.energy, forces=arguments.forces, stress=arguments.stress)
    isolated: dict[int, float] = {}

    def graphs() -> Any:
        for path in sources:  # one file in memory at a time
            part = read(path, keys=keys, on_bad=arguments.on_bad)
            isolated.update(part.isolated)
            yield from part

    count = pack(
        graphs(), out, isolated=isolated, cutoff=arguments.cutoff, real="float32" if arguments.float32 else "float64"
    )
    print(f"{count:,} structures packed into {out}, {os.path.getsize(out) / count:,.0f} bytes each")
    return 0


def _audit(arguments: argparse.Namespace) -> int:
    from intertwine.interop import audit_command

    return audit_command.run(arguments)


def _bench(arguments: argparse.Namespace) -> int:
    import runpy
    from pathlib import Path

    if arguments.options[:1] == ["--tune"]:
        return _tune(arguments)
    roots = (Path.cwd(), Path(__file__).parents[2])
    root = next((r for r in roots if (r / "benchmarks" / "harness.py").is_file()), None)
    if root is None:
        raise ValueError("bench: the benchmarks are kept in the repository, not in the package; run this in a checkout")
    files = [p.relative_to(root) for p in sorted((root / "benchmarks").rglob("[!_]*.py"))]
    known = {str(p.with_suffix("").relative_to("benchmarks")): p for p in files if len(p.parts) > 2}
    if arguments.list:
        print("\n".join(known))
        return 0
    name = (arguments.name or "").rstrip("/")
    chosen = [name] if name in known else [other for other in known if not name or other.startswith(f"{name}/")]
    if not chosen:
        raise ValueError(f"bench: there is no {arguments.name!r}; there are: {', '.join(known)}")
    before = sys.argv, sys.path
    try:
        sys.path = [str(root), *sys.path]
        for name in chosen:
            sys.argv = [name, *arguments.options]
            runpy.run_module(".".join(known[name].with_suffix("").parts), run_name="__main__")
    finally:
        sys.argv, sys.path = before
    return 0


def _tune(arguments: argparse.Namespace) -> int:
    import torch

    from intertwine.so3.rates import BUILT_IN
    from intertwine.so3.tuning import tune, write_tuning

    if arguments.name != "so3" or len(arguments.options) > 2:
        raise ValueError(f"bench: {arguments.name} has nothing to tune; say: intertwine bench so3 --tune [FILE]")
    torch.set_num_threads(1)
    found = tune()
    print(found)
    if found.right(found.rates) < found.right(BUILT_IN):
        print("\nthe built-in rates choose better here: nothing was written")
        return 0
    file = write_tuning(found, *arguments.options[1:])
    print(f"\nwritten to {file}: processes started from now on use these; remove the file to go back")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from intertwine.demo import Settings, run

    options = {"molecule": arguments.molecule, "seed": arguments.seed}
    if arguments.fast:
        options |= {"frames": 60, "test_frames": 20, "seconds": 5.0, "picoseconds": 0.05, "nero_samples": 2}
    return run(arguments.out, Settings(**options))
