"""Networks for images."""

from .lie_resnet import LieResNet as LieResNet
