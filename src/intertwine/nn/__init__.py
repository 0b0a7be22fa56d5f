"""Layers for any representation."""

from .activation import Activation as Activation
from .activation import NormActivation as NormActivation
from .activation import ScalarActivation as ScalarActivation
from .activation import second_moment_constant as second_moment_constant
from .bilinear import Bilinear as Bilinear
from .gate import Gate as Gate
from .gate import gate_rep as gate_rep
from .law import Law as Law
from .law import law as law
from .linear import Linear as Linear
from .norm import DegreeRMSNorm as DegreeRMSNorm
from .norm import EquivariantBatchNorm as EquivariantBatchNorm
from .norm import SeparableLayerNorm as SeparableLayerNorm
from .pointwise import Verdict as Verdict
from .pointwise import admissible as admissible
from .pointwise import admissible_laws as admissible_laws
from .pool import SubgroupPool as SubgroupPool
from .radial import Bessel as Bessel
from .radial import CosineEnvelope as CosineEnvelope
from .radial import ExpBernstein as ExpBernstein
from .radial import ExpEnvelope as ExpEnvelope
from .radial import Gaussian as Gaussian
from .radial import PolynomialEnvelope as PolynomialEnvelope
from .radial import SmoothBump as SmoothBump
from .span import SpanLinear as SpanLinear
from .tensor_function import EquivariantFunction as EquivariantFunction
