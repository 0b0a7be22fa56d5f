"""Closed-form layers: bases of equivariant maps as diagrams, their algebra, and the fast way to apply them."""

from .bases import diagrams as diagrams
from .brauer import free_vertex as free_vertex
from .brauer import oriented as oriented
from .brauer import pairings as pairings
from .category import Diagram as Diagram
from .category import cap as cap
from .category import cup as cup
from .category import identity as identity
from .category import parse as parse
from .category import permutation as permutation
from .category import spider as spider
from .category import swap as swap
from .category import tensor as tensor
from .composition import FormalSum as FormalSum
from .composition import compose as compose
from .draw import plot as plot
from .draw import svg as svg
from .factor import factor as factor
from .functor import functor as functor
from .jellyfish import jellyfish as jellyfish
from .kernel import DiagramKernel as DiagramKernel
from .partition import partitions as partitions
from .partition import to_orbit as to_orbit
from .single import apply_one as apply_one
