"""How one group sits inside another: what restriction and induction of representations are taken along."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from .finite import ListedImages, PermutingGroup, Trivial
from .generated import MatrixGroup
from .group import Element, Group
from .matrix import SO, LinearGroup, O
from .noncompact import Lorentz, Sp
from .polygon import Cyclic, Dihedral
from .product import DirectProduct, parts
from .unitary import U, complex_form, real_form


@dataclass(frozen=True, eq=False)
class Embedding:
    """A homomorphism `source -> target`; called on elements of the source, batched in front.

    `name` is empty for the standard embedding of a pair of groups; otherwise it is computed from the images of the
    generators, so that two functions which agree there, and hence everywhere, are one embedding in every process.
    """

    source: Group
    target: Group
    function: Callable[[Element], Element]
    name: str = ""

    def __call__(self, h: Element) -> Element:
        """The image of h in the target."""
        return self.function(h)

    def algebra(self, X: Element) -> Element:
        """The differential at the identity: the image of a Lie algebra element of the source in the target's."""
        batch, directions = self.source.algebra_batch_shape(X), _members(self.source, X)
        points = [
            point.to(X.device) if not point.is_floating_point() else point.to(X, copy=True).requires_grad_()
            for point, X in zip(_members(self.source, self.source.identity(*batch)), directions)
        ]  # a finite member, made of integers, does not move
        with torch.enable_grad():
            image = self(tuple(points) if isinstance(self.source, DirectProduct) else points[0])
            tangents = [
                _push(part, points, directions).detach()
                if part.is_floating_point()
                else directions[0].new_zeros(*batch, group.dim_V, group.dim_V)
                for group, part in zip(parts(self.target), _members(self.target, image))
            ]
        return tuple(tangents) if isinstance(self.target, DirectProduct) else tangents[0]

    @property
    def keeps_V(self) -> bool:
        """Whether V of the target, restricted, is V of the source: the standard embedding on the same space."""
        products = isinstance(self.source, DirectProduct) or isinstance(self.target, DirectProduct)
        turns = isinstance(self.source, Cyclic | Dihedral) and isinstance(self.target, LinearGroup)  # V are the corners
        moves = isinstance(self.source, U) and isinstance(self.target, Sp)  # real parts first, or pair by pair
        return not (self.name or products or turns or moves) and self.source.dim_V == self.target.dim_V

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Embedding) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return f"{self.source} in {self.target}" + (f" by {self.name}" if self.name else "")


def embedding(source: Group, target: Group, function: Callable[[Element], Element] | None = None) -> Embedding:
    """The standard embedding of one group in another, or the homomorphism that `function` computes.

    Standard are: permutations of n points among those of more (the rest stay); rotations of an n-gon among those of a
    kn-gon, and in the plane, SO(2) or O(2); matrix and permutation groups, and products of them, on the first
    coordinates of a larger space (in Lorentz(p, q): O and SO on the last q; in U(n) the first complex coordinates, O
    and SO by real matrices); U(n) and SU(n) in Sp(2n), pair by pair; a member of a product; the same group.
    Raises ValueError where none is standard, or where `function` is no homomorphism.
    """
    if isinstance(function, Embedding) and (function.source, function.target) == (source, target):
        return function
    standard = _standard(source, target)
    if function is None:
        if standard is None:
            raise ValueError(f"{source} has no standard embedding in {target}: pass a function of its elements, embed=")
        return standard
    try:
        given = Embedding(source, target, function, "custom")
        sound = _is_homomorphism(given)
    except (RuntimeError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"embed: the function does not take elements of {source} to {target}: {error}") from error
    if not sound:
        raise ValueError(f"embed: the function is not a homomorphism from {source} to {target}")
    images = _fingerprint(given)
    if standard is not None and images == _fingerprint(standard):
        return standard
    return Embedding(source, target, function, f"#{images}")


def _members(group: Group, g: Element) -> tuple[Tensor, ...]:
    return g if isinstance(group, DirectProduct) else (g,)


def _push(image: Tensor, points: list[Tensor], directions: tuple[Tensor, ...]) -> Tensor:
    """The derivative of the image as the points move in the given directions.

    By two backward passes: the gradient is linear in its cotangent, and the derivative of that is the one forward.
    """
    moving = [(point, X) for point, X in zip(points, directions) if point.requires_grad]
    if not image.requires_grad:
        return torch.zeros_like(image)
    cotangent = torch.zeros_like(image).requires_grad_()
    back = torch.autograd.grad(
        image, [point for point, _ in moving], cotangent, create_graph=True, allow_unused=True, materialize_grads=True
    )
    paired = sum((gradient * X).sum() for gradient, (_, X) in zip(back, moving))
    return torch.autograd.grad(paired, cotangent)[0]


def _close(group: Group, a: Element, b: Element) -> bool:
    return all(
        x.shape == y.shape and bool(((x - y).abs() <= 1e-6).all())
        for x, y in zip(_members(group, a), _members(group, b))
    )


def _is_homomorphism(candidate: Embedding) -> bool:
    source, target = candidate.source, candidate.target
    generator = torch.Generator().manual_seed(0)
    g, h = source.sample(16, generator=generator), source.sample(16, generator=generator)
    image = candidate(g)
    return (
        target.contains(image)
        and target.batch_shape(image) == (16,)
        and _close(target, candidate(source.compose(g, h)), target.compose(image, candidate(h)))
        and _close(target, candidate(source.take(g, 0)), target.take(image, 0))
    )


def _fingerprint(candidate: Embedding) -> str:
    """A text computed from the images of generators and Lie algebra, which determine a homomorphism."""
    source, target = candidate.source, candidate.target
    images = (
        *_members(target, candidate(source.generators())),
        *_members(target, candidate.algebra(source.lie_algebra())),
    )
    digest = hashlib.blake2s(digest_size=6)
    for image in images:
        digest.update((image.double() * 1e6).round().long().numpy().tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _standard(source: Group, target: Group) -> Embedding | None:
    function = _rule(source, target)
    return None if function is None else Embedding(source, target, function)


def _rule(source: Group, target: Group) -> Callable[[Element], Element] | None:
    if source == target:
        return lambda h: h
    if isinstance(source, Trivial):
        return lambda h: target.to(target.identity(*h.shape), h.device)
    if isinstance(target, DirectProduct):
        places = [i for i, member in enumerate(target.factors) if member == source]
        return _into_member(target, places[0], source) if len(places) == 1 else None
    polygons = isinstance(source, Cyclic | Dihedral)
    if polygons and isinstance(target, Cyclic | Dihedral):
        return _into_polygon(source, target)
    if polygons and not isinstance(target, PermutingGroup):
        turns = target == O(2) or (target == SO(2) and isinstance(source, Cyclic))
        return (lambda h: _plane(source, h)) if turns else None
    if isinstance(target, ListedImages) and source.is_permutation:
        return _into_permutations(source, target)
    if isinstance(target, U) or (isinstance(target, Sp) and isinstance(source, U)):
        return _into_unitary(source, target)
    if isinstance(target, LinearGroup) and not isinstance(target, MatrixGroup):  # whose members cannot be recognised
        return _into_matrices(source, target)
    return None


def _into_member(target: DirectProduct, place: int, source: Group) -> Callable[[Element], Element]:
    def function(h: Element) -> Element:
        g = target.to(target.identity(*source.batch_shape(h)), source.device_of(h))
        return (*g[:place], h, *g[place + 1 :])

    return function


def _into_polygon(source: Group, target: Group) -> Callable[[Tensor], Tensor] | None:
    if target.n % source.n or (isinstance(source, Dihedral) and isinstance(target, Cyclic)):
        return None
    step = target.n // source.n
    if isinstance(source, Dihedral):
        return lambda h: torch.stack([h[..., 0], step * h[..., 1]], -1)
    if isinstance(target, Dihedral):
        return lambda h: torch.stack([torch.zeros_like(h), step * h], -1)
    return lambda h: step * h


def _plane(source: Cyclic | Dihedral, h: Tensor) -> Float[Tensor, "... 2 2"]:
    """r -> rotation by 2 pi / n, f -> diag(1, -1)."""
    flips, turns = h.unbind(-1) if isinstance(source, Dihedral) else (torch.zeros_like(h), h)
    angle = 2 * torch.pi * turns.double() / source.n
    c, s, sign = angle.cos(), angle.sin(), 1 - 2 * flips
    return torch.stack([torch.stack([c, -s * sign], -1), torch.stack([s, c * sign], -1)], -2)


def _faithful(source: Group) -> bool:
    """Whether V tells all elements apart: the vertices of a one- or two-sided polygon do not."""
    return all(not isinstance(member, Dihedral) or member.n > 2 for member in parts(source))


def _into_permutations(source: Group, target: ListedImages) -> Callable[[Element], Tensor] | None:
    members = parts(source)
    sizes = [member.dim_V for member in members]
    if sum(sizes) > target.n or not _faithful(source):
        return None

    def function(h: Element) -> Tensor:
        images, start = [], 0
        for member, part in zip(members, _members(source, h)):
            images.append(start + member.permutation(part))
            start += member.dim_V
        rest = torch.arange(start, target.n, device=images[0].device)
        return torch.cat([*images, rest.expand(*images[0].shape[:-1], -1)], -1)

    return function if target.contains(function(source.generators())) else None


def _into_unitary(source: Group, target: U | Sp) -> Callable[[Tensor], Tensor] | None:
    """Complex matrices on the first coordinates of C^n; a real one is complex without imaginary part."""
    n = target.dim_V // 2
    if not isinstance(source, U | O) or source.n > n:
        return None

    def function(h: Tensor) -> Tensor:
        small = complex_form(h) if isinstance(source, U) else torch.complex(h, torch.zeros_like(h))
        u = torch.eye(n, dtype=small.dtype, device=h.device).repeat(*h.shape[:-2], 1, 1)
        u[..., : source.n, : source.n] = small
        g = real_form(u)
        if isinstance(target, U):
            return g
        return (
            g.unflatten(-1, (2, n))
            .unflatten(-3, (2, n))
            .transpose(-1, -2)
            .transpose(-3, -4)
            .flatten(-2)
            .flatten(-3, -2)
        )

    samples = source.sample(4, generator=torch.Generator().manual_seed(0))
    return function if target.contains(function(samples)) and target.contains(function(source.generators())) else None


def _into_matrices(source: Group, target: LinearGroup) -> Callable[[Element], Tensor] | None:
    members = parts(source)
    n, total = target.dim_V, sum(member.dim_V for member in members)
    known = all(isinstance(member, LinearGroup | ListedImages) for member in members)
    if total > n or not known:
        return None
    spatial = isinstance(target, Lorentz) and all(isinstance(member, O) for member in members)
    first = target.p if spatial else 0

    def function(h: Element) -> Tensor:
        matrices = [
            member.matrix(part, part.dtype if part.is_floating_point() else torch.float64)
            for member, part in zip(members, _members(source, h))
        ]
        g = torch.eye(n, dtype=matrices[0].dtype, device=matrices[0].device).repeat(*matrices[0].shape[:-2], 1, 1)
        start = first
        for matrix in matrices:
            stop = start + matrix.shape[-1]
            g[..., start:stop, start:stop] = matrix
            start = stop
        return g

    if first + total > n or not target.contains(function(source.generators())):
        return None
    flows = _members(source, source.lie_algebra())
    path = tuple(
        torch.linalg.matrix_exp(0.7 * X) if isinstance(member, LinearGroup) else member.identity(len(X))
        for member, X in zip(members, flows)
    )
    reached = function(path if isinstance(source, DirectProduct) else path[0])
    return function if target.contains(reached) else None
