"""Spherical harmonics of edge vectors, degrees 0..L, normalised inside the clock."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness import Table, arguments, by_column, finish, peer, start
from intertwine.so3 import spherical_harmonics

COLUMNS = ["forward", "forward + backward", "double backward"]


def e3nn(lmax: int) -> Callable[[Tensor], Tensor] | None:
    """e3nn's function."""
    if not peer("e3nn"):
        return None
    o3, degrees = peer("e3nn.o3"), list(range(lmax + 1))
    return lambda r: o3.spherical_harmonics(degrees, r, normalize=True, normalization="component")


def cuequivariance(lmax: int) -> Callable[[Tensor], Tensor] | None:
    """cuequivariance's module."""
    cuet = peer("cuequivariance_torch")
    if cuet is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = None if torch.cuda.is_available() else "naive"
        try:
            return cuet.SphericalHarmonics(list(range(lmax + 1)), normalize=True, method=method)
        except ValueError as limit:
            print(f"left out: cuequivariance at L = {lmax} ({limit})")
            return None


PEERS = {"e3nn": e3nn, "cuequivariance": cuequivariance}


def passes(run: Callable[[Tensor], Tensor], r: Tensor, lmax: int) -> dict[str, Callable[[], object]]:
    """Forward; its gradient; the gradient of the gradient."""
    leaf = r.detach().clone().requires_grad_()
    w = torch.linspace(-1, 1, (lmax + 1) ** 2, dtype=r.dtype)

    def forward() -> None:
        with torch.no_grad():
            run(r)

    def backward() -> None:
        torch.autograd.grad((run(leaf) * w).sum(), leaf)

    def double() -> None:
        (first,) = torch.autograd.grad((run(leaf) * w).sum(), leaf, create_graph=True)
        torch.autograd.grad(first.square().sum(), leaf)

    return dict(zip(COLUMNS, (forward, backward, double)))


def main() -> None:
    """Print the table for each degree."""
    parser = arguments(__doc__)
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--edges", type=int, default=1000)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    options = parser.parse_args()
    start(options)
    table = Table(f"spherical harmonics, E = {options.edges}, {options.dtype}", COLUMNS)
    table.head()
    generator = torch.Generator().manual_seed(0)
    for lmax in options.degrees:
        r = torch.randn(options.edges, 3, generator=generator, dtype=getattr(torch, options.dtype))
        candidates = {"intertwine": lambda r, lmax=lmax: spherical_harmonics(r, lmax)}
        candidates |= {name: made for name in options.peers if (made := PEERS[name](lmax))}
        error = {n: (f(r) - candidates["intertwine"](r)).abs().max().item() for n, f in candidates.items()}
        steps = {name: passes(run, r, lmax) for name, run in candidates.items()}
        timings = by_column(steps, COLUMNS, options.repeats)
        table.add(f"L = {lmax}", timings, {n: e for n, e in error.items() if n != "intertwine"})
    if len(options.degrees) > 1:
        print(table.growth(options.degrees))
    finish(options, [table])


if __name__ == "__main__":
    main()
