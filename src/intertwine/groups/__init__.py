"""Groups: what a symmetry is."""

from .finite import A as A
from .finite import Cyclic as Cyclic
from .finite import Dihedral as Dihedral
from .finite import S as S
from .finite import Trivial as Trivial
from .group import Group as Group
from .matrix import SE as SE
from .matrix import SL as SL
from .matrix import SO as SO
from .matrix import E as E
from .matrix import GLPlus as GLPlus
from .matrix import Lorentz as Lorentz
from .matrix import O as O
from .matrix import Sp as Sp
from .product import DirectProduct as DirectProduct
