"""Linear maps between representations."""

from .bandlimit import Bandlimit as Bandlimit
from .bandlimit import bandlimit as bandlimit
from .between import between as between
from .between import dimension as dimension
from .between import invariants as invariants
from .block import Block as Block
from .collapse import Composition as Composition
from .fourier import fourier_basis as fourier_basis
from .kernel import Kernel as Kernel
from .kernel import Plan as Plan
from .map import Map as Map
from .plot import plot_basis as plot_basis
from .solver import Basis as Basis
from .solver import SolverError as SolverError
from .solver import solve as solve
from .span import Span as Span
from .tensor_action import TensorAction as TensorAction
from .tensor_network import NetworkSum as NetworkSum
from .tensor_network import TensorNetwork as TensorNetwork
from .tensor_search import tensor_covariants as tensor_covariants
from .tensor_search import tensor_invariant_basis as tensor_invariant_basis
from .tensor_search import tensor_invariants as tensor_invariants
from .tensor_types import Cartesian as Cartesian
from .tensor_types import TensorType as TensorType
from .text import describe as describe
