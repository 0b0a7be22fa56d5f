"""Functions of values on a grid: a feature is read as a function on the sphere or on SO(3), and every value changed."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..maps.constants import Constants
from ..so3 import Irreps, S2Grid, SO3Grid
from .activation import second_moment_constant
from .grid_choice import chosen, exact, grid_error
from .law import Function, name_of
from .on_grid import on_grid, repeats
from .signals import RotationSignal, Signal, SphereSignal, after


class _GridActivation(nn.Module):
    """To a grid, a function of every value, and back; what these layers share."""

    def __init__(self, signal: Signal, channels: int, fn: Function, grid: S2Grid | SO3Grid | str, normalize: bool):
        super().__init__()
        self.signal, self.channels, self.fn = signal, channels, fn
        self.chunked = repeats(fn)
        self.constant = second_moment_constant(exact(fn)) if normalize else 1.0
        fixed = isinstance(grid, signal.grid_type)
        self.grid = grid if fixed else chosen(type(self).__name__, signal, fn, grid)
        to, back = signal.matrices(self.grid)
        self.constants = Constants([to, self.constant * back], any_dtype=True)

    def equivariance_error(self) -> float:
        """The largest change under rotations, relative to the largest value; 0 is exact.

        The largest entry of f(g x) - g f(x) over the largest of f(x) for random features of unit variance, in float64,
        on the grid of this layer, whatever its dtype. The samples are the same at every call.
        """
        return grid_error(self.signal, self.fn, self.grid)

    def extra_repr(self) -> str:
        """Representations, function, grid."""
        change = "" if self.rep_in == self.rep_out else f" -> {self.rep_out}"
        return f"{self.rep_in}{change}, {name_of(self.fn)}, {len(self.grid)} points"

    def _applied(self, x: Tensor, first: int = 0) -> Tensor:
        """Flat coefficients to flat coefficients, of which the first are left out."""
        to, back = self.constants(x)
        y = on_grid(self.fn, to, back[first:], x.unflatten(-1, (-1, self.channels)), chunked=self.chunked)
        return y.flatten(-2)


class S2Activation(_GridActivation):
    """A function of every value of a feature that is read as functions on the sphere, one for each channel.

    irreps: degrees 0..L with equal channels, `Irreps.spherical(L, channels)`. Parities (-1)^l, all even, or none, take
    any function; a pseudoscalar function (0o + 1e + .., or 0o + 1o + ..) takes an odd one, or an even one, after which
    it is a scalar function. Values on the grid have variance 1 where coefficients have, and the function is divided by
    the root of its second moment (`normalize`), as in e3nn.
    grid: an `S2Grid`, or "exact:1e-4" for the smallest Gauss-Legendre grid with a smaller `equivariance_error`. No
    finite grid is exact unless the function is a polynomial: one of degree k from exactness (k + 1) L on.
    Raises ValueError for other irreps, a function that breaks parity, and an error that no grid reaches.
    Source: arXiv:1801.10130, section 4, and e3nn (arXiv:2207.09453).
    """

    def __init__(self, irreps: Irreps, fn: Function, grid: S2Grid | str = "exact:1e-4", *, normalize: bool = True):
        super().__init__(*SphereSignal.of("S2Activation", irreps), fn, grid, normalize)
        self.rep_in = irreps
        self.rep_out = after("S2Activation", irreps, fn)

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        """The function of all values. Raises ValueError on a wrong trailing dimension."""
        self.rep_in.check(x)
        return self._applied(x)


class SeparableS2Activation(_GridActivation):
    """`S2Activation` for degrees above 0, while degree 0 becomes the function of extra scalars (arXiv:2306.12059, 4.3).

    rep_in is those scalars, one for each channel, and then `irreps`, of which degree 0 is seen by the other degrees
    only; rep_out is `irreps`. Scalars never pass through the grid, which makes training stabler.
    Raises ValueError as `S2Activation`, and for pseudoscalar functions.
    """

    def __init__(self, irreps: Irreps, fn: Function, grid: S2Grid | str = "exact:1e-4", *, normalize: bool = True):
        signal, channels = SphereSignal.of("SeparableS2Activation", irreps)
        first = irreps.blocks[0][0]
        if not first.is_trivial:
            raise ValueError(
                f"SeparableS2Activation: '{irreps}' starts with {first}, which changes sign under reflections; take "
                "parities of a scalar function (0e + 1o + 2e + ..), or S2Activation"
            )
        super().__init__(signal, channels, fn, grid, normalize)
        self.rep_in, self.rep_out = Irreps([(channels, first)]) + irreps, irreps

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        """Scalars and a feature to a feature. Raises ValueError on a wrong trailing dimension."""
        self.rep_in.check(x)
        scalars, x = x.split([self.channels, x.shape[-1] - self.channels], -1)
        return torch.cat([self.fn(scalars) * self.constant, self._applied(x, first=1)], -1)


class SO3Activation(_GridActivation):
    """A function of every value of a feature that is read as functions on SO(3), one for each channel.

    irreps: degree l in (2l+1)·channels channels, `so3.wigner_irreps(L, channels)`, of one parity or none; an odd one
    takes odd or even functions only, and the latter make it even. Scales as in `S2Activation`.
    grid: an `SO3Grid`, or "exact:1e-2" for the smallest product grid with a smaller `equivariance_error`.
    Raises ValueError for other irreps, a function that breaks parity, and an error that no grid reaches.
    Source: e3nn (arXiv:2207.09453); for pose, arXiv:2307.03704.
    """

    def __init__(self, irreps: Irreps, fn: Function, grid: SO3Grid | str = "exact:1e-2", *, normalize: bool = True):
        super().__init__(*RotationSignal.of("SO3Activation", irreps), fn, grid, normalize)
        self.rep_in = irreps
        self.rep_out = after("SO3Activation", irreps, fn)

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        """The function of all values. Raises ValueError on a wrong trailing dimension."""
        self.rep_in.check(x)
        return self._applied(x)
