"""Make any model symmetric: average it over a group, or over a few elements computed from the input."""

from .average import Elements as Elements
from .average import ElementSource as ElementSource
from .average import SymmetrizeCost as SymmetrizeCost
from .average import Symmetrizer as Symmetrizer
from .canonicalize import Canonicalize as Canonicalize
from .canonicalize import DiscreteCanonicalizer as DiscreteCanonicalizer
from .continuous import ContinuousCanonicalizer as ContinuousCanonicalizer
from .frame_average import FrameAverage as FrameAverage
from .frame_average import symmetrize as symmetrize
from .frame_block import FrameBlock as FrameBlock
from .frame_block import local_frames as local_frames
from .frame_metrics import symmetry_metrics as symmetry_metrics
from .group_average import GroupAverage as GroupAverage
from .group_average import Sampled as Sampled
from .group_average import Subset as Subset
from .group_average import WholeGroup as WholeGroup
from .pca_frame import PCAFrame as PCAFrame
from .pca_frame import PlanarFrame as PlanarFrame
from .point_frame import PointFrame as PointFrame
from .score import EnergyScore as EnergyScore
from .score import VectorScore as VectorScore
from .sort_frame import SortFrame as SortFrame
from .stochastic_frame import StochasticFrame as StochasticFrame
