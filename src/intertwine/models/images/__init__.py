"""Networks for images."""

from .equivariant_transformer import EquivariantTransformer as EquivariantTransformer
from .equivariant_transformer import TransformedClassifier as TransformedClassifier
from .equivariant_transformer import TransformerParallel as TransformerParallel
from .equivariant_transformer import TransformerSequence as TransformerSequence
from .lie_resnet import LieResNet as LieResNet
from .pose_predictor import Pose as Pose
from .pose_predictor import PosePredictor as PosePredictor
from .warp import Warp as Warp
from .warp import look as look
from .warp import projective as projective
from .warp_canonicalizer import WarpCanonicalizer as WarpCanonicalizer
