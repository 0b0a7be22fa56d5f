"""Whether `TensorProduct(method="auto")` picks the fastest way: predicted and measured times of every way it weighs."""

import torch

from benchmarks.harness import Table, arguments, compare, finish, start
from intertwine.so3 import Irreps, TensorProduct, spherical_harmonics


def cases(channels: int, degrees: list[int]) -> dict[str, dict]:
    """Name -> arguments of the product."""
    found = {}
    for L in degrees:
        edge, wide, narrow = Irreps.spherical(L), Irreps.spherical(L, channels), Irreps.spherical(L, 4)
        options = {"mode": "uvw", "weights": "shared", "harmonics": True}
        found[f"edge, L = {L}, {channels} channels"] = {"sides": (wide, edge, wide), **options}
        found[f"edge, L = {L}, 4 channels"] = {"sides": (narrow, edge, narrow), **options}
        found[f"sphere, L = {L}, {channels} channels"] = {"sides": (wide, wide, wide), "weights": "separable"}
        double = Irreps.spherical(2 * L, channels)
        found[f"sphere, L = {L} to {2 * L}"] = {"sides": (wide, wide, double), "weights": "separable"}
    return found


def main() -> None:
    """Print a row for each product."""
    parser = arguments(__doc__)
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 3, 4, 6])
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    start(options)
    table = Table("ways of one product", ["forward"], ours="auto")
    print("\n| product | predicted µs | measured µs | predicted winner | measured winner |\n|---|---|---|---|---|")
    good = total = 0
    for name, settings in cases(options.channels, options.degrees).items():
        sides, generator = settings.pop("sides"), torch.Generator().manual_seed(0)
        plan = TensorProduct(*sides, **settings, generator=generator).plan
        ways = {way.method: way for way in plan.ways if not way.why_not}
        x = sides[0].randn(options.samples, generator=generator)
        y = sides[1].randn(options.samples, generator=generator)
        if "harmonics" in settings:
            r = torch.randn(options.samples, 3, generator=generator)
            y = spherical_harmonics(r, sides[1].lmax)
        made = {
            way: TensorProduct(*sides, **settings, method=way, generator=generator).requires_grad_(False)
            for way in ways
        }
        times = compare({way: (lambda p=p, x=x, y=y: p(x, y)) for way, p in made.items()}, repeats=options.repeats)
        microseconds = {way: 1e3 * time.minimum / options.samples for way, time in times.items()}
        best = min(microseconds, key=microseconds.get)
        total, good = total + 1, good + (microseconds[plan.method] <= 1.25 * microseconds[best])
        predicted = ", ".join(f"{way} {1e6 * ways[way].seconds:.2f}" for way in ways)
        measured = ", ".join(f"{way} {t:.2f}" for way, t in microseconds.items())
        print(f"| {name} | {predicted} | {measured} | {plan.method} | {best} |", flush=True)
        table.rows.append((name, {"forward": times | {"auto": times[plan.method]}}, {}))
    print(f"\nauto within a quarter of the fastest: {good} of {total}")
    finish(options, [table])


if __name__ == "__main__":
    main()
