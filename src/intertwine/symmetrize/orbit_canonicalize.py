"""Symmetry under groups without frames, such as the Lorentz group: a network learns a matrix near the group."""

import warnings
from collections.abc import Collection
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..groups import SL, Group
from ..reps import Action, Invariant, Nested, Points, Rep, Tensors, Vectors
from .average import Elements, ElementSource, Guarantee
from .canonicalize import Canonicalize
from .fold import batch_size, device_of, repeat
from .orbit import forms, gram, in_component, orbit_distance, orbit_invariants, retract, skew


class OrbitCanonicalize(Canonicalize):
    """Any model made symmetric under a group of matrices, with an element that a network learns to find.

    source: an `OrbitSource`, or the network of one, by default `ScalarGenerator(rep_in)`, without noise. Train with
    the task loss and `canonicalizer.orbit_loss(info)` of the info that `return_info=True` gives, weight 1 in the paper.
    The other arguments: see `Canonicalize`. Source: arXiv:2311.07143.
    """

    def __init__(
        self,
        model: nn.Module,
        rep_in: Action,
        rep_out: Action,
        source: "OrbitSource | nn.Module | None" = None,
        *,
        freeze_model: bool = False,
        chunk: int | None = None,
        invariant_args: Collection[int | str] = (),
    ):
        if source is None:
            source = ScalarGenerator(rep_in)
        if isinstance(source, nn.Module) and not isinstance(source, ElementSource):
            source = OrbitSource(source, rep_in.group)
        super().__init__(
            model, rep_in, rep_out, source, freeze_model=freeze_model, chunk=chunk, invariant_args=invariant_args
        )


class OrbitSource(ElementSource):
    """A matrix M(x, z) of a network with M(g·x, z) = g M(x, z), trained to be in the group; k of them per sample.

    net: called with the data and with noise z [batch, noise_dim], gives [batch, n, n] whose columns turn with the data:
    `ScalarGenerator`, or any network. group: of matrices that `orbit_invariants` knows, but S(n).
    z ~ N(0, noise_scale²), anew in each call; without noise φ is a function, and k must be 1.
    project: True, or "eval" in eval mode only, moves M onto the group by `retract`, which keeps equivariance. Samples
    for which it fails keep their M, which is what False does for all: M⁻¹x is then not x in another frame, but between
    invariants and tensors (products of V) φ stays equivariant, as g⁻¹ and ρ(g) are polynomials that make sense for any
    M. A model trained without projection may lose by it in eval mode: it sees other inputs then. For SL(n), and where M
    is not finite (for SL(n), not invertible), the identity is taken.
    `info` has `orbit_distance` (of the power p, before projection), `excess` (mean of max(|M_ij| - bound, 0)),
    `off_group` (projection failed; all False without) and `component` (M is in the component of the group before
    projection) for each sample. One warning per object says for how many projection failed.

    The guarantee is "exact" while projecting or between tensors, "in expectation" with noise, for a net that declares
    its symmetry (`rep_in`, `rep_out`), else "approximate". Raises ValueError for another group, k or noise.
    """

    work = "k passes of the network of matrices"

    def __init__(
        self,
        net: nn.Module,
        group: Group,
        *,
        noise_dim: int = 1,
        noise_scale: float = 0.0,
        k: int = 1,
        project: bool | Literal["eval"] = "eval",
        p: Literal[1, 2] = 2,
        bound: float = 10.0,
    ):
        super().__init__()
        orbit_invariants(group)
        if group.is_permutation:
            raise ValueError(f"OrbitSource: the elements of {group} are not matrices; use SortFrame")
        if not isinstance(k, int) or k < 1 or (k > 1 and noise_scale == 0):
            raise ValueError(f"OrbitSource: k must be an integer of at least 1, and 1 without noise; got {k!r}")
        if project not in (True, False, "eval"):
            raise ValueError(f"OrbitSource: project must be True, False or 'eval', got {project!r}")
        if noise_dim < 0 or noise_scale < 0:
            raise ValueError(f"OrbitSource: noise_dim and noise_scale are ≥ 0, got {noise_dim} and {noise_scale}")
        self.net, self.group, self.k, self.project, self.p, self.bound = net, group, k, project, p, bound
        self.noise_dim, self.noise_scale, self._warned = noise_dim, noise_scale, False
        self.independent, self._tensors = noise_scale > 0, False

    def bind(self, rep_in: Action, rep_out: Action) -> None:
        """Note whether both Actions make sense for matrices that are not in the group."""
        super().bind(rep_in, rep_out)
        self._tensors = type(self.group) is not SL and _of_tensors(rep_in) and _of_tensors(rep_out)

    @property
    def projecting(self) -> bool:
        """Whether M is moved onto the group, in this mode."""
        return self.project is True or (self.project == "eval" and not self.training)

    @property
    def guarantee(self) -> Guarantee:
        """See the class."""
        declared = [getattr(getattr(self.net, name, None), "group", None) for name in ("rep_in", "rep_out")]
        if not (self.projecting or self._tensors) or any(group != self.group for group in declared):
            return "approximate"
        return "in expectation" if self.noise_scale > 0 else "exact"

    @property
    def calls(self) -> tuple[float, int]:
        """k."""
        return float(self.k), self.k

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Elements:
        """k matrices per sample, float64, with equal weights."""
        B, n, k = batch_size(self.rep_in, x), self.group.dim_V, self.k
        m = self.net(repeat(self.rep_in, x, k), self._noise(k * B, x, generator))
        if m.shape != (k * B, n, n):
            raise ValueError(f"OrbitSource: the network must give [{k * B}, {n}, {n}], got shape {tuple(m.shape)}")
        m = m.double().unflatten(0, (k, B)).transpose(0, 1)
        identity = torch.eye(n, dtype=m.dtype, device=m.device)
        usable = torch.isfinite(m).all(-1).all(-1)
        if type(self.group) is SL:
            usable = usable & (torch.linalg.det(torch.where(usable[..., None, None], m.detach(), identity)) != 0)
        m = torch.where(usable[..., None, None], m, identity)
        info = {
            "orbit_distance": orbit_distance(m, self.group, self.p).mean(1),
            "excess": (m.abs() - self.bound).clamp_min(0).mean((1, 2, 3)),
            "component": in_component(m, self.group).all(1),
            "off_group": ~usable.all(1),
        }
        if self.projecting:
            m, arrived = retract(m, self.group)
            if type(self.group) is SL:
                m = torch.where(arrived[..., None, None], m, identity)
            info["off_group"] = info["off_group"] | ~arrived.all(1)
        if not (self._warned or torch.compiler.is_compiling()) and bool(info["off_group"].any()):
            self._warned = True
            warnings.warn(
                f"OrbitSource: the matrices of {int(info['off_group'].sum())} of {B} samples are too far from "
                f"{self.group} to be moved onto it; they are used as they are",
                stacklevel=2,
            )
        return Elements.uniform(m, torch.ones(B, k, dtype=torch.bool, device=m.device), info)

    def orbit_loss(self, info: dict[str, Tensor]) -> Float[Tensor, ""]:
        """Mean distance from the group and mean excess of entries over the bound."""
        return (info["orbit_distance"] + info["excess"]).mean()

    def _noise(self, rows: int, x: Any, generator: torch.Generator | None) -> Float[Tensor, "rows noise_dim"]:
        like = next(self.net.parameters(), torch.zeros(()))
        shape, device = (rows, self.noise_dim), device_of(x)
        if self.noise_scale == 0:
            return torch.zeros(shape, dtype=like.dtype, device=device)
        source = device if generator is None else generator.device
        z = torch.randn(shape, generator=generator, dtype=torch.float64, device=source)
        return (self.noise_scale * z).to(device, like.dtype)

    def extra_repr(self) -> str:
        """The group and what is drawn and projected."""
        return f"{self.group}, k={self.k}, noise_scale={self.noise_scale:g}, project={self.project!r}"


class ScalarGenerator(nn.Module):
    """n vectors, [batch, n, n] as columns, mixed from those of the data by a network of their inner products and noise.

    rep_in: a Rep with copies of V, whose invariant parts the network sees too, or `Points` or `Vectors` of a matrix
    group with `count` vectors per sample. The group keeps forms: O(n), SO(n), Lorentz(p, q), Sp(n), U(n). Equivariant
    for any weights. Inner products should be of order 1: scale the data. Raises ValueError for other data.
    """

    def __init__(
        self,
        rep_in: Action,
        count: int | None = None,
        *,
        noise_dim: int = 1,
        width: int = 64,
        depth: int = 2,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.rep_in, self.group = rep_in, rep_in.group
        self.forms, self.skew = forms(self.group), skew(self.group)
        n, scalars = self.group.dim_V, 0
        if isinstance(rep_in, Rep):
            vector = self.group.V.terms[0][0]
            self.kinds = [("vector" if vector == W else "other") if W.factors else "scalar" for W, _ in rep_in.terms]
            count, scalars = (
                sum(c for kind, (_, c) in zip(self.kinds, rep_in.terms) if kind == wanted)
                for wanted in ("vector", "scalar")
            )
        elif not isinstance(rep_in, (Points, Vectors)):
            raise ValueError(f"ScalarGenerator: needs a Rep with copies of V, Points or Vectors, got {rep_in!r}")
        if not count:
            raise ValueError(f"ScalarGenerator: {rep_in!r} has no vectors; name their number per sample with count=")
        self.rep_out = n * self.group.V
        probe = torch.zeros(n, count, dtype=torch.float64)
        inputs = sum(gram(probe, *form).shape[-1] for form in zip(self.forms, self.skew)) + scalars + noise_dim
        sizes = [inputs, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        mixed = count * len(self.forms)  # under U(n) a vector times i is one more
        self.mix = nn.Linear(sizes[-1], mixed * n)
        for layer in (*self.hidden, self.mix):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.mix.bias, std=mixed**-0.5, generator=generator)

    def forward(self, x: Tensor, z: Float[Tensor, "batch noise"]) -> Float[Tensor, "batch n n"]:
        """Columns that turn with the data; z does not."""
        vectors, scalars = self._read(x)
        dtype = self.mix.weight.dtype
        h = torch.cat([*(gram(vectors, *form) for form in zip(self.forms, self.skew)), *scalars, z.to(vectors)], -1).to(
            dtype
        )
        for layer in self.hidden:
            h = nn.functional.silu(layer(h))
        mixing = self.mix(h).to(vectors).unflatten(-1, (-1, self.group.dim_V))
        if len(self.forms) > 1:
            vectors = torch.cat([vectors, self.forms[1].to(vectors) @ vectors], -1)
        return vectors @ mixing

    def _read(self, x: Tensor) -> tuple[Float[Tensor, "batch n count"], list[Tensor]]:
        if not isinstance(self.rep_in, Rep):
            return x.reshape(len(x), -1, self.group.dim_V).mT, []
        blocks = list(zip(self.kinds, self.rep_in.split(x)))
        scalars = [block for kind, block in blocks if kind == "scalar"]
        return torch.cat([block for kind, block in blocks if kind == "vector"], -1), scalars


def _of_tensors(action: Action) -> bool:
    """Whether everything that an Action moves is invariant or a product of copies of V."""
    if isinstance(action, Nested):
        return all(_of_tensors(part) for part in action.parts.values())
    if isinstance(action, Rep):
        vector = action.group.V.terms[0][0].factors[0]
        return all(factor == vector for W, _ in action.terms for factor in W.factors)
    return isinstance(action, (Invariant, Points, Tensors, Vectors))
