"""Published motions of charged points, all systems at once, against one system after the other."""

import numpy as np

from benchmarks.harness import Table, arguments, compare, finish, start
from intertwine.data import Motion, charged


def one_by_one(motion: Motion, systems: int, steps: int, every: int) -> np.ndarray:
    """Positions [systems, frames, n, 3] by the published recursion, a loop over systems around a loop over steps."""
    found = np.empty((systems, (steps - 1) // every, *motion.positions.shape[2:]))
    for k in range(systems):
        x, v = (part[k].numpy().copy() for part in motion.start)
        strength = motion.strengths[k].numpy()
        for step in range(1, steps):
            r = x[:, None] - x[None]
            distance = np.sqrt(np.square(r).sum(-1))
            np.fill_diagonal(distance, 1.0)
            force = ((strength / distance**3)[..., None] * r).sum(1)
            v += 1e-3 * np.clip(force, -100, 100)
            x += 1e-3 * v
            if step % every == 0:
                found[k, step // every - 1] = x
    return found


def main() -> None:
    """Print the table; the loop runs over a few systems, and its time is scaled up."""
    parser = arguments(__doc__)
    parser.add_argument("--systems", type=int, default=1000)
    parser.add_argument("--looped", type=int, default=2, help="systems that the loop runs over")
    options = parser.parse_args()
    start(options)
    table = Table(f"{options.systems} published systems of 5 charges, 5000 steps", ["all"])
    table.head()
    motion = charged(options.looped, seed=0)
    error = np.abs(one_by_one(motion, options.looped, 5000, 100) - motion.positions.numpy()).max().item()
    timings = compare(
        {
            "intertwine": lambda: charged(options.systems, seed=0),
            "loop": lambda: one_by_one(motion, options.looped, 5000, 100),
        },
        repeats=options.repeats,
        warmup=1,
    )
    share = options.systems / options.looped
    loop = timings["loop"]
    timings["loop"] = type(loop)(share * loop.minimum, share * loop.median)
    table.add(f"{options.systems} systems", {"all": timings}, {"loop": error})
    finish(options, [table])


if __name__ == "__main__":
    main()
