"""e3nn as a referee: its imports and constructors warn, which is its own business, not ours."""

import warnings

import pytest
import torch


@pytest.fixture(scope="session")
def o3():
    """The module e3nn.o3; skips where e3nn is absent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("e3nn.o3")


@pytest.fixture
def float64_default():
    """torch's default dtype is float64 while the test runs."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
