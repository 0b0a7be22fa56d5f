"""The gate: scalars pass through a function, everything else is multiplied by a function of extra scalars."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..reps import Rep
from .activation import ScalarActivation, second_moment_constant
from .law import Function
from .pointwise import invariants


def gate_rep(scalars: Rep, gated: Rep) -> Rep:
    """What a `Gate` takes: the scalars, one invariant gate for each channel of `gated`, and `gated` itself."""
    if scalars.group != gated.group:
        raise ValueError(f"Gate: scalars belong to {scalars.group}, gated to {gated.group}")
    gates = sum(c for _, c in gated.terms)
    return scalars + invariants(gated, gates) + gated if gates else scalars


class Gate(nn.Module):
    """act(scalars) ⊕ gated · act_gate(gates): the nonlinearity of most equivariant networks (arXiv:1807.02547, eq. 9).

    scalars: terms of one component; act: one function, or one for each of them, as in `ScalarActivation`; gated: any
    terms. `rep_in` (also `gate_rep(scalars, gated)`) is scalars + gates + gated, the gates being one invariant for each
    channel of `gated`, in the same order; `rep_out` is act(scalars) + gated. Functions are scaled to second moment 1.
    Raises ValueError for groups that differ, a term among `scalars` that is no scalar, or a function that a scalar
    changing sign (0o) does not admit.
    """

    def __init__(
        self,
        scalars: Rep,
        act: Function | Sequence[Function],
        gated: Rep,
        act_gate: Function = torch.sigmoid,
        *,
        normalize: bool = True,
    ):
        super().__init__()
        self.rep_in = gate_rep(scalars, gated)
        acts = [act] * len(scalars.terms) if callable(act) else list(act)
        self.scalars = ScalarActivation(scalars, acts, normalize=normalize)
        self.gated, self.act_gate = gated, act_gate
        self.gates = sum(c for _, c in gated.terms)
        self.constant = second_moment_constant(act_gate) if normalize else 1.0
        self.rep_out = self.scalars.rep_out + gated

    def extra_repr(self) -> str:
        """Input and output."""
        return f"{self.rep_in} -> {self.rep_out}"

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        """Gate x. Raises ValueError on a wrong trailing dimension."""
        self.rep_in.check(x)
        n = self.scalars.rep_in.dim
        out = [self.scalars(x[..., :n])]
        if self.gates:
            gates = self.act_gate(x[..., n : n + self.gates]) * self.constant
            start = 0
            for (W, c), block in zip(self.gated.terms, self.gated.split(x[..., n + self.gates :])):
                gate = gates[..., start : start + c].reshape(*x.shape[:-1], *[1] * len(W.shape), c)
                out.append((block * gate).flatten(-1 - len(W.shape)))
                start += c
        return torch.cat(out, -1)
