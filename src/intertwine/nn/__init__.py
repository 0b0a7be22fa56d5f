"""Layers for any representation."""

from .linear import Linear as Linear
from .radial import Bessel as Bessel
from .radial import CosineEnvelope as CosineEnvelope
from .radial import ExpBernstein as ExpBernstein
from .radial import ExpEnvelope as ExpEnvelope
from .radial import Gaussian as Gaussian
from .radial import PolynomialEnvelope as PolynomialEnvelope
from .radial import SmoothBump as SmoothBump
