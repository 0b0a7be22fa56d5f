"""Complete networks, by kind of data, and the list and the files in which they are kept."""

from .saved import load_potential as load_potential
