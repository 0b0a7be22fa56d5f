"""Data sets and how to cut them; `data.atoms` needs the extra `intertwine[atoms]`."""

from .fetch import Remote as Remote
from .fetch import fetch as fetch
from .fetch import published as published
