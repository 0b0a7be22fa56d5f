"""Extended XYZ in and out: frames are parsed one by one, so that a bad one is named and the others survive."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...extras import require
from ...files import replacing
from .checks import DEFAULT_CHECKS, Checks
from .dataset import AtomicDataset, assemble
from .errors import DataError
from .graph import AtomicGraph, to_ase
from .keys import DEFAULT_KEYS, Keys
from .store import Store
from .units import Units

_SIX = re.compile(r"""\b(stress|virial)\s*=\s*["'{\[]([^"'}\]]*)["'}\]]""")


def read(
    path: str | Path | Sequence[str | Path],
    *,
    index: int | str | slice = ":",
    keys: Keys = DEFAULT_KEYS,
    units: Units | None = None,
    on_bad: str = "raise",
    checks: Checks = DEFAULT_CHECKS,
    cutoff: float | None = None,
    dtype: torch.dtype = torch.float64,
) -> AtomicDataset:
    """Read one or several structure files into an AtomicDataset, checking every frame.

    path: extended XYZ (also .xyz.gz and the like), any format that ASE reads, or one .lmdb file of `pack`, which was
    checked when it was made and stays on disk. index: frames as in ASE, such as "::10". Isolated atoms (one atom in
    an open box, or `config_type` containing "isolated") are set aside in `.isolated`. units: of the file, where they
    are not eV and Å. cutoff: Å, for the neighbour lists; without one, call `.with_cutoff` later.
    on_bad: "raise" a DataError at the first defect, "drop" bad frames and count them, or "report": keep what can be
    kept and list everything in `.report`. Suspicious but usable frames give one DataWarning per kind.
    Raises DataError naming file, frame and fix; FileNotFoundError for a missing file.
    """
    if on_bad not in ("raise", "drop", "report"):
        raise ValueError(f"read: on_bad must be raise, drop or report, got {on_bad!r}")
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    if packed := [one for one in paths if Path(one).suffix == ".lmdb"]:
        return _packed(packed, paths, index).with_cutoff(cutoff, dtype=dtype)
    frames: list[tuple[str, int, object]] = []
    for one in map(Path, paths):
        if not one.is_file():
            raise FileNotFoundError(f"no file {one}")
        before = len(frames)
        frames += [(str(one), number, atoms) for number, atoms in _select(one, index)]
        if len(frames) == before:
            raise DataError(f"no frames at index {index!r}", path=one, fix="the file is empty, or index selects none")
    dataset = assemble(frames, keys=keys, units=units, on_bad=on_bad, checks=checks)
    if dtype != torch.float64 or cutoff is not None:
        dataset = dataset.with_cutoff(cutoff, dtype=dtype)
    return dataset


def write(path: str | Path, graphs, predictions: Sequence[dict[str, Tensor]] | None = None) -> None:
    """Write graphs (or ase.Atoms) as extended XYZ: to a temporary file beside `path`, then renamed over it.

    predictions: one dict per structure; stored beside the labels as `pred_<name>`. A failure, even a full disk, leaves
    an existing file as it was. Positions and forces are written to 8 decimals.
    """
    graphs = list(graphs)
    if predictions is not None and len(predictions) != len(graphs):
        raise ValueError(f"write: {len(graphs)} structures, but {len(predictions)} predictions")
    extra = predictions if predictions is not None else [{}] * len(graphs)
    images = [to_ase(g, **more) if isinstance(g, AtomicGraph) else g for g, more in zip(graphs, extra)]
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        require("ase.io.extxyz", "atoms").write_xyz(file, images)


def _packed(packed: Sequence[str | Path], paths: Sequence[str | Path], index: int | str | slice) -> AtomicDataset:
    if len(paths) > 1:
        raise DataError(
            f"it is read alone, not with {len(paths) - 1} other files", path=packed[0], fix="pack all of them into one"
        )
    store = Store(packed[0])
    chosen = require("ase.io.formats", "atoms").string2index(index) if isinstance(index, str) else index
    whole = AtomicDataset(store, isolated=store.isolated)
    return whole[[chosen]] if isinstance(chosen, int) else whole[chosen]


def _select(path: Path, index: int | str | slice) -> Iterator[tuple[int, object]]:
    """(number, ase.Atoms or DataError) of every chosen frame."""
    chosen = require("ase.io.formats", "atoms").string2index(index) if isinstance(index, str) else index
    if not re.fullmatch(r".*\.(ext)?xyz(\.(gz|bz2|xz))?", path.name.lower()):
        yield from _other_format(path, chosen)
        return
    texts = list(_frames(path))
    numbers = range(len(texts))
    try:
        numbers = [numbers[chosen]] if isinstance(chosen, int) else numbers[chosen]
    except IndexError:
        raise DataError(f"no frame {chosen}", path=path, fix=f"the file has {len(texts)} frames") from None
    for number in numbers:
        text = texts[number]
        yield number, text if isinstance(text, DataError) else _parse(path, number, *text)


def _other_format(path: Path, chosen: int | slice) -> Iterator[tuple[int, object]]:
    try:
        images = require("ase.io", "atoms").read(path, index=":")
    except Exception as problem:  # ASE's readers raise what they like
        raise DataError(f"ASE cannot read it ({type(problem).__name__}: {problem})", path=path) from problem
    numbers = range(len(images))
    for number in [numbers[chosen]] if isinstance(chosen, int) else numbers[chosen]:
        yield number, images[number]


def _frames(path: Path) -> Iterator[tuple[int, list[str]] | DataError]:
    """(line of the frame, its lines) one by one; what cannot be cut into frames ends with a DataError."""
    opener = require("ase.io.formats", "atoms").open_with_compression
    try:
        with opener(str(path), "rt") as file:
            lines = file.read().splitlines()
    except UnicodeDecodeError as problem:
        raise DataError(f"not a text file ({problem.reason})", path=path) from None
    at, number = 0, 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        try:
            count = int(lines[at])
        except ValueError:
            fix = "the number of atoms of the frame before may be wrong" if number else "is it extended XYZ?"
            problem = f"line {at + 1} should be a number of atoms, it is {lines[at].strip()[:40]!r}"
            yield DataError(problem, path=path, frame=number, fix=fix)
            return
        if count < 1:
            yield DataError(f"line {at + 1} announces {count} atoms", path=path, frame=number, fix="remove the frame")
            return
        block = lines[at : at + 2 + count]
        if len(block) < 2 + count:
            problem = f"the file ends after {max(len(block) - 2, 0)} of {count} atoms"
            fix = "the file was cut short; on_bad='drop' keeps the frames before"
            yield DataError(problem, path=path, frame=number, fix=fix)
            return
        yield at + 1, block
        at, number = at + 2 + count, number + 1


def _parse(path: Path, number: int, line: int, block: list[str]):
    """ase.Atoms of one frame, or the DataError that says why not."""
    reader = require("ase.io.extxyz", "atoms")
    known = require("ase.data", "atoms").atomic_numbers
    block = [block[0], _SIX.sub(_six_to_nine, block[1]), *block[2:]]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return next(reader.read_xyz(io.StringIO("\n".join(block) + "\n"), index=0))
    except KeyError as problem:
        name = str(problem.args[0])
        if name in known:
            return DataError(f"{type(problem).__name__}: {problem}", path=path, frame=number)
        rows = [i for i, row in enumerate(block[2:]) if name.lower() in (part.lower() for part in row.split())]
        where = f" on line {line + 2 + rows[0]}" if rows else ""
        return DataError(
            f"unknown species {name!r}{where}", path=path, frame=number, fix="use the symbols of chemical elements"
        )
    except Exception as problem:  # malformed columns, numbers, quotes: ASE raises many kinds
        rows = [i for i, row in enumerate(block[2:]) if len(row.split()) < 4]
        where = f"line {line + 2 + rows[0]} is {block[2 + rows[0]].strip()[:40]!r}" if rows else str(problem)[:200]
        fix = "the number of atoms may be wrong, or the Properties do not match the columns"
        return DataError(f"cannot be parsed: {where}", path=path, frame=number, fix=fix)


def _six_to_nine(match: re.Match) -> str:
    """ASE insists on 9 numbers for stress and virial; 6 are xx, yy, zz, yz, xz, xy."""
    parts = match.group(2).split()
    if len(parts) != 6:
        return match.group(0)
    return f'{match.group(1)}="{" ".join(parts[i] for i in (0, 5, 4, 5, 1, 3, 4, 3, 2))}"'
