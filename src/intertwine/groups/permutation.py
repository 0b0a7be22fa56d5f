"""Any group of permutations, given by generators: exact order, membership and sampling without listing its elements."""

import hashlib
import re

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from .chain import Chain, schreier_sims
from .finite import ListedImages
from .group import listable

LONGEST_NAME = 100  # a group whose generators take more characters prints a hash of them


class PermutationGroup(ListedImages):
    """The group that permutations of n points generate; elements as in S(n), listed in lexicographic order.

    generators: int64 [r, n], row i sends point j to generators[i, j]; r = 0 is the group of the identity. Or a text of
    disjoint cycles, `"(0 1 2)(3 4), (0 1)"`: one generator between commas, (5) where only n = 6 is meant. It prints
    its canonical strong generators, so equal groups are equal however they were given.
    Raises ValueError for rows that are no permutations. Source: the Schreier-Sims algorithm.
    """

    def __init__(self, generators: Int[Tensor, "r n"] | str):
        images = _cycles(generators) if isinstance(generators, str) else _images(generators)
        self._keep(schreier_sims(images))
        self._text = f"PermutationGroup({_name(self._chain)})"

    def _keep(self, chain: Chain) -> None:
        """Hold a chain as tensors: per level the carriers, and for each point its place among them (-1: none)."""
        self.n = chain.n
        self._chain = chain
        self._carriers = tuple(torch.from_numpy(carriers) for carriers in chain.carriers)
        self._places = []
        for orbit in chain.orbits:
            place = torch.full((chain.n,), -1)
            place[torch.from_numpy(orbit)] = torch.arange(len(orbit))
            self._places.append(place)

    def __str__(self) -> str:
        return self._text

    @property
    def order(self) -> int:
        return self._chain.order

    @property
    def is_abelian(self) -> bool:
        g = self.generators()
        return torch.equal(self.compose(g[:, None], g), self.compose(g, g[:, None]))

    def generators(self) -> Int[Tensor, "r n"]:
        """The canonical strong generators, fewer than n; not those it was built from."""
        return torch.from_numpy(self._chain.generators.copy())

    def transversals(self) -> tuple[Int[Tensor, "k n"], ...]:
        """Coset representatives along the chain of stabilisers of 0, 1, ..; each level starts with the identity.

        Every element is t_1 t_2 .. with one t from each level, in exactly one way.
        """
        return tuple(carriers.clone() for carriers in self._carriers)

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """Uniform elements: products of uniform coset representatives."""
        g = self.identity(k).to(device)
        for carriers in self._carriers:
            pick = torch.randint(len(carriers), (k,), generator=generator, device=generator.device)
            g = g.gather(-1, carriers.to(device)[pick.to(device)])
        return g

    def _elements(self) -> Tensor:
        g = self.identity(1)
        for carriers, place in zip(self._carriers, self._places):
            orbit = (place >= 0).nonzero()[:, 0]
            ordered = carriers[g[:, orbit].argsort(-1)]  # by the image of the base point
            g = g[:, None].expand_as(ordered).gather(-1, ordered).flatten(0, 1)
        return g

    def index(self, g: Tensor) -> Tensor:
        """The lexicographic rank."""
        listable(self)
        rank = torch.zeros(g.shape[:-1], dtype=torch.int64, device=g.device)
        prefix = self.identity().to(g.device).expand_as(g)
        for base, carriers, place in zip(self._chain.base, self._carriers, self._places):
            images = prefix[..., (place >= 0).nonzero()[:, 0].to(g.device)]
            aim = g[..., base, None]
            rank = rank * len(carriers) + (images < aim).sum(-1)
            prefix = prefix.gather(-1, carriers.to(g.device)[(images == aim).int().argmax(-1)])
        return rank

    def contains_each(self, g: Tensor, tol: float = 1e-6) -> Tensor:
        if g.shape[-1:] != (self.n,) or g.is_floating_point():
            return torch.zeros((), dtype=torch.bool)
        points = torch.arange(self.n, device=g.device)
        inside = (g.sort(-1).values == points).all(-1)
        rest = torch.where(inside[..., None], g, points)
        for base, carriers, place in zip(self._chain.base, self._carriers, self._places):
            found = place.to(g.device)[rest[..., base]]
            inside = inside & (found >= 0)
            back = carriers.argsort(-1).to(g.device)[found.clamp(min=0)]
            rest = back.gather(-1, rest)
        return inside & (rest == points).all(-1)

    def subgroup(self, generators: Int[Tensor, "r n"]) -> "PermutationGroup":
        """The group that some of the elements generate. Raises ValueError where they are no elements."""
        if not self.contains(generators):
            raise ValueError(f"subgroup: {generators.tolist()} are not all elements of {self}")
        return PermutationGroup(generators)


def _images(generators) -> np.ndarray:
    """Generators as an array [r, n] that holds permutations."""
    given = torch.as_tensor(generators)
    if given.ndim != 2 or given.shape[1] == 0:
        raise ValueError(
            f"PermutationGroup: generators have shape {tuple(given.shape)}, they must be [r, n] with n at least 1; "
            "for the group of the identity on n points give torch.zeros(0, n, dtype=torch.int64)"
        )
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise ValueError(f"PermutationGroup: generators are images of points, int64, got {given.dtype}")
    images = given.cpu().numpy().astype(np.int64)
    wrong = (np.sort(images, 1) != np.arange(images.shape[1])).any(1)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"PermutationGroup: generator {row} is {images[row].tolist()}, no permutation of 0..{images.shape[1] - 1}"
        )
    return images


def _cycles(text: str) -> np.ndarray:
    """Generators from disjoint cycles."""
    if not re.fullmatch(r"\s*(\(\s*\d+(\s+\d+)*\s*\)[\s,]*)+", text):
        raise ValueError(f"PermutationGroup: {text!r} is not made of cycles such as '(0 1 2)(3 4), (0 1)'")
    cycles = [[re.findall(r"\d+", cycle) for cycle in re.findall(r"\(([^)]*)\)", one)] for one in text.split(",")]
    cycles = [[[int(point) for point in cycle] for cycle in one] for one in cycles if one]
    n = 1 + max(point for one in cycles for cycle in one for point in cycle)
    images = np.tile(np.arange(n), (len(cycles), 1))
    for image, one in zip(images, cycles):
        points = [point for cycle in one for point in cycle]
        if len(set(points)) < len(points):
            raise ValueError(f"PermutationGroup: the cycles of one generator must be disjoint, got {text!r}")
        for cycle in one:
            image[cycle] = cycle[1:] + cycle[:1]
    return images


def _name(chain: Chain) -> str:
    """The canonical generators as cycles, which reads back; too long, their number of points and a hash."""
    texts = [_as_cycles(image) for image in chain.generators]
    if not any(f"{chain.n - 1}" in re.findall(r"\d+", text) for text in texts):
        texts = [*texts[:-1], texts[-1] + f"({chain.n - 1})"] if texts else [f"({chain.n - 1})"]
    text = ", ".join(texts)
    if len(text) <= LONGEST_NAME:
        return f"'{text}'"
    digest = hashlib.blake2s(chain.generators.astype("<i8").tobytes(), digest_size=8).hexdigest()
    return f"{chain.n} points, #{digest}"


def _as_cycles(image: np.ndarray) -> str:
    seen: set[int] = set()
    text = ""
    for start in np.flatnonzero(image != np.arange(len(image))).tolist():
        cycle, point = [], start
        while point not in seen:
            seen.add(point)
            cycle.append(point)
            point = int(image[point])
        text += f"({' '.join(map(str, cycle))})" if cycle else ""
    return text
