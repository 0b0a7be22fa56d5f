"""The fast lane for rotations of space: irreps, spherical harmonics, Wigner matrices, tensor products."""

from .cartesian import CartesianTensor as CartesianTensor
from .cartesian import P as P
from .edge_conv import EdgeConv as EdgeConv
from .edge_frame import EdgeFrame as EdgeFrame
from .grid import S2Grid as S2Grid
from .harmonics import spherical_harmonics as spherical_harmonics
from .irreps import Irrep as Irrep
from .irreps import Irreps as Irreps
from .rotations import angles_to_matrix as angles_to_matrix
from .rotations import axis_angle_to_matrix as axis_angle_to_matrix
from .rotations import geodesic_distance as geodesic_distance
from .rotations import matrix_to_angles as matrix_to_angles
from .rotations import matrix_to_axis_angle as matrix_to_axis_angle
from .rotations import matrix_to_quaternion as matrix_to_quaternion
from .rotations import procrustes as procrustes
from .rotations import quaternion_to_matrix as quaternion_to_matrix
from .rotations import random_rotation as random_rotation
from .so2_conv import SO2Convolution as SO2Convolution
from .so2_conv import SO2EdgeConv as SO2EdgeConv
from .so2_conv import so2_weights_from_cg as so2_weights_from_cg
from .spherical import Spherical as Spherical
from .tensor_product import TensorProduct as TensorProduct
from .wigner import clebsch_gordan as clebsch_gordan
from .wigner import generators as generators
from .wigner import wigner_D as wigner_D
from .wigner import wigner_D_from_angles as wigner_D_from_angles
