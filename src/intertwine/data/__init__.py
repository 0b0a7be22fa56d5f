"""Data sets and how to cut them; `data.atoms` needs the extra `intertwine[atoms]`."""

from .fetch import Remote as Remote
from .fetch import fetch as fetch
from .fetch import published as published
from .hardness import DegreeParity as DegreeParity
from .hardness import FrameAveraged as FrameAveraged
from .hardness import HermiteGon as HermiteGon
