"""Training: the Lightning modules, the loss, checkpoints that survive anything, and `fit_potential` in one call."""

from intertwine.models.saved import load_potential as load_potential

from .checkpoint import SafetensorsIO as SafetensorsIO
from .data import AtomicDataModule as AtomicDataModule
from .dimers import dimers as dimers
from .ema import EMA as EMA
from .fit import fit_potential as fit_potential
from .keep import KeepCheckpoints as KeepCheckpoints
from .loss import EnergyForceLoss as EnergyForceLoss
from .metrics import PotentialMetrics as PotentialMetrics
from .potential import NonFiniteLoss as NonFiniteLoss
from .potential import PotentialModule as PotentialModule
from .rebalance import RebalanceWeights as RebalanceWeights
from .report import write_report as write_report
from .schedule import Optimizer as Optimizer
from .seen import Case as Case
from .seen import Seen as Seen
