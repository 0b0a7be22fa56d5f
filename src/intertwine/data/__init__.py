"""Data sets and how to cut them; `data.atoms` needs the extra `intertwine[atoms]`."""

from .constellations import Constellations as Constellations
from .constellations import constellations as constellations
from .fetch import Remote as Remote
from .fetch import fetch as fetch
from .fetch import published as published
from .geometric_graphs import counterexamples as counterexamples
from .geometric_graphs import k_chain as k_chain
from .geometric_graphs import l_fold as l_fold
from .geometric_graphs import random_pair as random_pair
from .geometric_graphs import standard_pairs as standard_pairs
from .hardness import DegreeParity as DegreeParity
from .hardness import FrameAveraged as FrameAveraged
from .hardness import HermiteGon as HermiteGon
from .nbody import Motion as Motion
from .nbody import charged as charged
from .nbody import gravity as gravity
from .nbody import springs as springs
from .pixels import Superpixels as Superpixels
from .pixels import superpixels as superpixels
from .shapes import Pieces as Pieces
from .shapes import tetris as tetris
from .solids import Clouds as Clouds
from .solids import primitive_shapes as primitive_shapes
from .surfaces import Surfaces as Surfaces
from .surfaces import surfaces as surfaces
