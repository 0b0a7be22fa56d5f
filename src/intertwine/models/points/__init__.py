"""Networks on points, vectors and tensors of space."""

from .constitutive import Constitutive as Constitutive
