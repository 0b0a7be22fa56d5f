"""Networks on points, vectors and tensors of space."""

from .baselines import LinearDynamics as LinearDynamics
from .baselines import MessagePassing as MessagePassing
from .baselines import RadialField as RadialField
from .constitutive import Constitutive as Constitutive
from .dynamics import Dynamics as Dynamics
from .dynamics import all_pairs as all_pairs
from .egnn import EGNN as EGNN
from .egnn import EGNNDynamics as EGNNDynamics
from .egnn import EGNNLayer as EGNNLayer
from .egnn import EGNNProperty as EGNNProperty
from .egnn_autoencoder import EGNNAutoencoder as EGNNAutoencoder
from .fa_gnn import FAGNN as FAGNN
from .fiber_conv import Calibration as Calibration
from .fiber_conv import FiberBundleConv as FiberBundleConv
from .fiber_conv import KernelBasis as KernelBasis
from .fiber_conv import PointConv as PointConv
from .invariants import pair_invariants as pair_invariants
from .lift import LiftedGraph as LiftedGraph
from .lift import lift_graph as lift_graph
from .ponita import Ponita as Ponita
from .ponita import PonitaOutput as PonitaOutput
from .ponita_dynamics import PonitaDynamics as PonitaDynamics
from .se3_transformer import IterativeSE3Transformer as IterativeSE3Transformer
from .se3_transformer import Refined as Refined
from .se3_transformer import SE3Transformer as SE3Transformer
from .tfn import TFN as TFN
