"""The fourth noun: the space of all linear maps between two representations that commute with their group."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..reps import Product, Rep
from . import schur
from .block import Block
from .constants import tensors
from .diagrams.fuse import together
from .kernel import Plan
from .routes import Options

if TYPE_CHECKING:
    from .collapse import Composition

MAX_ENTRIES = 2**28  # dense matrices on request hold at most so many numbers


class Map:
    """The space of intertwiners between two Reps: sums of w_b B_b over a basis, applied without a dense matrix.

    Built by `between`. `dim` counts the scalar weights; a weight is flat, the blocks in order (output term major, then
    input term), each [N, c_in, c_out].
    """

    def __init__(self, rep_in: Rep, rep_out: Rep, blocks: tuple[Block, ...], options: Options):
        self.rep_in = rep_in
        self.rep_out = rep_out
        self.blocks = blocks
        self.options = options
        # Kept as numbers: kernels read N off NumPy arrays, which a compiler must not meet inside torch.func.grad.
        self._weight_shapes = [(block.N, block.c_in, block.c_out) for block in blocks]
        self.dim = sum(N * c_in * c_out for N, c_in, c_out in self._weight_shapes)
        self._lay_out()
        self._made: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}

    def _lay_out(self) -> None:
        """Collect terms of the same kind, so that each pair of kinds is applied once for all of its channels."""
        self._slices_in, self._slices_out = _slices(self.rep_in), _slices(self.rep_out)
        self._sizes_in = [stop - start for start, stop, _, _ in self._slices_in]
        self._diagrams = together(self.blocks)
        fused = self._diagrams.members if self._diagrams else ()
        kinds: dict[tuple[Product, Product], list[Block]] = {}
        for block in (block for k, block in enumerate(self.blocks) if k not in fused):
            kinds.setdefault((schur.simplified(block.U), schur.simplified(block.W)), []).append(block)
        steps: list[tuple[Plan, int, tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = []
        constants: list[np.ndarray] = [*self._diagrams.arrays] if self._diagrams else []
        for blocks in kinds.values():
            ins = tuple(sorted({block.index_in for block in blocks}))
            outs = tuple(sorted({block.index_out for block in blocks}))
            c_in = sum(self.rep_in.terms[i][1] for i in ins)
            c_out = sum(self.rep_out.terms[j][1] for j in outs)
            plan = blocks[0].kernel.plan(c_in, c_out)
            members = tuple(k for k, block in enumerate(self.blocks) if block in blocks)
            steps.append((plan, len(constants), ins, outs, members))
            constants += plan.constants
        self._steps = tuple(steps)
        self.constants = tuple(constants)

    # --- the action of a weight

    def weights(self, weight: Float[Tensor, " weights"]) -> list[Tensor]:
        """The flat weight as one view [N, c_in, c_out] for each block."""
        if weight.shape != (self.dim,):
            raise ValueError(f"{self!r} takes a weight of shape ({self.dim},), got {tuple(weight.shape)}")
        parts = _parts(weight, [N * c_in * c_out for N, c_in, c_out in self._weight_shapes])
        return [part.view(shape) for shape, part in zip(self._weight_shapes, parts)]

    def apply(
        self, x: Float[Tensor, "*batch dim_in"], weight: Float[Tensor, " weights"]
    ) -> Float[Tensor, "*batch dim_out"]:
        """The map with the given weight, on features; dtype and device follow x."""
        self.rep_in.check(x)
        place = (x.dtype, x.device)
        if place not in self._made:
            if len(self._made) >= 4:
                self._made.clear()
            self._made[place] = tensors(self.constants, *place)
        return self.run(x, self.weights(weight), self._made[place])

    def run(
        self,
        x: Tensor,
        weights: list[Tensor],
        constants: list[Tensor],
        extra: tuple[Tensor, ...] = (),
        shifts: Mapping[int, Tensor] | None = None,
    ) -> Tensor:
        """`apply` for a module that keeps the weights of the blocks and the constants itself.

        extra: the last terms of rep_in, [..., components, channels], where x holds only those before. shifts: what is
        added to terms of rep_out, by number.
        """
        done = self.terms(x, weights, constants, extra)
        for j, shift in (shifts or {}).items():
            done[j] = done[j] + shift if j in done else shift.expand(*x.shape[:-1], *shift.shape[-2:])
        flat = [
            done[j].flatten(-2) if j in done else x.new_zeros(*x.shape[:-1], stop - start)
            for j, (start, stop, _, _) in enumerate(self._slices_out)
        ]
        return _joined(flat, -1) if flat else x.new_zeros(*x.shape[:-1], 0)

    def terms(
        self, x: Tensor, weights: list[Tensor], constants: list[Tensor], extra: tuple[Tensor, ...] = ()
    ) -> dict[int, Tensor]:
        """The terms of rep_out that are reached, by number, [..., components, channels]; else as `run`."""
        sizes = self._sizes_in[: len(self._sizes_in) - len(extra)]
        terms = [
            part.view(*x.shape[:-1], components, channels)
            for part, (_, _, components, channels) in zip(_parts(x, sizes), self._slices_in)
        ]
        terms += extra
        gathered: dict[tuple[int, ...], Tensor] = {}
        done: dict[int, Tensor] = {}
        if layer := self._diagrams:
            made = layer.run([terms[i] for i in layer.ins], [weights[k] for k in layer.members], constants)
            done.update(zip(layer.outs, made))
        for plan, first, ins, outs, members in self._steps:
            if ins not in gathered:
                gathered[ins] = _joined([terms[i] for i in ins], -1)
            chosen = [weights[k] for k in members]
            rows = [_joined(chosen[k : k + len(ins)], 1) for k in range(0, len(chosen), len(ins))]
            part = plan.run(gathered[ins], _joined(rows, 2), constants[first : first + len(plan.constants)])
            widths = [self.rep_out.terms[j][1] for j in outs]
            for j, piece in zip(outs, part.split(widths, -1) if len(outs) > 1 else (part,)):
                done[j] = done[j] + piece if j in done else piece
        return done

    @property
    def is_one_layer(self) -> bool:
        """Whether diagrams serve every block, so that the whole Map is applied at once."""
        return self._diagrams is not None and not self._steps

    def flops(self, batch: int = 1) -> int:
        """Multiplications and additions of one forward application to `batch` features."""
        own = self._diagrams.flops if self._diagrams else 0
        return batch * (own + sum(step[0].flops for step in self._steps))

    # --- as matrices

    def matrix(self, weight: Float[Tensor, " weights"]) -> Float[Tensor, "dim_out dim_in"]:
        """The dense matrix of the map with the given weight. Raises ValueError where it would be huge."""
        _guard(self, 1)
        pieces = {}
        for block, w in zip(self.blocks, self.weights(weight)):
            basis = block.dense(w.dtype).to(w.device)
            product = torch.einsum("nij,ncd->idjc", basis, w)
            pieces[block.index_out, block.index_in] = product.reshape(
                block.W.dim * block.c_out, block.U.dim * block.c_in
            )
        rows = []
        for j, (top, bottom, _, _) in enumerate(self._slices_out):
            row = [
                pieces.get((j, i), weight.new_zeros(bottom - top, stop - start))
                for i, (start, stop, _, _) in enumerate(self._slices_in)
            ]
            rows.append(torch.cat(row, 1) if row else weight.new_zeros(bottom - top, 0))
        return torch.cat(rows) if rows else weight.new_zeros(0, self.rep_in.dim)

    def basis(self, *, orthonormal: bool = False) -> Float[Tensor, "weights dim_out dim_in"]:
        """Every basis map as a matrix, float64; raises ValueError where that would be huge.

        orthonormal: in the Frobenius product, by Gram-Schmidt in order.
        """
        if orthonormal and self.options.basis != "orthonormal":
            from .between import between  # between is built on this file

            return between(self.rep_in, self.rep_out, **_asdict(self.options) | {"basis": "orthonormal"}).basis()
        _guard(self, self.dim)
        units = torch.eye(self.dim, dtype=torch.float64)
        if self.dim == 0:
            return torch.zeros(0, self.rep_out.dim, self.rep_in.dim, dtype=torch.float64)
        return torch.stack([self.matrix(unit) for unit in units])

    def project(self, M: Float[Tensor, "dim_out dim_in"]) -> Float[Tensor, " weights"]:
        """The weight of the map nearest to a matrix M, in the Frobenius norm."""
        if M.shape != (self.rep_out.dim, self.rep_in.dim):
            raise ValueError(
                f"{self!r} has matrices of shape ({self.rep_out.dim}, {self.rep_in.dim}), got {tuple(M.shape)}"
            )
        found = [M.new_zeros(0)]
        for block in self.blocks:
            basis = block.dense(M.dtype).to(M.device)
            top, bottom, *_ = self._slices_out[block.index_out]
            start, stop, *_ = self._slices_in[block.index_in]
            part = M[top:bottom, start:stop].reshape(block.W.dim, block.c_out, block.U.dim, block.c_in)
            inner = torch.einsum("nij,idjc->ncd", basis, part)
            gram = torch.einsum("nij,mij->nm", basis, basis)
            found.append((torch.linalg.pinv(gram, hermitian=True) @ inner.flatten(1)).flatten())
        return torch.cat(found)

    @property
    def transpose(self) -> "Map":
        """The space of the transposed matrices, from rep_out.dual to rep_in.dual, with the transposed basis."""
        blocks, start = [], 0
        for block in sorted(self.blocks, key=lambda block: (block.index_in, block.index_out)):
            U, W = self.rep_out.dual.terms[block.index_out][0], self.rep_in.dual.terms[block.index_in][0]
            turned = Block(
                block.kernel.transpose, U, W, block.index_out, block.index_in, block.c_out, block.c_in, start
            )
            blocks.append(turned)
            start = turned.stop
        return Map(self.rep_out.dual, self.rep_in.dual, tuple(blocks), self.options)

    def transpose_weight(self, weight: Float[Tensor, " weights"]) -> Float[Tensor, " weights"]:
        """The weight with which `transpose` gives the transposed matrix."""
        found = dict(zip(((b.index_in, b.index_out) for b in self.blocks), self.weights(weight)))
        parts = [found[key].transpose(1, 2).flatten() for key in sorted(found)]
        return torch.cat([weight.new_zeros(0), *parts])

    # --- other spaces

    def compose(self, inner: "Map") -> "Composition":
        """This map after `inner`, as one Map with its own weights; see `maps.Composition`.

        Raises ValueError where inner.rep_out is not this map's rep_in.
        """
        from .collapse import Composition  # both are built on this file

        return Composition(self, inner)

    def at_size(self, n: int) -> "Map":
        """The same diagrams on R^n: blocks, labels and the length of the weight stay, so one weight serves every size.

        For S(n), A(n), O(n), SO(n), Sp(n) and GLPlus(n). Grown from a size where some diagrams depend on others, it is
        a part of the space. Raises ValueError where a diagram is not in the basis at n, such as a partition into more
        than n blocks, or where a block is not made of diagrams.
        """
        from .resize import at_size

        return at_size(self, n)

    # --- what it is

    @property
    def labels(self) -> str:
        """Text that changes when the meaning of a weight does: both Reps, and the name of every basis map."""
        names = ";".join(f"{b.index_out}<{b.index_in}:{','.join(b.labels)}" for b in self.blocks)
        return f"{self.rep_in.key} -> {self.rep_out.key} [{names}]"

    def unreached(self) -> list[int]:
        """Terms of rep_out that only the zero map reaches."""
        return sorted(set(range(len(self.rep_out.terms))) - {block.index_out for block in self.blocks})

    def explain(self) -> str:
        """For every block the rule that found it, its maps and weights; then operations and bytes."""
        plural = "s" if self.dim != 1 else ""
        lines = [f"{self.rep_in} -> {self.rep_out} of {self.rep_in.group}: {self.dim} weight{plural}"]
        width = max((len(str(block)) for block in self.blocks), default=0)
        for block in self.blocks:
            size = block.N * block.c_in * block.c_out
            weights = "" if size == block.N else f" = {size} weights"
            count = f"{block.N} map{'s' if block.N > 1 else ''}{weights}"
            lines.append(f"  {block!s:<{width}}  {count}, by {block.route}")
        for j in self.unreached():
            lines.append(f"  {self.rep_out.terms[j][0]} (term {j} of rep_out): no map but zero reaches it")
        held = sum(constant.nbytes for constant in self.constants)
        dense = 2 * self.rep_in.dim * self.rep_out.dim
        lines.append(
            f"  {self.flops()} operations for one feature (a dense matrix: {dense}), {held} bytes of constants"
        )
        return "\n".join(lines)

    def __deepcopy__(self, memo: dict) -> "Map":
        return self  # nothing in it changes, so copies of a layer share it

    def __repr__(self) -> str:
        return f"Map({self.rep_in} -> {self.rep_out} of {self.rep_in.group}, dim={self.dim})"


def _slices(rep: Rep) -> list[tuple[int, int, int, int]]:
    """Start, stop, components and channels of every term in a flat feature."""
    found, start = [], 0
    for W, c in rep.terms:
        found.append((start, start + W.dim * c, W.dim, c))
        start += W.dim * c
    return found


def _parts(x: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """The split of x; x itself is not split into one part, whose derivative would be a copy."""
    return (x,) if len(sizes) == 1 else x.split(sizes, -1)


def _joined(parts: list[Tensor], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, axis)


def _asdict(options: Options) -> dict:
    return {**vars(options), "allow_zero": True}


def _guard(space: Map, count: int) -> None:
    entries = count * math.prod((space.rep_in.dim, space.rep_out.dim))
    if entries > MAX_ENTRIES:
        raise ValueError(
            f"{space!r}: {count} dense matrices of {space.rep_out.dim} x {space.rep_in.dim} would take "
            f"{entries * 8 / 2**30:.1f} GiB; use apply(), or a block's dense()"
        )
