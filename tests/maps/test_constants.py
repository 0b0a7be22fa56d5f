"""Constants keep their digits through casts, and stay out of the state."""

import copy

import numpy as np
import pytest
import torch

from intertwine.maps.constants import Constants

TABLE = np.array([1 / 3, 2 / 7])


def constants(any_dtype: bool) -> Constants:
    return Constants([TABLE, np.arange(3)], any_dtype=any_dtype)


@pytest.mark.parametrize("any_dtype", [False, True])
def test_they_are_exact_after_any_change_of_dtype(any_dtype):
    module = torch.nn.ModuleList([constants(any_dtype)])
    for dtype in (torch.bfloat16, torch.float64, torch.float32, torch.float64):
        module.to(dtype)
        assert torch.equal(module[0].tensors()[0], torch.from_numpy(TABLE).to(dtype))
        assert module[0].tensors()[1].dtype == torch.int64
    assert module.state_dict() == {} and not list(module.parameters())
    assert copy.deepcopy(module)[0].tensors()[0].tolist() == TABLE.tolist()


@pytest.mark.parametrize("any_dtype", [False, True])
def test_they_follow_the_device_of_the_module(any_dtype):
    module = constants(any_dtype).to("meta")
    assert module.tensors()[0].is_meta
    back = module.to_empty(device="cpu")
    assert torch.equal(back.tensors()[0], torch.from_numpy(TABLE).float())
    if any_dtype:
        assert constants(True).to("meta")(torch.zeros(()))[0].is_meta
        assert torch.equal(back(torch.zeros((), dtype=torch.float64))[0], torch.from_numpy(TABLE))


@pytest.mark.parametrize("module_dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_dtype_may_be_the_caller_s(module_dtype, dtype):
    table, index = constants(True).to(module_dtype)(torch.zeros((), dtype=dtype))
    assert torch.equal(table, torch.from_numpy(TABLE).to(dtype))
    assert index.dtype == torch.int64
