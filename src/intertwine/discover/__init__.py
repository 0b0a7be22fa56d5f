"""Find the symmetry: read from a trained network what it made of a group."""

from . import cogo as cogo
