"""The third noun: a linear Action on a flat feature, as a sum of tensor products of factors with multiplicities."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..groups import Group
from ..groups.group import Element
from .action import Action, check_batch
from .factor import Factor
from .product import Product

MAX_MATRIX_DIM = 4096


Terms = tuple[tuple[Product, int], ...]


class Rep(Action):
    """A representation of `group` on `Tensor[..., dim]`: a sum of terms c·W, built by the algebra of representations.

    `a + b` direct sum (order kept, nothing merged), `3 * a` multiplicity, `a * b` tensor product (of the product group
    when the groups differ), `a ** p`, `a.dual`. Each term is a contiguous block viewed as `[..., *W.shape, c]`:
    components first, channels last. Equality is structural, so a Rep is a cache key.
    """

    def __init__(self, group: Group, terms: Sequence[tuple[Product, int]]):
        for W, c in terms:
            if c < 0:
                raise ValueError(f"Rep of {group}: the multiplicity of {W} must not be negative, got {c}")
            for factor in W.factors:
                if factor.group != group:
                    raise ValueError(f"Rep of {group}: its factor {factor} belongs to {factor.group}")
        self.group = group
        self.terms: Terms = tuple((W, int(c)) for W, c in terms if c > 0)

    def _with(self, group: Group, terms: Sequence[tuple[Product, int]]) -> "Rep":
        """The result of an operation; a subclass returns its own kind where it can."""
        return Rep(group, terms)

    # --- structure

    @property
    def dim(self) -> int:
        """Number of entries of a flat feature."""
        return sum(W.dim * c for W, c in self.terms)

    @property
    def key(self) -> str:
        """A text that names group and structure, the same in every process."""
        return f"{self.group}: {Rep.__str__(self)}"

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        return " + ".join(str(W) if c == 1 else f"{c}*{W}" if W.factors else str(c) for W, c in self.terms)

    def __repr__(self) -> str:
        return f"{self} of {self.group}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rep) and self.group == other.group and self.terms == other.terms

    def __hash__(self) -> int:
        return hash((self.group, self.terms))

    @property
    def is_permutation(self) -> bool:
        """Whether every element permutes the entries."""
        return all(factor.is_permutation for W, _ in self.terms for factor in W.factors)

    @property
    def is_signed_permutation(self) -> bool:
        """Whether every element permutes the entries up to sign."""
        return all(factor.is_signed_permutation for W, _ in self.terms for factor in W.factors)

    @property
    def is_orthogonal(self) -> bool:
        """Whether every element keeps the Euclidean norm."""
        return all(factor.is_orthogonal for W, _ in self.terms for factor in W.factors)

    # --- algebra

    def __add__(self, other: "Rep") -> "Rep":
        if not isinstance(other, Rep):
            return NotImplemented
        if self.group != other.group:
            raise ValueError(
                f"cannot add a representation of {self.group} to one of {other.group}; "
                "restrict one of them, or lift both to the product group"
            )
        return self._with(self.group, self.terms + other.terms)

    def __rmul__(self, count: int) -> "Rep":
        if not isinstance(count, int):
            return NotImplemented
        return self._with(self.group, [(W, count * c) for W, c in self.terms])

    def __mul__(self, other: "Rep | int") -> "Rep":
        if isinstance(other, int):
            return other * self
        if not isinstance(other, Rep):
            return NotImplemented
        if self.group != other.group:
            from .external import outer

            return outer(self, other)
        return self._with(self.group, [(U * W, a * c) for U, a in self.terms for W, c in other.terms])

    def __pow__(self, power: int) -> "Rep":
        if not isinstance(power, int) or power < 0:
            raise ValueError(f"({self})**{power}: the power must be an integer of at least 0")
        out: Rep = Rep(self.group, [(Product(), 1)])
        for _ in range(power):
            out = out * self
        return self._with(self.group, out.terms)

    @property
    def dual(self) -> "Rep":
        """The contragredient representation; an orthogonal one is its own dual."""
        return self._with(self.group, [(W.dual, c) for W, c in self.terms])

    def merged(self) -> tuple["Rep", Tensor]:
        """Collect equal terms in order of first appearance: the Rep, and the index with x_merged = x[..., index]."""
        counts: dict[Product, int] = {}
        for W, c in self.terms:
            counts[W] = counts.get(W, 0) + c
        entries = self.split(torch.arange(self.dim))
        index = [
            torch.cat([block for (V, _), block in zip(self.terms, entries) if V == W], -1).reshape(-1) for W in counts
        ]
        index = torch.cat(index) if index else torch.zeros(0, dtype=torch.int64)
        return self._with(self.group, list(counts.items())), index

    def restrict(self, group: Group, embed: Callable[[Element], Element] | None = None) -> "Rep":
        """The representation of a subgroup: same space, layout and matrices.

        `embed` computes an element of this group from one of `group`, batched; without it the standard embedding
        (`groups.embedding`). Raises ValueError where there is none, or where `embed` is no homomorphism.
        """
        from .induced import restrict

        return restrict(self, group, embed)

    def induce(self, group: Group, embed: Callable[[Element], Element] | None = None) -> "Rep":
        """The representation of a larger group in which this one sits once for each coset: blocks [..., r, d, c].

        See `reps.Induced` for the order of cosets. Raises ValueError where the index is infinite.
        """
        from .induced import induce

        return induce(self, group, embed)

    # --- data

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless the trailing dimension of x is `dim`."""
        if x.ndim == 0 or x.shape[-1] != self.dim:
            got = f"trailing dimension {x.shape[-1]}" if x.ndim else "no axis"
            raise ValueError(f"{self!r} has dimension {self.dim}, the data has {got}")

    def split(self, x: Float[Tensor, "*batch dim"]) -> list[Tensor]:
        """The blocks of x as views `[..., *W.shape, c]`, one for each term."""
        self.check(x)
        sizes = [W.dim * c for W, c in self.terms]
        blocks = x.split(sizes, -1) if sizes else []
        return [block.unflatten(-1, (*W.shape, c)) for block, (W, c) in zip(blocks, self.terms)]

    def join(self, blocks: Sequence[Tensor]) -> Float[Tensor, "*batch dim"]:
        """The flat feature of blocks `[..., *W.shape, c]`: the inverse of `split`."""
        if len(blocks) != len(self.terms):
            raise ValueError(f"{self!r} has {len(self.terms)} terms, got {len(blocks)} blocks")
        for block, (W, c) in zip(blocks, self.terms):
            if block.shape[-len(W.shape) - 1 :] != (*W.shape, c):
                raise ValueError(f"{self!r}: the block of {c}*{W} ends in {(*W.shape, c)}, got {tuple(block.shape)}")
        if not blocks:
            return torch.zeros(0)
        return torch.cat([block.flatten(-len(W.shape) - 1) for block, (W, _) in zip(blocks, self.terms)], -1)

    def randn(self, *batch: int, generator: torch.Generator, dtype=torch.float32, device=None) -> Tensor:
        """A feature of independent standard normal entries, [*batch, dim]."""
        x = torch.randn(*batch, self.dim, generator=generator, dtype=dtype, device=generator.device)
        return x.to(device) if device is not None else x

    # --- the action

    def act(self, g: Element, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """g·x, axis by axis: never the dense matrix. An unbatched x is spread over a batch of elements."""
        self.check(x)
        batch = self.group.batch_shape(g)
        if x.ndim == 1:
            x = x.expand(*batch, self.dim)
        check_batch(self, batch, x.shape[:-1])
        if not self.terms:
            return x
        matrices: dict[Factor, Tensor] = {}
        blocks = []
        for (W, _), block in zip(self.terms, self.split(x)):
            for axis, factor in enumerate(W.factors):
                if factor not in matrices:
                    matrices[factor] = (
                        factor.permutation(g).to(x.device)
                        if factor.is_permutation
                        else factor.matrix(g).to(x.device, x.dtype)
                    )
                move = _gather if factor.is_permutation else _multiply
                block = move(matrices[factor], block, len(batch), x.ndim - 1 + axis)
            blocks.append(block)
        return self.join(blocks)

    def algebra_act(self, X: Element, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """The derivative of exp(tX)·x at t = 0, for a Lie algebra element X; batched like `act`."""
        self.check(x)
        batch = self.group.algebra_batch_shape(X)
        if x.ndim == 1:
            x = x.expand(*batch, self.dim)
        check_batch(self, batch, x.shape[:-1])
        blocks = []
        for (W, _), block in zip(self.terms, self.split(x)):
            total = torch.zeros_like(block)
            for axis, factor in enumerate(W.factors):
                M = factor.algebra(X).to(x.device, x.dtype)
                total = total + _multiply(M, block, len(batch), x.ndim - 1 + axis)
            blocks.append(total)
        return self.join(blocks) if blocks else x

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64, *, force: bool = False) -> Tensor:
        """The dense matrix of g, [..., dim, dim]. Raises ValueError above dimension 4096 unless `force`."""
        self._guard(force)
        batch = self.group.batch_shape(g)
        columns = torch.eye(self.dim, dtype=dtype, device=self.group.device_of(g))
        return self.act(g, columns.expand(*batch, self.dim, self.dim)).mT

    def algebra_matrix(self, X: Element, dtype: torch.dtype = torch.float64, *, force: bool = False) -> Tensor:
        """The dense matrix of a Lie algebra element, [..., dim, dim]; refuses like `matrix`."""
        self._guard(force)
        batch = self.group.algebra_batch_shape(X)
        columns = torch.eye(self.dim, dtype=dtype, device=self.group.device_of(X))
        return self.algebra_act(X, columns.expand(*batch, self.dim, self.dim)).mT

    def permutation(self, g: Element) -> Int[Tensor, "*batch dim"]:
        """The image of each entry, int64 [..., dim]. Raises ValueError unless `is_permutation`."""
        if not self.is_permutation:
            raise ValueError(f"{self!r} does not permute its entries")
        return self.act(g, torch.arange(self.dim, device=self.group.device_of(g))).argsort(-1)

    def _guard(self, force: bool) -> None:
        if self.dim > MAX_MATRIX_DIM and not force:
            raise ValueError(
                f"{self!r} has dimension {self.dim}: a dense matrix above {MAX_MATRIX_DIM} is refused; "
                "use act(), or force=True"
            )

    def character(self, g: Element) -> Tensor:
        """The trace of g, [...], as a product over factors: no matrix of the whole representation is built."""
        traces: dict[Factor, Tensor] = {}
        total = torch.zeros(self.group.batch_shape(g), dtype=torch.float64, device=self.group.device_of(g))
        for W, c in self.terms:
            term = torch.full_like(total, c)
            for factor in W.factors:
                if factor not in traces:
                    traces[factor] = _trace(factor, g)
                term = term * traces[factor]
            total = total + term
        return total


def _trace(factor: Factor, g: Element) -> Tensor:
    if factor.is_permutation:
        p = factor.permutation(g)
        return (p == torch.arange(factor.dim, device=p.device)).sum(-1)
    return factor.matrix(g).diagonal(dim1=-2, dim2=-1).sum(-1)


def _multiply(M: Tensor, block: Tensor, batch_ndim: int, axis: int) -> Tensor:
    """Matrices [*batch, d, d] along one axis of a block whose first batch_ndim axes are the batch."""
    shape = block.shape
    before = math.prod(shape[batch_ndim:axis])
    after = math.prod(shape[axis + 1 :])
    folded = block.reshape(*shape[:batch_ndim], before, shape[axis], after)
    return (M.unsqueeze(-3) @ folded).reshape(shape)


def _gather(p: Tensor, block: Tensor, batch_ndim: int, axis: int) -> Tensor:
    """Move component i of one axis to p[i]."""
    source = p.argsort(-1)
    if batch_ndim == 0:
        return block.index_select(axis, source)
    index = source.reshape(*p.shape[:-1], *[1] * (axis - batch_ndim), p.shape[-1], *[1] * (block.ndim - axis - 1))
    return block.gather(axis, index.expand(block.shape))
