"""The Lightning data module: structure files in, checked, split by seed, and the facts a model is sized to."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch

from intertwine.data.atoms import AtomicDataset, Checks, DataWarning, Keys, ShiftScale, fit_shift_scale, off_scale, read
from intertwine.data.atoms.checks import DEFAULT_CHECKS
from intertwine.data.atoms.keys import DEFAULT_KEYS
from intertwine.data.atoms.species import symbol
from intertwine.data.atoms.suspicion import root_mean_square

from .batches import Loader, Packed
from .order import Balanced, Order

_KNOWN = 10_000  # structures of a set on disk that its facts are measured on


@dataclass(frozen=True)
class Facts:
    """What a model must know about its training set: symbols by atomic number, Å, eV."""

    species: tuple[str, ...]
    cutoff: float
    avg_num_neighbors: float
    shift_scale: ShiftScale
    periodic: bool
    hash: str


class AtomicDataModule(pl.LightningDataModule):
    """Reads structures with energies, forces and stress, and hands out batches.

    path: one structure file or several (isolated atoms in any of them fix the energy shifts), an .lmdb file made by
    `data.atoms.pack`, which stays on disk, or an AtomicDataset.
    val, test: a share (0.1) or a count of the structures in `path`, or a file; test None or 0 for none. predict: a
    file, else the test set. cutoff: Å. batch_size: structures per process and step; with max_atoms, max_edges or both,
    training batches hold as many structures as fit instead. workers: processes that prepare batches for training in
    advance. keys: names of the labels in the file. split: "blocks" keeps neighbouring frames of a trajectory together,
    "random" suits independent structures. shift, scale: see `data.atoms.fit_shift_scale`. on_bad: "raise", "drop" or
    "report".
    Raises ValueError for sizes out of range; DataError naming file, frame and fix.
    """

    def __init__(
        self,
        path: str | list[str],  # not AtomicDataset: the command line would then read the file as a configuration
        val: float | int | str = 0.1,
        test: float | int | str | None = 0.1,
        predict: str | None = None,
        cutoff: float = 5.0,
        batch_size: int = 5,
        eval_batch_size: int = 32,
        max_atoms: int | None = None,
        max_edges: int | None = None,
        workers: int = 0,
        keys: Keys = DEFAULT_KEYS,
        checks: Checks = DEFAULT_CHECKS,
        on_bad: Literal["raise", "drop", "report"] = "raise",
        split: Literal["blocks", "random"] = "blocks",
        shift: str | dict[str, float] = "auto",
        scale: str | float | None = "forces",
        seed: int = 0,
    ):
        super().__init__()
        if not cutoff > 0:
            raise ValueError(f"AtomicDataModule: cutoff must be positive, got {cutoff} Å")
        if batch_size < 1 or eval_batch_size < 1:
            raise ValueError(f"AtomicDataModule: batch sizes must be at least 1, got {batch_size}, {eval_batch_size}")
        if workers < 0 or any(bound is not None and bound < 1 for bound in (max_atoms, max_edges)):
            raise ValueError(
                "AtomicDataModule: workers must be >= 0, max_atoms and max_edges at least 1, got "
                f"{workers}, {max_atoms}, {max_edges}"
            )
        self.max_atoms, self.max_edges, self.workers = max_atoms, max_edges, workers
        self.path, self.val, self.test, self.predict = path, val, test, predict
        self.cutoff, self.batch_size, self.eval_batch_size = float(cutoff), batch_size, eval_batch_size
        self.keys, self.checks, self.on_bad = keys, checks, on_bad
        self.split, self.shift, self.scale, self.seed = split, shift, scale, seed
        self._packed: dict[str, Packed] = {}
        values = {
            **{"val": val, "test": test, "cutoff": self.cutoff, "batch_size": batch_size, "split": split, "seed": seed},
            **{"eval_batch_size": eval_batch_size, "keys": asdict(keys), "on_bad": on_bad, "shift": shift},
            **{"max_atoms": max_atoms, "max_edges": max_edges, "workers": workers},
            **{"scale": scale, **({} if isinstance(path, AtomicDataset) else {"path": path})},
        }
        self.save_hyperparameters(values)  # a checkpoint remembers where its data came from

    # --- structures ------------------------------------------------------------------------------------------------

    def _read(self, path: str | Sequence[str], labels: tuple[str, ...] | None = None) -> AtomicDataset:
        checks = self.checks if labels is None else replace(self.checks, require=labels)
        return read(path, keys=self.keys, on_bad=self.on_bad, checks=checks, cutoff=self.cutoff)

    @cached_property
    def parts(self) -> dict[str, AtomicDataset]:
        """The structures of "train", "val" and "test" (the last may be empty)."""
        given = isinstance(self.path, AtomicDataset)
        whole = self.path.with_cutoff(self.cutoff) if given else self._read(self.path)
        shares = {name: p for name, p in (("val", self.val), ("test", self.test)) if p and not isinstance(p, str)}
        # 50 on a command line arrives as 50.0, so a count is told by its value
        counts = all(p >= 1 and p == int(p) for p in shares.values())
        shares = {name: int(p) for name, p in shares.items()} if counts else shares
        rest = len(whole) - sum(shares.values()) if counts else 1.0 - sum(shares.values())
        if not rest > 0:
            raise ValueError(f"AtomicDataModule: {shares} of {len(whole)} structures leave none to train on")
        cut = whole.split((rest, *shares.values()), method=self.split, seed=self.seed)
        parts = dict(zip(("train", *shares), cut))
        for name, where in (("val", self.val), ("test", self.test)):
            if isinstance(where, str):
                parts[name] = self._read(where)
                self._compare(parts["train"], parts[name], where)
            parts.setdefault(name, whole[:0])
        return parts

    def _compare(self, train: AtomicDataset, other: AtomicDataset, path: str) -> None:
        """Warn where another file's forces are so far off the training set's that they must be in other units."""
        if self.checks.units:
            expected = root_mean_square(_sample(train, self.seed))
            for defect in off_scale(expected, _sample(other, self.seed)):
                message = f"{path}, against the training set: {defect.problem}; {defect.fix}"
                warnings.warn(message, DataWarning, stacklevel=2)

    @cached_property
    def facts(self) -> Facts:
        """Species, neighbour count, shifts and scale of the training set; of a large set on disk, from a sample."""
        train = _sample(self.parts["train"], self.seed)
        shift_scale = fit_shift_scale(train, map(symbol, train.species), shift=self.shift, scale=self.scale)
        digest = hashlib.sha256(str(len(self.parts["train"])).encode() if train.store is not None else b"")
        for graph in train:
            for tensor in (graph.pos, graph.z, graph.cell, graph.energy, graph.forces):
                digest.update(tensor.contiguous().numpy().tobytes())
        return Facts(
            species=tuple(symbol(z) for z in shift_scale.species),
            cutoff=self.cutoff,
            avg_num_neighbors=max(train.stats.neighbors_mean or 0.0, 1.0),
            shift_scale=shift_scale,
            periodic=any(bool(graph.pbc.all()) for graph in train),
            hash=digest.hexdigest()[:12],
        )

    @property
    def config_types(self) -> tuple[str, ...]:
        """Configuration types that occur, the same list on every process."""
        stores = [part.store for part in self.parts.values()]
        found = {kind for store in stores if store is not None for kind in store.config_types}
        listed = [part for part in self.parts.values() if part.store is None]
        return tuple(sorted(found | {g.config_type for part in listed for g in part}))

    # --- batches ---------------------------------------------------------------------------------------------------

    def _loader(self, name: str, *, shuffle: bool = False) -> Loader | list[Any]:
        part = self.parts[name]
        if not len(part):
            return []
        if name not in self._packed:
            self._packed[name] = Packed(part if part.store is not None else list(part))
        if not shuffle:
            order = Order(len(part), self.eval_batch_size, shuffle=False)
            return Loader(self._packed[name], order)
        bounds = [
            (sizes(), most)
            for most, sizes in ((self.max_atoms, lambda: part.natoms), (self.max_edges, lambda: part.nedges))
            if most is not None
        ]
        if bounds:
            order = Balanced(bounds, seed=self.seed)
        else:
            order = Order(len(part), self.batch_size, shuffle=True, seed=self.seed)
        return Loader(self._packed[name], order, accumulate=self._accumulated, workers=self.workers)

    def _accumulated(self) -> int:
        return self.trainer.accumulate_grad_batches if self.trainer is not None else 1

    def train_dataloader(self) -> Any:
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> Any:
        return self._loader("val")

    def test_dataloader(self) -> Any:
        if not len(self.parts["test"]):
            raise ValueError("AtomicDataModule: no test structures; set test to a share, a count or a file")
        return self._loader("test")

    def predict_dataloader(self) -> Any:
        if self.predict is not None:
            self.parts["predict"] = self._read(self.predict, labels=())
        else:
            self.parts["predict"] = self.parts["test"]
        return self._loader("predict")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        # Walking the fields of a batch that is already there costs 0.3 ms a step.
        return batch if batch.pos.device == device else batch.to(device)


def _sample(part: AtomicDataset, seed: int) -> AtomicDataset:
    """The set itself where it is small or in memory; else some structures at random and some of every species."""
    if part.store is None or len(part) <= _KNOWN:
        return part
    drawn = np.random.default_rng(seed).choice(len(part), _KNOWN, replace=False)
    rare = np.flatnonzero(np.isin(part.rows, np.concatenate(list(part.store.examples.values()))))
    return part[np.union1d(drawn, rare)]
