"""Groups: what a symmetry is."""

from .affine import Affine as Affine
from .automorphism import Automorphism as Automorphism
from .embedding import Embedding as Embedding
from .embedding import embedding as embedding
from .finite import A as A
from .finite import S as S
from .finite import Trivial as Trivial
from .generated import MatrixGroup as MatrixGroup
from .group import Group as Group
from .matrix import SE as SE
from .matrix import SO as SO
from .matrix import E as E
from .matrix import O as O
from .noncompact import GL as GL
from .noncompact import SL as SL
from .noncompact import GLPlus as GLPlus
from .noncompact import Lorentz as Lorentz
from .noncompact import Sp as Sp
from .permutation import PermutationGroup as PermutationGroup
from .polygon import Cyclic as Cyclic
from .polygon import Dihedral as Dihedral
from .product import DirectProduct as DirectProduct
from .unitary import SU as SU
from .unitary import U as U
from .wreath import Power as Power
from .wreath import Wreath as Wreath
