"""Small results for tests of pages."""

import torch

from intertwine import audit
from intertwine.audit import OrbitGrid
from intertwine.groups import SO

V, V2 = SO(3).V, SO(2).V
HOSTILE = "</script><img src=x onerror=\"document.title='hacked'\"><!-- 'quoted' & \u2028"


def broken(x):
    return x * x.norm(dim=-1, keepdim=True) + 0.1 * x.abs()


def sometimes_nan(x):
    return torch.where(x[:, :1] > 0.8, torch.nan, broken(x))


def an_audit(n=30, fn=broken, title="model", seed=0):
    g = torch.Generator().manual_seed(seed)
    return audit.measure(fn, V, V, torch.randn(n, 3, generator=g), generator=g, title=title, n_samples=20_000)


def a_nero(n=30, fn=None, grid=None, title="orbits", **options):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 2, generator=g)
    models = fn or {"first": broken, "second": lambda x: x * 2}
    return audit.nero(models, V2, V2, x, orbit=grid or OrbitGrid.circle(24), generator=g, title=title, **options)
