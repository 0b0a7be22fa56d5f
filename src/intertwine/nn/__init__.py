"""Layers for any representation."""

from .linear import Linear as Linear
