"""Networks on tensors of any group."""

from .emlp import EMLP as EMLP
from .emlp import tensors as tensors
