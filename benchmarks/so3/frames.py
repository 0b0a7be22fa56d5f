"""Wigner matrices that take the polar axis to edge vectors, all degrees 0..L: the frames of an edge convolution."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness import Table, arguments, compare, finish, peer, start
from intertwine.so3 import EdgeFrame, wigner_D

COLUMNS = ["forward"]  # no derivative passes through these matrices, see `EdgeFrame`


def intertwine(lmax: int) -> Callable[[Tensor], object]:
    """EdgeFrame."""
    return lambda r: EdgeFrame.from_vectors(r, lmax).blocks


def truncated(lmax: int) -> Callable[[Tensor], object] | None:
    """EdgeFrame with orders up to 2."""
    return (lambda r: EdgeFrame.from_vectors(r, lmax, 2).blocks) if lmax > 2 else None


def e3nn(lmax: int) -> Callable[[Tensor], object] | None:
    """e3nn's wigner_D of the angles of each edge, degree by degree."""
    if not peer("e3nn"):
        return None
    o3 = peer("e3nn.o3")

    def run(r: Tensor) -> object:
        alpha, beta = o3.xyz_to_angles(r)
        return [o3.wigner_D(l, alpha, beta, torch.zeros_like(alpha)) for l in range(lmax + 1)]

    return run


def j_matrices(lmax: int) -> Callable[[Tensor], object]:
    """The usual form elsewhere: turns about y by each angle, between constant matrices J that exchange x and y."""
    exchange = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]], dtype=torch.float64)
    J = [wigner_D(l, exchange) for l in range(lmax + 1)]

    def turn(l: int, angle: Tensor) -> Tensor:
        M = angle.new_zeros(len(angle), 2 * l + 1, 2 * l + 1)
        index, back = torch.arange(2 * l + 1), torch.arange(2 * l, -1, -1)
        waves = torch.arange(-l, l + 1, dtype=angle.dtype) * angle[:, None]
        M[:, index, back] = -waves.sin()
        M[:, index, index] = waves.cos()
        return M

    def run(r: Tensor) -> object:
        x, y, z = torch.nn.functional.normalize(r, dim=-1).unbind(1)
        alpha, beta = torch.atan2(x, z), torch.acos(y.clamp(-1, 1))
        return [turn(l, alpha) @ J[l].to(r) @ turn(l, beta) @ J[l].to(r) for l in range(lmax + 1)]

    return run


PEERS = {"e3nn": e3nn, "j_matrices": j_matrices, "truncated": truncated}


def main() -> None:
    """Print the table for each degree."""
    parser = arguments(__doc__)
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--edges", type=int, default=1000)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    options = parser.parse_args()
    start(options)
    table = Table(f"frames of edges, E = {options.edges}, {options.dtype}; truncated: ours up to order 2", COLUMNS)
    table.head()
    generator = torch.Generator().manual_seed(0)
    for lmax in options.degrees:
        r = torch.randn(options.edges, 3, generator=generator, dtype=getattr(torch, options.dtype))
        made = {"intertwine": intertwine(lmax)} | {n: f for n in options.peers if (f := PEERS[n](lmax))}
        columns = [l + m for l in range(lmax + 1) for m in [0, *(s * m for m in range(1, l + 1) for s in (1, -1))]]
        error = {}
        own = made["intertwine"](r)
        for name in set(made) & {"e3nn", "j_matrices"}:
            start_of = 0
            for l, (D, other) in enumerate(zip(own, made[name](r))):
                order = columns[start_of : start_of + 2 * l + 1]
                error[name] = max(error.get(name, 0.0), (other[:, :, order] - D).abs().max().item())
                start_of += 2 * l + 1
        calls = {name: (lambda f=f, r=r: f(r)) for name, f in made.items()}
        table.add(f"L = {lmax}", {"forward": compare(calls, repeats=options.repeats)}, error)
    if len(options.degrees) > 1:
        print(table.growth(options.degrees))
    finish(options, [table])


if __name__ == "__main__":
    main()
