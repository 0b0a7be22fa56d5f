"""Representations and actions: how data transforms."""

from .action import Action as Action
from .factor import Factor as Factor
from .irrep import Irrep as Irrep
from .rep import Product as Product
from .rep import Rep as Rep
from .rep import outer as outer
from .rep import pull as pull
