"""Measure symmetry: how far off a model is, and where."""

from .asserts import EquivarianceError as EquivarianceError
from .asserts import assert_equivariant as assert_equivariant
from .elements import Sampler as Sampler
from .error import measure as measure
from .error import pair_error as pair_error
from .result import AuditResult as AuditResult
from .result import family as family
from .verdict import Verdict as Verdict
