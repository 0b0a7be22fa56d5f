"""Closed-form layers: bases of equivariant maps as diagrams, their algebra, and the fast way to apply them."""
