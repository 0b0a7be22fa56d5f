"""Interatomic potentials: networks for atoms, and the `Potential` that turns one into energies, forces and stress."""

from .cartesian import Cartesian as Cartesian
from .dynamics import Langevin as Langevin
from .dynamics import Verlet as Verlet
from .dynamics import velocities as velocities
from .edge_frames import EdgeFrames as EdgeFrames
from .elasticity import LatticeElasticityNet as LatticeElasticityNet
from .elasticity import LatticeTensorNet as LatticeTensorNet
from .equiformer_v2 import EquiformerV2 as EquiformerV2
from .evaluator import Evaluator as Evaluator
from .facet import Facet as Facet
from .faenet import FAENet as FAENet
from .mace import MACE as MACE
from .nequip import NequIP as NequIP
from .orbitals import BlockLoss as BlockLoss
from .orbitals import Orbitals as Orbitals
from .orbitals import orbital_energies as orbital_energies
from .orbitals import orbital_metrics as orbital_metrics
from .pair import Pair as Pair
from .potential import Backbone as Backbone
from .potential import Potential as Potential
from .qhnet import QHNet as QHNet
from .relax import Relaxed as Relaxed
from .relax import relax as relax
