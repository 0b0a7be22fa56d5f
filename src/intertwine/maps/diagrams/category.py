"""Diagrams: the one combinatorial object behind every closed-form layer, with its tensor product, transpose and text.

A diagram of l output points (top row, 0..l-1) and k input points (bottom row, l..l+k-1) groups the points into blocks
and stands for a map (R^n)^(⊗k) → (R^n)^(⊗l) for every n; `functor` writes that map down, `compose` multiplies two.
"""

import re
from dataclasses import dataclass

KINDS = {
    "partition": "any blocks: a block is 1 where its indices agree (S_n)",
    "jellyfish": "a partition, some blocks tied to the n legs of one head: the sign of their values (A_n)",
    "brauer": "pairs: the metric or a Kronecker delta (O(n), Lorentz)",
    "brauer+free": "pairs, and n free points tied to one head: the sign of their indices (SO(n))",
    "symplectic": "pairs with the symplectic form, left point first (Sp(n))",
    "oriented": "pairs that join a vector index to a covector index (GL(n))",
    "determinant": "such pairs, and starred blocks of n indices of one type: the sign of their values (SL(n))",
    "unitary": "pairs: a Kronecker delta, or if starred the complex structure, left point first (U(n))",
}
HEADED = ("jellyfish", "brauer+free")
STARRED = ("determinant", "unitary")  # here `head` marks blocks, each on its own
FAMILY = {"jellyfish": "partition", "brauer+free": "brauer"}  # the category a headed kind belongs to
SPARE = -1  # a leg of the head that ends nowhere: its index is summed


@dataclass(frozen=True)
class Diagram:
    """A diagram with l top points and k bottom points; points 0..l-1 are on top, l..l+k-1 below.

    blocks: disjoint, covering all points, each ascending, sorted by smallest point (sorted for you without a head).
    kind: a key of `KINDS`. head: positions in `blocks` of the blocks tied to the head, ascending, one for each leg; a
    last entry -1 is a leg whose index is summed; the number of legs is n. For `STARRED` kinds: positions of the starred
    blocks. Raises ValueError for anything else.
    Source: arXiv:2304.14144, section 3.
    """

    l: int
    k: int
    blocks: tuple[tuple[int, ...], ...]
    kind: str = "partition"
    head: tuple[int, ...] = ()

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"Diagram: kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.l < 0 or self.k < 0:
            raise ValueError(f"Diagram: numbers of points must not be negative, got l={self.l}, k={self.k}")
        blocks = tuple(tuple(sorted(block)) for block in self.blocks)
        if not self.head:
            blocks = tuple(sorted(blocks))
        object.__setattr__(self, "blocks", blocks)
        self._check()

    def _check(self) -> None:
        points = [p for block in self.blocks for p in block]
        if not all(self.blocks) or sorted(points) != list(range(self.l + self.k)):
            raise ValueError(
                f"Diagram: blocks {self.blocks} do not partition the points 0..{self.l + self.k - 1} "
                f"of {self.l} outputs and {self.k} inputs"
            )
        if list(self.blocks) != sorted(self.blocks):
            raise ValueError(f"Diagram: with a head, sort the blocks by smallest point; got {self.blocks}")
        if bool(self.head) != (self.kind in HEADED) and self.kind not in STARRED:
            raise ValueError(f"Diagram: kind {self.kind!r} and head {self.head} do not fit: see KINDS")
        tied = self.head[:-1] if self.head[-1:] == (SPARE,) else self.head
        if list(tied) != sorted(set(tied)) or not all(0 <= i < len(self.blocks) for i in tied):
            raise ValueError(f"Diagram: head {self.head} must list blocks 0..{len(self.blocks) - 1}, ascending")
        free = [block for i, block in enumerate(self.blocks) if i not in tied]
        if not self.is_partition:
            marked = [self.blocks[i] for i in tied]
            size = {"unitary": 2, "determinant": len(marked[0]) if marked else 0}.get(self.kind, 1)
            wrong = [b for b in free if len(b) != 2] + [b for b in marked if len(b) != size]
            if wrong or SPARE in self.head:
                raise ValueError(f"Diagram: kind {self.kind!r} is made of {KINDS[self.kind]}; not of {wrong}")

    # --- structure

    @property
    def is_partition(self) -> bool:
        """Whether blocks may have any size."""
        return self.kind in ("partition", "jellyfish")

    @property
    def family(self) -> str:
        """The kind without a head: diagrams of one family compose."""
        return FAMILY.get(self.kind, self.kind)

    @property
    def through(self) -> tuple[tuple[int, ...], ...]:
        """Blocks with points in both rows."""
        return tuple(b for b in self.blocks if b[0] < self.l <= b[-1])

    @property
    def top_only(self) -> tuple[tuple[int, ...], ...]:
        """Blocks with output points only."""
        return tuple(b for b in self.blocks if b[-1] < self.l)

    @property
    def bottom_only(self) -> tuple[tuple[int, ...], ...]:
        """Blocks with input points only."""
        return tuple(b for b in self.blocks if b[0] >= self.l)

    @property
    def T(self) -> "Diagram":
        """The transpose: rows exchanged, so that the map is transposed (for Sp up to (-1)^(horizontal pairs); with a
        head up to the sign of `transpose_sign`)."""
        swapped = [tuple(sorted(p + self.k if p < self.l else p - self.l for p in block)) for block in self.blocks]
        order = sorted(range(len(swapped)), key=swapped.__getitem__)
        head = sorted(order.index(i) for i in self.head if i != SPARE)
        head += [SPARE] * (SPARE in self.head)
        return Diagram(self.k, self.l, tuple(swapped[i] for i in order), self.kind, tuple(head))

    @property
    def transpose_sign(self) -> int:
        """The sign s with F(d.T) = s F(d)^T: legs of a head are counted from the top, and pairs of Sp change sign."""
        if self.kind == "symplectic":
            return (-1) ** (len(self.top_only) + len(self.bottom_only))
        if self.kind in STARRED:  # the rows of each starred block change places, each row keeps its order
            sides = [sum(p < self.l for p in self.blocks[i]) for i in self.head]
            return (-1) ** sum(a * (len(self.blocks[i]) - a) for a, i in zip(sides, self.head))
        swapped = [min(p + self.k if p < self.l else p - self.l for p in self.blocks[i]) for i in self.head if i >= 0]
        return sign_of(swapped)

    def __or__(self, other: "Diagram") -> "Diagram":
        return tensor(self, other)

    def __matmul__(self, other):
        from .composition import FormalSum  # composition is built on this file

        return FormalSum.of(self) @ other

    # --- text and pictures

    def _repr_svg_(self) -> str:
        from .draw import svg

        return svg(self)

    def __str__(self) -> str:
        return self.ascii()

    def ascii(self) -> str:
        """One line, for example `partition 1-1' 2 2'`: outputs are 1, 2, .., inputs 1', 2', .., a block joins points
        by '-', a star ties it to the head, a lone star is a leg that is summed. `parse` reads it back."""

        def name(point: int) -> str:
            return f"{point + 1}" if point < self.l else f"{point - self.l + 1}'"

        words = ["-".join(map(name, block)) + "*" * (i in self.head) for i, block in enumerate(self.blocks)]
        return " ".join([self.kind, *words, *["*"] * (SPARE in self.head)])


def sign_of(values) -> int:
    """Sign of the permutation that sorts distinct values."""
    values = list(values)
    return (-1) ** sum(a > b for i, a in enumerate(values) for b in values[i + 1 :])


def parse(text: str) -> Diagram:
    """The diagram that `Diagram.ascii` wrote. Raises ValueError for any other text."""
    kind, *words = text.split() or [""]
    blocks, tied, spare = [], set(), 0
    for word in words:
        if word == "*":
            spare += 1
            continue
        points = word.removesuffix("*").split("-")
        if not all(re.fullmatch(r"[1-9]\d*'?", point) for point in points):
            raise ValueError(f"parse: {word!r} in {text!r} is no block; write points as 1, 2, 1', 2' joined by '-'")
        if word.endswith("*"):
            tied.add(len(blocks))
        blocks.append([(point.endswith("'"), int(point.removesuffix("'")) - 1) for point in points])
    l = 1 + max((p for block in blocks for below, p in block if not below), default=-1)
    k = 1 + max((p for block in blocks for below, p in block if below), default=-1)
    blocks = [tuple(sorted(l * below + p for below, p in block)) for block in blocks]
    order = sorted(range(len(blocks)), key=blocks.__getitem__)
    head = [i for i, old in enumerate(order) if old in tied] + [SPARE] * spare
    return Diagram(l, k, tuple(blocks[i] for i in order), kind, tuple(head))


# --- small diagrams and the tensor product


def tensor(first: Diagram, second: Diagram) -> Diagram:
    """The tensor product: `second` to the right of `first` (`first | second`).

    Raises ValueError for diagrams of different categories, and for two heads: that product is a sum of diagrams, which
    `(first | identity(second.l)) @ (identity(first.k) | second)` computes.
    """
    if first.family != second.family:
        raise ValueError(f"tensor: {first.kind} and {second.kind} are different categories")
    if first.head and second.head and first.kind not in STARRED:
        raise ValueError("tensor: two heads multiply to a sum of diagrams; write (a | identity) @ (identity | b)")
    l, k = first.l + second.l, first.k + second.k
    left = [tuple(p if p < first.l else p + second.l for p in block) for block in first.blocks]
    right = [tuple(p + first.l if p < second.l else p + first.l + first.k for p in block) for block in second.blocks]
    blocks = left + right
    order = sorted(range(len(blocks)), key=blocks.__getitem__)
    legs = [i for i in first.head if i != SPARE] + [i + len(left) for i in second.head if i != SPARE]
    spare = SPARE in first.head + second.head
    head = tuple(sorted(order.index(i) for i in legs)) + (SPARE,) * spare
    kind = second.kind if second.head else first.kind
    return Diagram(l, k, tuple(blocks[i] for i in order), kind, head)


def identity(k: int, kind: str = "partition") -> Diagram:
    """The identity on k points."""
    return permutation(tuple(range(k)), kind)


def permutation(images: tuple[int, ...], kind: str = "partition") -> Diagram:
    """Bottom point i joined to top point images[i]."""
    k = len(images)
    return Diagram(k, k, tuple((image, k + i) for i, image in enumerate(images)), kind)


def swap(k: int, i: int, kind: str = "partition") -> Diagram:
    """Exchange of points i and i+1 out of k. Raises ValueError unless 0 <= i < k-1."""
    if not 0 <= i < k - 1:
        raise ValueError(f"swap: position {i} has no right neighbour among {k} points")
    return permutation((*range(i), i + 1, i, *range(i + 2, k)), kind)


def cup(kind: str = "brauer") -> Diagram:
    """No input, one pair of outputs."""
    return Diagram(2, 0, ((0, 1),), kind)


def cap(kind: str = "brauer") -> Diagram:
    """One pair of inputs, no output."""
    return Diagram(0, 2, ((0, 1),), kind)


def spider(l: int, k: int) -> Diagram:
    """All points in one block: 1 where all indices agree."""
    return Diagram(l, k, (tuple(range(l + k)),) if l + k else (), "partition")
