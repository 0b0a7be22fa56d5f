"""Exact solutions of addition in a finite abelian group by quadratic networks, and which one a trained network found.

Source: Composing Global Optimizers to Reasoning Tasks via Algebraic Objects in Neural Nets (arXiv:2410.01779).
"""

from .addition import QuadraticNet as QuadraticNet
from .addition import addition_loss as addition_loss
from .addition import addition_table as addition_table
from .addition import quadratic as quadratic
from .reading import Part as Part
from .reading import decompose as decompose
from .ring import Partial as Partial
from .ring import nu as nu
from .ring import order4 as order4
from .ring import order6 as order6
from .ring import potentials as potentials
from .ring import syn as syn
from .ring import xi as xi
from .solutions import construct as construct
