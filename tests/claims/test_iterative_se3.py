"""Iterative SE(3)-Transformers (arXiv:2102.13419): refining positions in steps finds lower energies than one step."""

import pytest
import torch

from claims.claim import Claim, Numbers
from intertwine.models.points import IterativeSE3Transformer
from intertwine.nn import full_graph

POINTS = 10


def potential(u: torch.Tensor) -> torch.Tensor:
    """A double well with minimum 0 at u = -0.730893; u = |x_i - x_j| - a_ij - 1."""
    return u**4 - u**2 + 0.1 * u + 0.3219193


class Problem:
    """`batch` clouds of ten points N(0, 1/4), a hidden number a_ij = a_ji from U(0, 1) for each pair."""

    def __init__(self, batch: int, generator: torch.Generator):
        self.pos = torch.randn(batch * POINTS, 3, generator=generator) / 2
        a = torch.rand(batch, POINTS, POINTS, generator=generator).triu(1)
        self.edges = full_graph(batch * POINTS, torch.arange(batch).repeat_interleave(POINTS))
        source, target = self.edges
        self.a = (a + a.mT)[source // POINTS, source % POINTS, target % POINTS]

    def scalars(self, r: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """The network sees the energy of a pair, never a_ij."""
        return potential(r - self.a[ids] - 1)

    def energy(self, pos: torch.Tensor) -> torch.Tensor:
        """Mean over ordered pairs."""
        source, target = self.edges
        return potential((pos[source] - pos[target]).norm(dim=1) - self.a - 1).mean()


def descended(problem: Problem, steps: int) -> float:
    """Gradient descent on the true energy (step 0.02 of the sum over pairs, moves along a pair of at most 0.1)."""
    pos, (source, target) = problem.pos.double(), problem.edges
    a = problem.a.double()
    for _ in range(steps):
        x = pos[source] - pos[target]
        r = x.norm(dim=1, keepdim=True)
        u = r - a[:, None] - 1
        slope = (4 * u**3 - 2 * u + 0.1) * 0.02
        pos = pos.index_add(0, target, slope.clamp(-0.1, 0.1) * x / r)
    return problem.energy(pos).item()


def trained(make, steps: int, batch: int, rate: float, seed: int, tests: Problem) -> float:
    """Mean energy on unseen problems after training on fresh ones."""
    generator = torch.Generator().manual_seed(seed)
    model = make(torch.Generator().manual_seed(seed))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        problem = Problem(batch, generator)
        loss = problem.energy(model(problem.pos, problem.edges, problem.scalars).pos)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return tests.energy(model(tests.pos, tests.edges, tests.scalars).pos).item()


def experiment(
    *, seed: int, seeds: int, steps: int, batch: int, tests: int, rate: float, descent: int, models: int = 3
) -> Numbers:
    """Energies after one pass of six layers, three of two without and with the gradient through directions."""
    unseen = Problem(tests, torch.Generator().manual_seed(seed + 1000))
    sizes = {"degree": 1, "channels": 4}
    variants = {
        "iterative": {"iterations": 3, "layers": 2},
        "no basis gradient": {"iterations": 3, "layers": 2, "backprop_basis": False},
        "single pass": {"iterations": 1, "layers": 6},
    }
    numbers: Numbers = {"start": round(unseen.energy(unseen.pos).item(), 4)}
    for name, variant in list(variants.items())[:models]:

        def make(generator, variant=variant):
            return IterativeSE3Transformer(**sizes, **variant, generator=generator)

        found = [trained(make, steps, batch, rate, seed + k, unseen) for k in range(seeds)]
        numbers[name] = round(sum(found) / seeds, 4)
        numbers[f"spread, {name}"] = round(max(found) - min(found), 4)
        numbers[f"weights, {name}"] = sum(p.numel() for p in make(None).parameters())
    numbers["gradient descent"] = round(descended(unseen, descent), 4)
    return numbers


def holds(numbers: Numbers) -> bool:
    """At least 20 % below a single pass. Training is chaotic: the gradient through directions is shown, not judged."""
    return numbers["iterative"] <= 0.8 * numbers["single pass"]


def ours(numbers: Numbers) -> str:
    spread = max(value for key, value in numbers.items() if key.startswith("spread"))
    return (
        f"mean energy {numbers['start']:.3f} at first; after training, means of two runs, up to {spread:.3f} apart: "
        f"{numbers['single pass']:.4f} single pass, {numbers['no basis gradient']:.4f} iterative without the gradient "
        f"through directions, {numbers['iterative']:.4f} iterative; {numbers['gradient descent']:.4f} by descent. "
        "The gain from that gradient is not shown at this length of training"
    )


CLAIM = Claim(
    name="iterative_se3",
    system="Iterative SE(3)-Transformer",
    symbol="intertwine.models.points.IterativeSE3Transformer",
    arxiv="2102.13419",
    statement="ten points with hidden pair potentials: three blocks that move the points find lower energies than one "
    "pass with as many layers",
    theirs="0.0942 single pass, 0.0704 without basis gradient, 0.0592 iterative, 0.0619 gradient descent",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"seeds": 1, "steps": 80, "batch": 8, "tests": 20, "rate": 1e-3, "descent": 200, "models": 1},
    full={"seeds": 2, "steps": 400, "batch": 16, "tests": 500, "rate": 1e-3, "descent": 5000},
)


@pytest.mark.claim
def test_eighty_steps_lower_the_energy_and_descent_lowers_it_further():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert numbers["gradient descent"] < numbers["iterative"] < 0.9 * numbers["start"]
