"""Working memory that outlives a call: nobody else may write into it, and it is ordinary memory."""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from grids import seeded
from intertwine.so3 import EdgeConv
from intertwine.so3.scratch import scratch, taken


def test_memory_grows_and_stays():
    store, like = {}, torch.zeros(1, dtype=torch.float64)
    first = taken(store, "a", like, 10)
    assert first.shape == (10,) and first.dtype == torch.float64
    assert taken(store, "a", like, 5).data_ptr() == first.data_ptr()
    assert taken(store, "b", like, 5).data_ptr() != first.data_ptr()
    assert taken(store, "a", like, 20).shape == (20,)


def test_threads_and_dtypes_have_their_own():
    like = torch.zeros(1)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(scratch, like).result()
    stores = [scratch(like), scratch(like.double()), other]
    assert len({id(store) for store in stores}) == 3
    assert scratch(like) is stores[0]


def test_stand_ins_leave_nothing_behind():
    with FakeTensorMode() as mode:
        assert scratch(mode.from_tensor(torch.zeros(1))) == {}


def setting(edges: int):
    g = seeded()
    conv = EdgeConv("4x0e+4x1o+4x2e", 2, "0e+1o+2e").double()
    x = torch.randn(9, conv.rep_in.dim, generator=g, dtype=torch.float64)
    Y = torch.randn(edges, 9, generator=g, dtype=torch.float64)
    w = torch.randn(edges, *conv.weight_shape, generator=g, dtype=torch.float64)
    src, dst = torch.randint(9, (2, edges), generator=g)
    return conv, (x, Y, w), (src, dst.sort().values)


def test_inference_first_and_training_after():
    conv, moving, graph = setting(50)
    with torch.inference_mode():
        wanted = conv(*moving, *graph).clone()
    leaves = [t.clone().requires_grad_() for t in moving]
    found = conv(*leaves, *graph)
    assert torch.equal(found, wanted)
    assert all(g.isfinite().all() for g in torch.autograd.grad(found.sum(), leaves))


def test_many_threads_at_once():
    """Forward on one thread and backward on another, while both are at other graphs."""
    settings = [setting(edges) for edges in (40, 300, 41, 299) * 4]

    def forward(setting):
        conv, moving, graph = setting
        leaves = [t.clone().requires_grad_() for t in moving]
        return conv(*leaves, *graph), leaves

    def backward(made):
        out, leaves = made
        return torch.autograd.grad(out.square().sum(), leaves)

    alone = [backward(forward(s)) for s in settings]
    with ThreadPoolExecutor(3) as one, ThreadPoolExecutor(3) as two:
        made = list(one.map(forward, settings))
        later = one.map(forward, settings)
        together = list(two.map(backward, made))
        list(later)
    for wanted, found in zip(alone, together):
        assert all(torch.equal(a, b) for a, b in zip(wanted, found))
