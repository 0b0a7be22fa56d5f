"""Images of handwritten digits, for the claims that turn and distort them."""

import gzip

import numpy as np
import pytest
import torch
from torch import Tensor

from claims.claim import data_folder


def small() -> tuple[Tensor, Tensor]:
    """The 1,797 digits of scikit-learn, [1797, 1, 8, 8] from 0 to 1, and their labels."""
    images, labels = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)


def mnist() -> tuple[Tensor, Tensor]:
    """The 10,000 test images of MNIST, [10000, 1, 28, 28] from 0 to 1, and their labels."""
    folder = data_folder("mnist")
    if folder is None:
        raise FileNotFoundError(
            "the full claim needs t10k-images-idx3-ubyte.gz and its labels in $INTERTWINE_DATA/mnist"
        )
    pixels, labels = (
        np.frombuffer(gzip.decompress((folder / f"t10k-{name}-ubyte.gz").read_bytes()), np.uint8)
        for name in ("images-idx3", "labels-idx1")
    )
    images = torch.tensor(pixels[16:].reshape(-1, 1, 28, 28) / 255, dtype=torch.float32)
    return images, torch.tensor(labels[8:].astype(np.int64))
