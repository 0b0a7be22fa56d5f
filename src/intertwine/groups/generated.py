"""Any group of matrices: one for which all that is known is what generates it, or how to draw from it."""

import hashlib
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .matrix import LinearGroup

Sampler = Callable[[int, torch.Generator], Tensor]
DRAWS = 8  # elements that stand for a group that only a sampler describes
SEED = 2104_09459  # of these draws: unusual, so that whoever checks them with a seed of 0 checks others
WORD = 6  # letters of a random word in the generators
SCALE = 0.3  # of a random Lie algebra element, so that samples of a non-compact group stay well conditioned


class MatrixGroup(LinearGroup):
    """The closed group of matrices that a Lie algebra [D, n, n] and discrete generators [r, n, n] generate.

    A `sampler(k, generator)` draws elements [k, n, n], float64; without one, random words in the generators are drawn,
    which are no Haar samples. With a sampler alone, eight fixed draws are the generators: they generate a compact group
    of few components with probability one, and the solver checks what it finds on others.
    Printed with a hash of its content, so that two groups with the same generators, or samplers with the same draws,
    are equal in every process. Membership cannot be decided from generators: `contains` checks what all elements share.
    Raises ValueError where nothing is given, shapes do not fit or a generator is singular.
    """

    def __init__(
        self,
        lie_algebra: Float[Tensor, "dim n n"] | None = None,
        generators: Float[Tensor, "count n n"] | None = None,
        sampler: Sampler | None = None,
    ):
        draws = None if sampler is None else _draw(sampler, DRAWS, torch.Generator().manual_seed(SEED))
        given = {"lie_algebra": lie_algebra, "generators": generators, "sampler": draws}
        given = {name: torch.as_tensor(M).detach().cpu().double() for name, M in given.items() if M is not None}
        if not given:
            raise ValueError("MatrixGroup: give a lie_algebra, generators or a sampler")
        n = _size(given)
        none = torch.zeros(0, n, n, dtype=torch.float64)
        object.__setattr__(self, "n", n)
        object.__setattr__(self, "_algebra", given.get("lie_algebra", none).clone())
        chosen = given.get("generators", draws if lie_algebra is None and draws is not None else none)
        object.__setattr__(self, "_generators", chosen.double().clone())
        object.__setattr__(self, "sampler", sampler)
        if (torch.linalg.det(self._generators).abs() < 1e-12).any():
            raise ValueError("MatrixGroup: a generator is singular, so it belongs to no group of matrices")
        digest = hashlib.blake2s(digest_size=4)
        for name, M in sorted(given.items()):
            digest.update(name.encode() + str(tuple(M.shape)).encode())
            digest.update((M * 1e6).round().long().numpy().tobytes())
        object.__setattr__(self, "_name", f"MatrixGroup({n}, #{digest.hexdigest()})")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{self} cannot be changed: make another MatrixGroup")

    def __str__(self) -> str:
        return self._name

    @property
    def is_orthogonal(self) -> bool:
        """Whether all generators keep the Euclidean norm."""
        g, X = self._generators, self._algebra
        turned = (g.mT @ g - torch.eye(self.n, dtype=g.dtype)).abs().max() if len(g) else 0.0
        return bool(turned < 1e-9) and bool((X + X.mT).abs().sum() < 1e-9)

    @property
    def is_compact(self) -> bool:
        """Whether the group is known to be compact: its closure is where it is orthogonal."""
        return self.is_orthogonal

    @property
    def is_connected(self) -> bool:
        return len(self._generators) == 0

    @property
    def is_abelian(self) -> bool:
        """Whether all that is given commutes."""
        M = torch.cat([self._algebra, self._generators])
        return bool(((M[:, None] @ M - M @ M[:, None]).abs() < 1e-9).all())

    def generators(self) -> Tensor:
        """Those given; with a sampler alone, eight fixed draws."""
        return self._generators

    def lie_algebra(self) -> Tensor:
        """The one given."""
        return self._algebra

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """Draws of the sampler; without one, random words in the generators and the flows; not Haar."""
        if self.sampler is not None:
            return _draw(self.sampler, k, generator).to(device, dtype)
        where = generator.device
        # a word may pause, or words in generators of even order would all be even
        pause = self.identity(min(1, len(self._generators)))
        letters = torch.cat([self._generators, torch.linalg.inv(self._generators), pause]).to(where)
        flows = self._algebra.to(where)
        g = self.identity(k).to(where)
        for _ in range(WORD if len(letters) else 1):
            if len(letters):
                g = g @ letters[torch.randint(len(letters), (k,), generator=generator, device=where)]
            if len(flows):
                weights = torch.randn(k, len(flows), generator=generator, dtype=torch.float64, device=where)
                g = g @ torch.linalg.matrix_exp(SCALE * torch.einsum("kd,dij->kij", weights, flows))
        return g.to(device, dtype)

    def inverse(self, g: Tensor) -> Tensor:
        return g.mT if self.is_orthogonal else torch.linalg.inv(g)

    def _inside(self, g: Tensor, tol: float) -> Tensor:
        if not self.is_orthogonal:
            return torch.linalg.det(g) != 0
        one = torch.eye(self.n, dtype=g.dtype, device=g.device)
        return ((g.mT @ g - one).abs() <= tol).all(-1).all(-1)


def _draw(sampler: Sampler, k: int, generator: torch.Generator) -> Tensor:
    drawn = sampler(k, generator)
    if not isinstance(drawn, Tensor) or drawn.ndim != 3 or drawn.shape[0] != k or drawn.shape[1] != drawn.shape[2]:
        shape = tuple(drawn.shape) if isinstance(drawn, Tensor) else type(drawn).__name__
        raise ValueError(f"MatrixGroup: sampler({k}, generator) must give a tensor [{k}, n, n], got {shape}")
    return drawn.double()


def _size(given: dict[str, Tensor]) -> int:
    """The common n of stacks of square matrices."""
    for name, M in given.items():
        if M.ndim != 3 or M.shape[1] != M.shape[2] or M.shape[1] == 0:
            raise ValueError(f"MatrixGroup: {name} must be a stack of square matrices [k, n, n], got {tuple(M.shape)}")
    sizes = {name: M.shape[1] for name, M in given.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"MatrixGroup: sizes differ: {', '.join(f'{name} has n={n}' for name, n in sizes.items())}")
    return next(iter(sizes.values()))
