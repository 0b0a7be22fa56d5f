"""Constants keep their digits through casts, and stay out of the state."""

import copy

import numpy as np
import torch

from intertwine.so3.constant import Constant

TABLE = np.array([1 / 3, 2 / 7])


def test_a_round_trip_through_float32_loses_nothing():
    constant = Constant(TABLE).float().double()
    like = torch.zeros((), dtype=torch.float64)
    assert constant(like).tolist() == TABLE.tolist()
    assert copy.deepcopy(constant)(like).tolist() == TABLE.tolist()


def test_the_dtype_is_the_caller_s():
    constant = Constant(TABLE)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        assert constant(torch.zeros((), dtype=dtype)).dtype == dtype
        assert constant.to(torch.bfloat16)(torch.zeros((), dtype=dtype)).dtype == dtype


def test_the_state_is_empty():
    assert not Constant(TABLE).state_dict()
    assert not list(Constant(TABLE).parameters())


def test_the_device_follows_the_module():
    assert Constant(TABLE).to("meta")(torch.zeros(())).device.type == "meta"
