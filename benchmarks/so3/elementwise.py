"""Products channel by channel: with coefficients, against e3nn, and of functions on the sphere, by every method."""

import argparse
import math
import warnings
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Table, arguments, compare, finish, peer, start
from benchmarks.so3.uvu import Conv, compiled, passes
from intertwine.so3 import Irreps, TensorProduct, gaunt_product
from intertwine.so3.gaunt import multiplied
from intertwine.so3.gaunt_methods import candidates

COLUMNS = ["forward", "forward + backward", "double backward"]
CASES = [  # degrees of both factors and the product, for the methods on the sphere
    *((l, l, l) for l in (1, 2, 3, 4, 5, 6)),
    *((l, l, 2 * l) for l in (2, 3, 4, 6)),
    (4, 1, 4),
    (6, 2, 6),
    (0, 3, 3),
    (3, 3, 0),
    (6, 6, 0),
]
SWEEP = [2, 3, 4, 5, 6, 7, 8]  # degrees of the exponents


class Setting:
    """Two features of degrees 0..L, natural parity; weights for each path and channel, shared by all samples."""

    def __init__(self, lmax: int, channels: int, batch: int, dtype: torch.dtype, generator: torch.Generator):
        self.lmax, self.channels, self.dtype = lmax, channels, dtype
        self.irreps = Irreps.spherical(lmax, channels)
        self.product = TensorProduct(self.irreps, self.irreps, self.irreps, mode="uuu")

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=dtype)

        self.x, self.y = draw(batch, self.irreps.dim), draw(batch, self.irreps.dim)
        self.w = draw(self.product.weight_numel)

    def coefficients(self) -> tuple[Conv, tuple[Tensor, ...]]:
        """TensorProduct in mode uuu."""
        return self.product, (self.x, self.y, self.w)

    def gaunt(self) -> tuple[Conv, tuple[Tensor, ...]]:
        """The product of functions on the grid: less expressive."""
        x, y = (z.unflatten(1, (-1, self.channels)) for z in (self.x, self.y))
        return lambda x, y: gaunt_product(x, y, self.lmax, method="grid"), (x, y)

    def e3nn(self) -> tuple[Conv, tuple[Tensor, ...]] | None:
        """e3nn's TensorProduct with the same paths."""
        if not peer("e3nn"):
            return None
        o3 = peer("e3nn.o3")
        kinds = "+".join(f"{self.channels}x{l}{'e' if l % 2 == 0 else 'o'}" for l in range(self.lmax + 1))
        instructions = [(p.i1, p.i2, p.i3, "uuu", True) for p in self.product.paths]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            product = o3.TensorProduct(
                kinds, kinds, kinds, instructions, shared_weights=True, internal_weights=False
            ).to(self.dtype)
        x, y = (
            torch.cat([block.mT.flatten(1) for block in self.irreps.split(z)], 1) for z in (self.x, self.y)
        )  # [2l+1, c] -> [c, 2l+1]
        return product, (x, y, self.w)

    def from_e3nn(self, z: Tensor) -> Tensor:
        """Blocks [c, 2l+1] in our layout."""
        parts = z.split([c * irrep.dim for irrep, c in self.irreps.blocks], 1)
        return torch.cat([part.unflatten(1, (self.channels, -1)).mT.flatten(1) for part in parts], 1)


def methods(options: argparse.Namespace) -> None:
    """Print the time of every method on the sphere, measured and predicted, and whether the prediction was right."""
    print(f"\nMethods on the sphere, batch {options.batch}, {options.channels} channels: ns a channel, (predicted)\n")
    print("| degrees | measured (predicted) | predicted first | loss |\n|---|---|---|---|")
    generator = torch.Generator().manual_seed(0)
    losses = []
    for degrees in CASES:
        x, y = (torch.randn(options.batch, (l + 1) ** 2, options.channels, generator=generator) for l in degrees[:2])
        plans = {plan.method: plan for plan in candidates(*degrees)}
        with torch.no_grad():
            found = compare(
                {name: partial(multiplied, plan, x, y) for name, plan in plans.items()},
                repeats=options.repeats,
                warmup=2,
            )
        columns = 1e6 / (options.batch * options.channels)  # ms -> ns for one
        order = sorted(found, key=lambda name: found[name].minimum)
        chosen = min(plans, key=lambda name: plans[name].seconds)
        losses.append(found[chosen].minimum / found[order[0]].minimum)
        shown = ", ".join(
            f"{name} {columns * found[name].minimum:.0f} ({1e9 * plans[name].seconds:.0f})" for name in order
        )
        print(f"| {degrees[0]}, {degrees[1]} -> {degrees[2]} | {shown} | {chosen} | {losses[-1]:.2f}× |", flush=True)
    right = sum(loss == 1 for loss in losses)
    print(f"\nthe prediction is the fastest {right} times of {len(losses)}; at worst it loses {max(losses):.2f}×")


def sweep(options: argparse.Namespace) -> None:
    """Print the time by the degree, one channel, output of all degrees, and its exponent."""
    generator = torch.Generator().manual_seed(0)
    print(
        f"\nDegrees 0..L to 0..2L, batch {options.batch}, one channel, ms\n\n"
        "| L | grid | fourier | cg |\n|---|---|---|---|"
    )
    times: dict[str, list[float]] = {"grid": [], "fourier": [], "cg": []}
    for lmax in SWEEP:
        x, y = (torch.randn(options.batch, (lmax + 1) ** 2, 1, generator=generator) for _ in range(2))
        with torch.no_grad():
            found = compare(
                {m: partial(gaunt_product, x, y, 2 * lmax, method=m) for m in times},
                repeats=options.repeats,
                warmup=2,
            )
        for name, timing in found.items():
            times[name].append(timing.minimum)
        print(f"| {lmax} | " + " | ".join(f"{times[m][-1]:.2f}" for m in times) + " |", flush=True)
    logs = [math.log(lmax) for lmax in SWEEP]
    middle = sum(logs) / len(logs)
    for name, found in times.items():
        slope = sum((a - middle) * math.log(t) for a, t in zip(logs, found)) / sum((a - middle) ** 2 for a in logs)
        print(f"exponent of {name}: {slope:.2f}")


def main() -> None:
    """Print the table for each degree."""
    parser = arguments(__doc__)
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--compile", action="store_true", help="both sides through torch.compile")
    parser.add_argument(
        "--methods", action="store_true", help="instead, the methods on the sphere and their prediction"
    )
    parser.add_argument("--sweep", action="store_true", help="instead, one channel and all degrees: exponents")
    options = parser.parse_args()
    start(options)
    if options.methods or options.sweep:
        return methods(options) if options.methods else sweep(options)
    size = f"batch {options.batch}, C = {options.channels}, {options.dtype}{', compiled' if options.compile else ''}"
    tables = [
        Table(f"uuu with coefficients, {size}", COLUMNS, ours="coefficients"),
        Table(f"product on the grid (even l1 + l2 + l3, less expressive), {size}", COLUMNS, ours="gaunt"),
    ]
    if options.compile:
        for table in tables:
            table.columns = COLUMNS[:2]
    rows = []
    for lmax in options.degrees:
        setting = Setting(
            lmax, options.channels, options.batch, getattr(torch, options.dtype), torch.Generator().manual_seed(0)
        )
        made = {"coefficients": setting.coefficients(), "gaunt": setting.gaunt(), "e3nn": setting.e3nn()}
        made = {name: pair for name, pair in made.items() if pair}
        if options.compile:
            made = compiled(made)
        steps = {name: passes(*pair) for name, pair in made.items()}
        error = {}
        if "e3nn" in made:
            theirs = setting.from_e3nn(made["e3nn"][0](*made["e3nn"][1]))
            error["e3nn"] = (setting.product(setting.x, setting.y, setting.w) - theirs).abs().max().item()
        timings = {
            column: compare({name: found[column] for name, found in steps.items()}, repeats=options.repeats)
            for column in tables[0].columns
        }
        rows.append((f"L = {lmax}", timings, error))
    for table in tables:
        table.head()
        for label, timings, error in rows:
            kept = {
                c: {n: t for n, t in f.items() if table.ours == "gaunt" or n != "gaunt"} for c, f in timings.items()
            }
            table.add(label, kept, error if table.ours == "coefficients" else {})
    finish(options, tables)


if __name__ == "__main__":
    main()
