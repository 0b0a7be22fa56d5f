"""The many-body product of MACE: all equivariant polynomials of a feature up to a degree, weighted by species."""

from math import comb

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..maps.constants import Constants
from .contraction_plan import contraction_plan
from .irreps import Irreps

_MOST_MONOMIALS = 100_000  # the couplings are found among them, in seconds


class SymmetricContraction(nn.Module):
    """m_L = Σ_{ν ≤ correlation} Σ_η w[z, η, c] (U_η · A ⊗ … ⊗ A)_L, channel by channel.

    The message of MACE (arXiv:2206.07697, eq. 10-11), evaluated by couplings of two that are shared between all paths.
    irreps_in, irreps_out: blocks of equal channels; correlation: highest number ν of factors; n_species: each has its
    own weights. symmetric: an orthonormal basis of the polynomials (the fewest weights); else a weight for each chain
    of couplings, as first published: the same functions. `weights`: one parameter [n_species, paths, channels] for
    each block of irreps_out, degrees 1, 2, .. one after the other, `path_counts` of each; drawn from N(0, 1)/paths.
    Raises ValueError for unequal channels, a correlation or n_species below 1, an output that no power reaches, or more
    than 100,000 products of components.
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        irreps_out: Irreps | str,
        correlation: int,
        n_species: int = 1,
        *,
        symmetric: bool = True,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.rep_in, self.rep_out = Irreps(irreps_in), Irreps(irreps_out)
        self.correlation, self.n_species, self.symmetric = correlation, n_species, symmetric
        if correlation < 1 or n_species < 1:
            raise ValueError(f"SymmetricContraction: {correlation=} and {n_species=} must be at least 1")
        counts = {c for rep in (self.rep_in, self.rep_out) for _, c in rep.blocks}
        if len(counts) != 1 or not self.rep_in.dim or not self.rep_out.dim:
            raise ValueError(
                f"SymmetricContraction works channel by channel: every block of {self.rep_in} and {self.rep_out} "
                "needs the same number of channels"
            )
        (self.channels,) = counts
        inputs, outputs = (tuple(irrep for irrep, _ in rep.blocks) for rep in (self.rep_in, self.rep_out))
        dim = self.rep_in.dim // self.channels
        if comb(dim + correlation - 1, correlation) > _MOST_MONOMIALS:
            raise ValueError(
                f"SymmetricContraction: {dim} components have {comb(dim + correlation - 1, correlation):,} products of "
                f"{correlation}, more than {_MOST_MONOMIALS:,}; lower the degrees of {self.rep_in} or the correlation"
            )
        self._plan = contraction_plan(inputs, outputs, correlation, symmetric)
        self._sizes = [irrep.dim for irrep in inputs]
        self.path_counts = tuple(out.counts for out in self._plan.outputs)
        for irrep, out in zip(outputs, self._plan.outputs):
            if not any(out.counts):
                raise ValueError(
                    f"SymmetricContraction: no power up to {correlation} of {self.rep_in} holds {irrep}; "
                    "leave it out of irreps_out"
                )
        self.weights = nn.ParameterList(
            _weights(counts, n_species, self.channels, generator) for counts in self.path_counts
        )
        self._tables = Constants([step.table for step in self._plan.steps], any_dtype=True)
        self._last = Constants([last.table for out in self._plan.outputs for last in out.last], any_dtype=True)
        self._mix = Constants([out.mix for out in self._plan.outputs], any_dtype=True)

    def extra_repr(self) -> str:
        """Input, output, highest power, weights of each power."""
        return f"{self.rep_in} -> {self.rep_out}, correlation {self.correlation}, paths {self.path_counts}"

    def forward(
        self,
        x: Float[Tensor, "nodes dim_in"] | Float[Tensor, "nodes components channels"],
        species: Int[Tensor, " nodes"],
    ) -> Float[Tensor, "nodes dim_out"]:
        """The contraction of every node with the weights of its species; ValueError on a wrong trailing shape."""
        x = x.flatten(1) if x.ndim == 3 else x
        self.rep_in.check(x)
        nodes, columns = x.shape[0], x.shape[0] * self.channels
        # Components first: a product of two components is one of long rows, and a coupling is a matrix product.
        X = x.reshape(nodes, sum(self._sizes), self.channels).movedim(1, 0).reshape(sum(self._sizes), columns)
        values = list(X.split(self._sizes))
        for step, table in zip(self._plan.steps, self._tables(x)):
            values += _coupled(values[step.left], values[step.right], table).split(step.sizes)
        found, tables = [], iter(self._last(x))
        for out, weight, mix in zip(self._plan.outputs, self.weights, self._mix(x)):
            w = torch.einsum("pq,zqc->pzc", mix, weight).index_select(1, species).flatten(1).unbind()
            z = _sum([(values[v], w[p]) for v, p in out.direct])
            for last in out.last:
                q = _sum([(values[v], w[p]) for v, p in last.terms])
                new = _coupled(q, values[last.right], next(tables))
                z = new if z is None else z + new
            found.append(z.unflatten(1, (nodes, self.channels)).movedim(0, 1).flatten(1))
        return torch.cat(found, 1)


def _coupled(
    a: Float[Tensor, "components1 columns"], b: Float[Tensor, "components2 columns"], table: Tensor
) -> Float[Tensor, "rows columns"]:
    """table · (a ⊗ b), column by column."""
    return table @ (a.unsqueeze(1) * b).flatten(0, 1)


def _sum(terms: list[tuple[Tensor, Tensor]]) -> Tensor | None:
    """Σ weight · value."""
    if not terms:
        return None
    value, weight = terms[0]
    total = value * weight
    for value, weight in terms[1:]:
        total = torch.addcmul(total, value, weight)
    return total


def _weights(counts: tuple[int, ...], n_species: int, channels: int, generator: torch.Generator | None) -> nn.Parameter:
    parts = [torch.randn(n_species, n, channels, generator=generator) / max(n, 1) for n in counts]
    return nn.Parameter(torch.cat(parts, 1))
