"""Measure symmetry: how far off a model is, and where."""

from . import separation as separation
from .asserts import EquivarianceError as EquivarianceError
from .asserts import assert_equivariant as assert_equivariant
from .congruence import Congruence as Congruence
from .congruence import congruent as congruent
from .consensus import Consensus as Consensus
from .consensus import consensus as consensus
from .document import Section as Section
from .elements import Sampler as Sampler
from .error import measure as measure
from .error import pair_error as pair_error
from .geometric_graph import GeometricGraph as GeometricGraph
from .geometric_models import audit_model as audit_model
from .geometric_wl import distinguishes as distinguishes
from .geometric_wl import gwl as gwl
from .geometric_wl import igwl as igwl
from .grid import OrbitGrid as OrbitGrid
from .metrics import Metric as Metric
from .nero import nero as nero
from .nero_result import NeroResult as NeroResult
from .report import plain_page as plain_page
from .report import write_html as write_html
from .result import AuditResult as AuditResult
from .result import family as family
from .verdict import Verdict as Verdict
