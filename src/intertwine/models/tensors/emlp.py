"""The equivariant multilayer perceptron: for any group, features are tensors, layers are linear, bilinear and gated."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ... import maps
from ...groups import Group
from ...nn import Bilinear, Gate, Linear
from ...nn.activation import is_invariant
from ...reps import Rep


def tensors(group: Group, components: int, order: int = 2) -> Rep:
    """Tensors of V (and V.dual, where it is another representation) up to an order, each order about equally wide.

    Scalars take what is left over, so that the dimension is `components`. Raises ValueError where these are too few for
    one tensor of each kind.
    """
    V = group.V
    vectors = [V] if V.dual == V or maps.dimension(V, V.dual) else [V, V.dual]
    rep, left = 0 * group.trivial, components
    for p in range(1, order + 1):
        kinds = [vectors[0] ** (p - k) * vectors[-1] ** k for k in range(p + 1 if len(vectors) > 1 else 1)]
        count = components // (order + 1) // sum(kind.dim for kind in kinds)
        if not count:
            needed = (order + 1) * sum(kind.dim for kind in kinds)
            raise ValueError(f"tensors: {components} components hold no tensors of order {p} of {group}; take {needed}")
        for kind in kinds:
            rep, left = rep + count * kind, left - count * kind.dim
    return left * group.trivial + rep


class EMLP(nn.Module):
    """Layers of x + (x × x)/10 between linear maps and gates, then a linear map: universal pieces for any group.

    hidden: a Rep of scalars and tensors, or a number of components spread over tensors up to order 2 (`tensors`).
    Every layer is `Linear`, plus a tenth of `Bilinear` of it, then a `Gate`: SiLU on scalars, a sigmoid of one scalar
    on each channel of the rest. options: of the linear layers, as in `maps.between` (method="solver").
    Raises ValueError where groups differ, where `hidden` has no scalars, or where `layers` is less than one.
    Source: arXiv:2104.09459, section 5 and figure 3.
    """

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        hidden: Rep | int = 384,
        layers: int = 3,
        *,
        generator: torch.Generator | None = None,
        **options,
    ):
        super().__init__()
        if isinstance(hidden, int):
            hidden = tensors(rep_in.group, hidden)
        if layers < 1:
            raise ValueError(f"EMLP: layers must be at least 1, got {layers}")
        scalars = [(W, c) for W, c in hidden.terms if is_invariant(W)]
        if not scalars:
            raise ValueError(f"EMLP: hidden is {hidden!r} without scalars; add {rep_in.group}.trivial")
        gated = [term for term in hidden.terms if term not in scalars]
        gate = Gate(hidden._with(hidden.group, scalars), F.silu, hidden._with(hidden.group, gated))
        self.rep_in, self.rep_out, self.hidden = rep_in, rep_out, gate.rep_out
        self.gate = gate
        self.linears, self.bilinears = nn.ModuleList(), nn.ModuleList()
        inner = _numbers_together(gate.rep_in)
        for k in range(layers):
            self.linears.append(Linear(gate.rep_out if k else rep_in, inner, generator=generator, **options))
            self.bilinears.append(Bilinear(inner, generator=generator))
        self.last = Linear(gate.rep_out, rep_out, generator=generator, **options)

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        """The network on features of rep_in. Raises ValueError on a wrong trailing dimension."""
        for linear, bilinear in zip(self.linears, self.bilinears):
            x = linear(x)
            x = self.gate(x + 0.1 * bilinear(x))
        return self.last(x)


def _numbers_together(rep: Rep) -> Rep:
    """Neighbouring terms of the same kind and one component as one term, which lies in memory just so."""
    terms = list(rep.terms[:1])
    for W, c in rep.terms[1:]:
        if terms[-1][0] == W and W.dim == 1:
            terms[-1] = W, terms[-1][1] + c
        else:
            terms.append((W, c))
    return rep._with(rep.group, terms)
