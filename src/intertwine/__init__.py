"""Equivariant deep learning for any symmetry, in PyTorch."""

from . import groups as groups
from . import reps as reps

__version__ = "0.1.0"
