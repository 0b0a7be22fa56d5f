"""Structures in one LMDB file, read one by one from disk, so that a set may be larger than memory."""

import json
import os
import struct
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int

from ...extras import require
from ...files import replacing
from .errors import DataError
from .graph import AtomicGraph, connect

FORMAT = "intertwine.atoms/1"
# A record: this header, then cell and stress (float64) where the flags say so, atomic numbers (one byte each),
# positions and forces (forces where the flags say so). Numbers are little-endian.
HEADER = struct.Struct("<IHHdddq")  # atoms, flags, config type, energy (eV), weight, charge, frame
_FLAGS = ("energy", "forces", "stress", "cell", "charge", "x", "y", "z")
_EXAMPLES = 20  # structures remembered for each species, so that a sample of the set can hold the rare ones
_COMMIT = 2_000  # records in a transaction
_PAGE, _ROOM, _NODE = 4096, 4080, 18  # bytes of an LMDB page, of its records, and beside each record


class Store(Sequence[AtomicGraph]):
    """The structures of a file written by `pack`: `store[i]` is an AtomicGraph without edges, float64.

    natoms: atoms of every structure; edges: neighbours (or None) within `cutoff` Å; labelled [structures, 3]: whether
    energy, forces, stress are there; isolated: energies of isolated atoms, eV by atomic number; species: atomic
    numbers; examples: some structures of each species; config_types. Opened when first used, again in every process.
    Raises FileNotFoundError; DataError for a file of another kind.
    """

    def __init__(self, path: str | Path):
        self.path = str(path)
        if not Path(path).is_file():
            raise FileNotFoundError(f"no file {path}")
        self._shared: _Environment | None = None
        raw = self._get(b"meta")
        meta = json.loads(raw) if raw is not None else {}
        if meta.get("format") != FORMAT:
            raise DataError(
                f"an LMDB file of another kind ({meta.get('format', 'no format')}, not {FORMAT})",
                path=path,
                fix="intertwine pack makes one from structure files",
            )
        self.real = np.dtype(meta["real"])
        self.cutoff: float | None = meta["cutoff"]
        self.species: tuple[int, ...] = tuple(meta["species"])
        self.config_types: tuple[str, ...] = tuple(meta["config_types"])
        self.isolated = {int(z): float(energy) for z, energy in meta["isolated"]}
        self.examples = {int(z): np.array(rows) for z, rows in meta["examples"]}
        self.natoms: Int[np.ndarray, " structures"] = self._array("natoms", np.int32)
        self.edges = self._array("edges", np.int32) if self.cutoff is not None else None
        self.labelled = (self._array("flags", np.uint16)[:, None] >> np.arange(3)) & 1 > 0

    def _get(self, key: bytes) -> bytes | None:
        if self._shared is None:
            self._shared = _Environment.of(self.path)
        with self._shared.open().begin() as transaction:
            return transaction.get(key)

    def _array(self, name: str, dtype: Any) -> np.ndarray:
        return np.frombuffer(self._get(name.encode()) or b"", dtype=np.dtype(dtype).newbyteorder("<"))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shared": None}

    def __len__(self) -> int:
        return len(self.natoms)

    def __getitem__(self, i: int) -> AtomicGraph:
        if not -len(self) <= i < len(self):
            raise IndexError(f"structure {i} of {len(self)}")
        record = self._get(_key(int(i) % len(self)))
        if record is None:
            raise DataError("the record is missing", path=self.path, frame=int(i), fix="pack the file again")
        return _decode(record, self.real, self.config_types)


class _Environment:
    """One open file of this process: LMDB refuses to open a file twice, so all stores of a file share it."""

    _open: ClassVar[weakref.WeakValueDictionary] = (
        weakref.WeakValueDictionary()
    )  # by device and inode: a file that was replaced is another file

    def __init__(self, path: str):
        self.path, self._owner, self._environment = path, -1, None

    @classmethod
    def of(cls, path: str) -> "_Environment":
        """The one of this file, opened when first used."""
        status = os.stat(path)
        key = (status.st_dev, status.st_ino)
        found = cls._open.get(key)
        if found is None:
            found = cls._open[key] = cls(path)
        return found

    def open(self) -> Any:
        """The environment; after a fork the parent's is closed and the file opened again, as LMDB demands."""
        if self._owner != os.getpid():
            lmdb = require("lmdb", "lmdb")
            if self._environment is not None:
                self._environment.close()
            try:  # the file is only ever read, so it needs no lock
                self._environment = lmdb.open(self.path, subdir=False, readonly=True, lock=False, readahead=False)
            except lmdb.Error as problem:
                raise DataError(f"not an LMDB file ({problem})", path=self.path) from None
            self._owner = os.getpid()
        return self._environment


def pack(
    graphs: Iterable[AtomicGraph],
    path: str | Path,
    *,
    isolated: dict[int, float] | None = None,
    cutoff: float | None = None,
    real: str = "float64",
) -> int:
    """Write structures to an LMDB file and return how many; `graphs` is walked once, so it may be a generator.

    isolated: energies of isolated atoms, eV by atomic number. cutoff: Å; counts the neighbours, for batches of bounded
    size (edges themselves are not stored: they are found again faster than read). real: "float64", or "float32" for
    positions and forces, which halves the file and moves atoms by up to 1e-6 Å.
    Written to a temporary file and renamed. Raises ValueError for no structures or an unknown `real`; OSError.
    """
    if real not in ("float64", "float32"):
        raise ValueError(f"pack: real must be float64 or float32, got {real!r}")
    types: dict[str, int] = {}
    examples: dict[int, list[int]] = {}
    natoms, flags, edges = [], [], []
    with replacing(path) as temporary:
        temporary.unlink()  # LMDB makes its own
        with _Writer(temporary) as writer:
            for graph in graphs:
                number = len(natoms)
                record = _encode(graph, types, np.dtype(real))
                writer.put(_key(number), record)
                natoms.append(len(graph.z))
                flags.append(HEADER.unpack_from(record)[1])
                for z in graph.z.unique().tolist():
                    if len(some := examples.setdefault(z, [])) < _EXAMPLES:
                        some.append(number)
                if cutoff is not None:
                    edges.append(connect(graph, cutoff).edge_index.shape[1])
            if not natoms:
                raise ValueError("pack: no structures")
            for name, values, dtype in (("natoms", natoms, "<i4"), ("edges", edges, "<i4"), ("flags", flags, "<u2")):
                writer.put(name.encode(), np.array(values, dtype=dtype).tobytes())
            meta = {
                **{"format": FORMAT, "real": real, "cutoff": cutoff, "species": sorted(examples)},
                **{"config_types": list(types), "isolated": sorted((isolated or {}).items())},
                "examples": sorted(examples.items()),
            }
            writer.put(b"meta", json.dumps(meta).encode())
    return len(natoms)


def record_bytes(atoms: int, *, real: str = "float64", periodic: bool = True) -> float:
    """Bytes that a structure with energy and forces, and stress where periodic, takes in the file.

    A page of 4096 bytes holds as many records as fit; a record of more than half a page has whole pages of its own.
    """
    box = 2 * 72 if periodic else 0
    size = HEADER.size + box + atoms * (1 + 6 * np.dtype(real).itemsize)
    node = size + _NODE
    return _PAGE / (_ROOM // node) if node <= _ROOM // 2 else _PAGE * -(-(size + _PAGE - _ROOM) // _PAGE)


class _Writer:
    """Puts records in key order, in transactions of a few thousand; the map grows as it fills."""

    def __init__(self, path: Path):
        self._lmdb = require("lmdb", "lmdb")
        self._environment = self._lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 26, sync=False)
        self._pending: list[tuple[bytes, bytes]] = []

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self._flush()
        finally:
            self._environment.close()

    def put(self, key: bytes, value: bytes) -> None:
        self._pending.append((key, value))
        if len(self._pending) >= _COMMIT:
            self._flush()

    def _flush(self) -> None:
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in self._pending:
                        # Appended records fill their pages; the tables, whose keys are words, come last.
                        transaction.put(key, value, append=key < b"a")
                break
            except self._lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
        self._pending.clear()


def _key(number: int) -> bytes:
    return struct.pack(">Q", number)  # big-endian: the order of the keys is that of the numbers


def _encode(graph: AtomicGraph, types: dict[str, int], real: np.dtype) -> bytes:
    has = {name: bool(graph[f"has_{name}"]) for name in ("energy", "forces", "stress")}
    has |= {"cell": bool(graph.cell.any()), "charge": "charge" in graph}
    has |= dict(zip("xyz", graph.pbc.reshape(3).tolist()))
    flags = sum(1 << bit for bit, name in enumerate(_FLAGS) if has[name])
    kind = types.setdefault(graph.config_type, len(types))
    charge = float(graph.charge) if has["charge"] else 0.0
    head = HEADER.pack(
        len(graph.z), flags, kind, float(graph.energy), float(graph.weight), charge, int(graph.frame)
    )  # fmt: skip
    double, short = np.dtype("<f8"), real.newbyteorder("<")
    parts = [head]
    parts += [graph.cell.numpy().astype(double).tobytes()] if has["cell"] else []
    parts += [graph.stress.numpy().astype(double).tobytes()] if has["stress"] else []
    parts += [graph.z.numpy().astype(np.uint8).tobytes(), graph.pos.numpy().astype(short).tobytes()]
    parts += [graph.forces.numpy().astype(short).tobytes()] if has["forces"] else []
    return b"".join(parts)


def _decode(record: bytes, real: np.dtype, types: Sequence[str]) -> AtomicGraph:
    atoms, flags, kind, energy, weight, charge, frame = HEADER.unpack_from(record)
    has = {name: bool(flags >> bit & 1) for bit, name in enumerate(_FLAGS)}
    at = HEADER.size

    def take(count: int, dtype: Any, shape: tuple[int, ...]) -> torch.Tensor:
        nonlocal at
        dtype = np.dtype(dtype).newbyteorder("<")
        values = np.frombuffer(record, dtype, count, at).reshape(shape)
        at += values.nbytes
        return torch.from_numpy(values.astype(np.int64 if dtype.kind == "u" else np.float64))

    cell = take(9, np.float64, (3, 3)) if has["cell"] else None
    stress = take(9, np.float64, (3, 3)) if has["stress"] else None
    z, pos = take(atoms, np.uint8, (atoms,)), take(3 * atoms, real, (atoms, 3))
    return AtomicGraph(
        pos, z, cell, torch.tensor([has[axis] for axis in "xyz"]),
        energy=energy if has["energy"] else None,
        forces=take(3 * atoms, real, (atoms, 3)) if has["forces"] else None,
        stress=stress, weight=weight, config_type=types[kind], frame=frame,
        charge=charge if has["charge"] else None,
    )  # fmt: skip
