"""Tensor products of all modes against e3nn's: which channels meet, with shared weights or a weight for each sample."""

import warnings

import torch
from torch import Tensor

from benchmarks.harness import Table, arguments, compare, finish, peer, start
from benchmarks.so3.uvu import compiled, passes
from intertwine.so3 import Irreps, TensorProduct

COLUMNS = ["forward", "forward + backward", "double backward"]
CASES = {  # mode, channels of both factors and the product, whether samples share the weights
    "uvw, 32 and 1 channels": ("uvw", 32, 1, 32, True),
    "uvw, 16 and 4": ("uvw", 16, 4, 16, True),
    "uvw, 16 and 16": ("uvw", 16, 16, 16, True),
    "uvw, 16 and 1, weights of each sample": ("uvw", 16, 1, 16, False),
    "uvw, 4 and 1": ("uvw", 4, 1, 4, True),
    "uvu, 32 and 1, weights of each sample": ("uvu", 32, 1, 32, False),
    "uvu, 16 and 4": ("uvu", 16, 4, 16, True),
    "uvv, 4 and 16": ("uvv", 4, 16, 16, True),
    "uvuv, 8 and 8": ("uvuv", 8, 8, 64, True),
    "uvuv, 16 and 1": ("uvuv", 16, 1, 16, True),
    "uuw, 32 and 32": ("uuw", 32, 32, 32, True),
    "uuu, 32 and 32": ("uuu", 32, 32, 32, True),
}


def e3nn_layout(x: Tensor, irreps: Irreps) -> Tensor:
    """Blocks [2l+1, c] -> [c, 2l+1]."""
    return torch.cat([block.mT.flatten(1) for block in irreps.split(x)], 1)


def main() -> None:
    """Print a row for each case and degree."""
    parser = arguments(__doc__)
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--compile", action="store_true", help="both sides through torch.compile")
    options = parser.parse_args()
    start(options)
    o3 = peer("e3nn.o3") if peer("e3nn") else None
    dtype, generator = getattr(torch, options.dtype), torch.Generator().manual_seed(0)
    size = f"batch {options.batch}, {options.dtype}{', compiled' if options.compile else ''}"
    table = Table(f"modes, degrees 0..L, {size}", COLUMNS[:2] if options.compile else COLUMNS)
    table.head()
    for name, (mode, *channels, shared) in CASES.items():
        for lmax in options.degrees:
            sides = [Irreps.spherical(lmax, c) for c in channels]
            product = TensorProduct(*sides, mode=mode)
            shapes = ((options.batch, sides[0].dim), (options.batch, sides[1].dim), (product.weight_numel,))
            x, y, w = (torch.randn(*shape, generator=generator, dtype=dtype) for shape in shapes)
            w = w if shared else torch.randn(options.batch, len(w), generator=generator, dtype=dtype)
            made, error = {"intertwine": (product, (x, y, w))}, {}
            if o3:
                kinds = [str(side).replace(" ", "") for side in sides]
                paths = [(p.i1, p.i2, p.i3, mode, True) for p in product.paths]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    theirs = o3.TensorProduct(*kinds, paths, shared_weights=shared, internal_weights=False).to(dtype)
                given = (e3nn_layout(x, sides[0]), e3nn_layout(y, sides[1]), w)
                made["e3nn"] = theirs, given
                error["e3nn"] = (e3nn_layout(product(x, y, w), sides[2]) - theirs(*given)).abs().max().item()
            if options.compile:
                made = {name.removesuffix(" compiled"): pair for name, pair in compiled(made).items()}
            steps = {name: passes(*pair) for name, pair in made.items()}
            timings = {c: compare({n: s[c] for n, s in steps.items()}, repeats=options.repeats) for c in table.columns}
            table.add(f"{name}, L = {lmax}", timings, error)
    finish(options, [table])


if __name__ == "__main__":
    main()
