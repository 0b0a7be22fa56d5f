"""Structures of atoms: graphs, neighbour lists, files, energy shifts, and labels made by GFN2-xTB."""

from .action import AtomsAction as AtomsAction
from .action import PotentialOutputAction as PotentialOutputAction
from .checks import Checks as Checks
from .checks import overlap as overlap
from .dataset import AtomicDataset as AtomicDataset
from .dataset import Stats as Stats
from .errors import DataError as DataError
from .errors import DataWarning as DataWarning
from .errors import ReadReport as ReadReport
from .extxyz import read as read
from .extxyz import write as write
from .graph import AtomicBatch as AtomicBatch
from .graph import AtomicGraph as AtomicGraph
from .graph import cast as cast
from .graph import collate as collate
from .graph import connect as connect
from .graph import from_ase as from_ase
from .graph import to_ase as to_ase
from .keys import Keys as Keys
from .neighbors import VerletList as VerletList
from .neighbors import batch_neighbor_list as batch_neighbor_list
from .neighbors import neighbor_list as neighbor_list
from .shifts import ShiftScale as ShiftScale
from .shifts import fit_shift_scale as fit_shift_scale
from .species import atomic_numbers as atomic_numbers
from .species import check_species as check_species
