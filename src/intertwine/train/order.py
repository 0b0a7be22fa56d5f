"""Which structures come when: decided by (seed, epoch) alone, so that every process knows the batches of all."""

import heapq
from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Int

Rows = Int[np.ndarray, " rows"]
_WINDOW = 64  # groups of batches among which those of like size are made partners


class Order:
    """Batches of `batch_size` structures for each process, from a permutation that depends on seed and epoch alone.

    A global batch has `batch_size` × (number of processes) structures and is dealt out in turn, so its union is the
    same however many processes share it; in training a last batch with fewer structures than processes is left out.
    Raises ValueError for batch_size < 1.
    """

    def __init__(self, count: int, batch_size: int, *, shuffle: bool, seed: int = 0):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.count, self.batch_size, self.shuffle, self.seed, self.epoch = count, batch_size, shuffle, seed, 0
        self._made: tuple[tuple[int, int], list[tuple[Rows, ...]]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch."""
        self.epoch = epoch

    def world(self) -> tuple[int, int]:
        """Number of this process, and of all."""
        if dist.is_available() and dist.is_initialized():
            return dist.get_rank(), dist.get_world_size()
        return 0, 1

    def unions(self) -> list[tuple[Rows, ...]]:
        """Every global batch of the epoch, as the shares of all processes."""
        key = (self.epoch, self.world()[1])
        if self._made is None or self._made[0] != key:
            self._made = (key, self._make(self._permutation(), key[1]))
        return self._made[1]

    def batches(self) -> list[Rows]:
        """This process's share of every global batch of the epoch."""
        rank, _ = self.world()
        return [union[rank] for union in self.unions() if len(union[rank])]

    def _permutation(self) -> Rows:
        if not self.shuffle:
            return np.arange(self.count)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return torch.randperm(self.count, generator=generator).numpy()

    def _make(self, order: Rows, world: int) -> list[tuple[Rows, ...]]:
        step = self.batch_size * world
        unions = [order[i : i + step] for i in range(0, self.count, step)]
        if self.shuffle:  # every process must take part in every training step
            unions = [union for union in unions if len(union) >= world]
        return [tuple(union[rank::world] for rank in range(world)) for union in unions]


class Balanced(Order):
    """Training batches of bounded size: as many structures as fit, and for all processes of a step equally much.

    bounds: one or two pairs of sizes [structures] and the most that a batch may hold, such as the atoms of each
    structure and 500. Structures keep their random order.
    Raises ValueError for no bounds, or for a structure that is larger than a bound, naming both.
    """

    def __init__(self, bounds: Sequence[tuple[Int[np.ndarray, " structures"], int]], *, seed: int = 0):
        if not bounds:
            raise ValueError("Balanced: give at least one bound, such as (atoms of each structure, 500)")
        super().__init__(len(bounds[0][0]), 1, shuffle=True, seed=seed)
        self.bounds = [(np.asarray(sizes), int(most)) for sizes, most in bounds]
        for sizes, most in self.bounds:
            if len(sizes) and sizes.max() > most:
                i = int(sizes.argmax())
                raise ValueError(
                    f"a batch may hold {most}, but structure {i} alone has {sizes[i]}; raise the bound (max_atoms, "
                    "max_edges) or leave this structure out"
                )

    def _make(self, order: Rows, world: int) -> list[tuple[Rows, ...]]:
        batches = self._cut(order)
        # The last batches are dealt again, so that every process has one in every step, and none a crumb.
        whole = max(len(batches) - len(batches) % world - world, 0)
        batches[whole:] = self._dealt(np.concatenate([order[:0], *batches[whole:]]), world)
        load = np.array([self.bounds[-1][0][batch].sum() for batch in batches])  # edges, where bounded, cost most
        groups: list[tuple[Rows, ...]] = []
        for i in range(0, len(batches) - world + 1, _WINDOW * world):
            window = np.arange(i, min(i + _WINDOW * world, len(batches) - len(batches) % world))
            alike = window[np.argsort(load[window], kind="stable")].reshape(-1, world)
            groups += [tuple(batches[j] for j in row) for row in alike]
        generator = np.random.default_rng((self.seed, self.epoch))
        return [groups[i] for i in generator.permutation(len(groups))]

    def _cut(self, order: Rows) -> list[Rows]:
        """The order cut where the next structure would not fit."""
        ends = [np.concatenate([[0], np.cumsum(sizes[order], dtype=np.int64)]) for sizes, _ in self.bounds]
        batches, at = [], 0
        while at < len(order):
            after = min(
                int(np.searchsorted(end, end[at] + most, side="right")) - 1 for end, (_, most) in zip(ends, self.bounds)
            )
            batches.append(order[at:after])
            at = after
        return batches

    def _dealt(self, rows: Rows, world: int) -> list[Rows]:
        """These structures in a multiple of `world` batches of like size: the largest first, each to the emptiest."""
        load, most = self.bounds[-1]
        rows = rows[np.argsort(-load[rows], kind="stable")]
        count = world * max(-(-int(load[rows].sum()) // (most * world)), 1)
        while count <= len(rows):
            held: list[list[int]] = [[] for _ in range(count)]
            heap = [(0, i) for i in range(count)]
            for row in rows:
                size, i = heapq.heappop(heap)
                held[i].append(row)
                heapq.heappush(heap, (size + int(load[row]), i))
            batches = [np.array(batch) for batch in held]
            if all(sizes[batch].sum() <= bound for batch in batches for sizes, bound in self.bounds):
                return batches
            count += world
        return [rows[i : i + 1] for i in range(len(rows) - len(rows) % world)]  # the rest waits for another epoch
