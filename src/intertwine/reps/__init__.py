"""Representations and actions: how data transforms."""

from .action import Action as Action
from .data_actions import Invariant as Invariant
from .data_actions import Nested as Nested
from .data_actions import Permute as Permute
from .data_actions import Points as Points
from .data_actions import Rows as Rows
from .data_actions import Tensors as Tensors
from .data_actions import Vectors as Vectors
from .factor import Factor as Factor
from .irrep import Irrep as Irrep
from .rep import Product as Product
from .rep import Rep as Rep
from .rep import outer as outer
from .rep import pull as pull
