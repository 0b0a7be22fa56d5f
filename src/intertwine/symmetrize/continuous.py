"""A rotation for each input, made of vectors that a network gives: the continuous canonicalizer."""

import warnings
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..groups import SO, Group, O
from ..groups.group import Element
from ..groups.matrix import SE, E
from ..reps import Action
from .average import Elements, ElementSource, Guarantee
from .cloud import CloudReader, Weights
from .fold import batch_size
from .orthogonalise import gram_schmidt, polar


class ContinuousCanonicalizer(ElementSource):
    """One element of SO(n), O(n), SE(n) or E(n) per sample, from n vectors that a network finds in it.

    net: from data to vectors, [batch, n, n] with one vector per row or [batch, n·n] as of the Rep n*V, that turn with
    the data; for SE(n) and E(n) it sees the data centred on the mean of its points, and `weights` counts those, see
    `PCAFrame`. The guarantee is "exact" for a net that declares its symmetry as layers of this package do (`rep_in`
    and `rep_out` of that group), else "approximate". orthogonalise: "svd", the nearest rotation, which treats the
    vectors alike; or "gram_schmidt", one after the other.

    Vectors that do not determine a rotation, to eps of their size (parallel, zero, or NaN), give one of those that fit,
    finite and with a finite gradient, but not equivariantly: `info["degenerate"]`, and with on_degenerate="warn" one
    warning per object with the count; "error" raises ValueError. `info` has the `rotation` too.
    Raises ValueError for another group. Source: arXiv:2310.01647.
    """

    work = "one pass of the network of vectors"

    def __init__(
        self,
        net: nn.Module,
        group: Group,
        *,
        orthogonalise: Literal["svd", "gram_schmidt"] = "svd",
        eps: float = 1e-8,
        on_degenerate: Literal["warn", "error"] = "warn",
        weights: Weights | None = None,
    ):
        super().__init__()
        if type(group) not in (O, SO, E, SE):
            raise ValueError(f"ContinuousCanonicalizer: needs SO(n), O(n), SE(n) or E(n), got {group}")
        if orthogonalise not in ("svd", "gram_schmidt"):
            raise ValueError(
                f"ContinuousCanonicalizer: orthogonalise must be 'svd' or 'gram_schmidt', got {orthogonalise!r}"
            )
        if on_degenerate not in ("warn", "error"):
            raise ValueError(f"ContinuousCanonicalizer: on_degenerate must be 'warn' or 'error', got {on_degenerate!r}")
        self.net, self.group, self.orthogonalise, self.eps = net, group, orthogonalise, eps
        self.on_degenerate, self.weights, self._warned = on_degenerate, weights, False
        self.linear = group.linear if isinstance(group, E) else group

    @property
    def guarantee(self) -> Guarantee:
        """Exact where the network of vectors declares the symmetry."""
        declared = [getattr(getattr(self.net, name, None), "group", None) for name in ("rep_in", "rep_out")]
        return "exact" if all(group in (self.group, self.linear) for group in declared) else "approximate"

    @property
    def calls(self) -> tuple[float, int]:
        """1."""
        return 1.0, 1

    def bind(self, rep_in: Action, rep_out: Action) -> None:
        """For SE(n) and E(n), find the points of the data."""
        super().bind(rep_in, rep_out)
        if isinstance(self.group, E):
            self.reader = CloudReader(self.group, rep_in, self.weights)

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Elements:
        """The element that carries the canonical pose to the sample's."""
        shift = None
        if isinstance(self.group, E):
            shift = self.reader(x).shift
            x = self.rep_in(self.group.element(torch.eye(self.group.n).to(shift).expand(len(shift), -1, -1), -shift), x)
        R, degenerate = self._rotation(self._vectors(x))
        g = self.group.element(R.to(shift), shift) if shift is not None else R
        if (self.on_degenerate == "error" or not torch.compiler.is_compiling()) and bool(degenerate.any()):
            self._report(int(degenerate.sum()), len(R))
        mask = torch.ones(len(R), 1, dtype=torch.bool, device=R.device)
        return Elements.uniform(g[:, None], mask, {"rotation": R.clone(), "degenerate": degenerate})

    def prior_loss(self, info: dict[str, Tensor]) -> Float[Tensor, ""]:
        """Mean squared entry of R - 1: the training data is in the pose to be kept."""
        R = info["rotation"]
        return (R - torch.eye(R.shape[-1], dtype=R.dtype, device=R.device)).square().mean()

    def identity_metric(self, info: dict[str, Tensor]) -> Float[Tensor, ""]:
        """1 less the mean squared entry of R - 1."""
        return 1 - self.prior_loss(info).detach()

    def alignment(self, x: Any, h: Element) -> Float[Tensor, ""]:
        """1 less the mean squared entry of R(h·x) - h R(x): 1 where exact."""
        with torch.no_grad():
            before, after = self(x).info["rotation"], self(self.rep_in(h, x)).info["rotation"]
        turn = (self.group.linear_part(h) if isinstance(self.group, E) else h).to(before)
        return 1 - (after - turn @ before).square().mean()

    def _vectors(self, x: Any) -> Float[Tensor, "batch n n"]:
        """The network's vectors as columns."""
        out, B, n = self.net(x), batch_size(self.rep_in, x), self.group.n
        if out.shape == (B, n, n):
            return out.mT
        if out.shape == (B, n * n):
            return out.unflatten(1, (n, n))
        raise ValueError(
            f"ContinuousCanonicalizer: the network must give {n} vectors of {n} numbers per sample, [{B}, {n}, {n}], "
            f"got shape {tuple(out.shape)}"
        )

    def _rotation(self, M: Tensor) -> tuple[Tensor, Tensor]:
        make = polar if self.orthogonalise == "svd" else gram_schmidt
        return make(M, isinstance(self.linear, SO), self.eps)

    def _report(self, count: int, of: int) -> None:
        what = (
            f"ContinuousCanonicalizer: {count} of {of} samples have vectors that determine no rotation; "
            f"their outputs are finite but not equivariant"
        )
        if self.on_degenerate == "error":
            raise ValueError(what + ". Use on_degenerate='warn' to go on")
        if not self._warned:
            self._warned = True
            warnings.warn(what, stacklevel=3)

    def extra_repr(self) -> str:
        """The group and how vectors become a rotation."""
        return f"{self.group}, orthogonalise={self.orthogonalise!r}"
