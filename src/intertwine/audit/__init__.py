"""Measure symmetry: how far off a model is, and where."""

from .asserts import EquivarianceError as EquivarianceError
from .asserts import assert_equivariant as assert_equivariant
from .elements import Sampler as Sampler
