"""Equivariant deep learning for any symmetry, in PyTorch."""

__version__ = "0.1.0"
