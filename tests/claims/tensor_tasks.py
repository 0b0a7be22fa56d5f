"""Three functions of tensors that a network can learn from few points if it knows the group (arXiv:2104.09459)."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intertwine.groups import Lorentz, O
from intertwine.models.tensors import EMLP
from intertwine.nn.linear import sizes
from intertwine.reps import Rep


def norms(x: Tensor) -> Tensor:
    """O(5): sin|x1| - |x2|³/2 + x1·x2/(|x1||x2|) of two vectors."""
    a, b = x.view(-1, 5, 2).unbind(-1)
    length, other = a.norm(dim=1), b.norm(dim=1)
    return (torch.sin(length) - other**3 / 2 + (a * b).sum(1) / (length * other))[:, None]


def inertia(x: Tensor) -> Tensor:
    """O(3): the moment of inertia of five masses at five points."""
    m, r = x[:, :5], x[:, 5:].view(-1, 3, 5)
    sphere = (m * r.square().sum(1)).sum(1)[:, None, None] * torch.eye(3)
    return (sphere - torch.einsum("km,kim,kjm->kij", m, r, r)).flatten(1)


def scattering(x: Tensor) -> Tensor:
    """Lorentz(1, 3): 4 Σ (p1⊗p3 - (p1·p3 - p1·p1)η) ∘ (ηp2⊗ηp4 - (p2·p4 - p2·p2)η) of four vectors."""
    p1, p2, p3, p4 = x.view(-1, 4, 4).unbind(-1)
    eta = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0]))

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return ((a @ eta) * b).sum(1)[:, None, None]

    above = p1[:, :, None] * p3[:, None] - (dot(p1, p3) - dot(p1, p1)) * eta
    below = (p2 @ eta)[:, :, None] * (p4 @ eta)[:, None] - (dot(p2, p4) - dot(p2, p2)) * eta
    return 4 * (above * below).sum((1, 2))[:, None]


def masses_and_points(k: int, generator: torch.Generator) -> Tensor:
    """Five masses softplus(z) and five standard normal points."""
    masses = F.softplus(torch.randn(k, 5, generator=generator))
    return torch.cat([masses, torch.randn(k, 15, generator=generator)], 1)


@dataclass(frozen=True)
class Task:
    """A function of features of rep_in, with a way to draw those."""

    rep_in: Rep
    rep_out: Rep
    target: Callable[[Tensor], Tensor]
    inputs: Callable[[int, torch.Generator], Tensor]

    def draw(self, k: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """k inputs and their targets."""
        x = self.inputs(k, generator)
        return x, self.target(x)


TASKS = {
    "O(5)": Task(2 * O(5).V, O(5).trivial, norms, lambda k, g: torch.randn(k, 10, generator=g)),
    "inertia": Task(5 * O(3).trivial + 5 * O(3).V, O(3).V ** 2, inertia, masses_and_points),
    "Lorentz": Task(
        4 * Lorentz(1, 3).V, Lorentz(1, 3).trivial, scattering, lambda k, g: torch.randn(k, 16, generator=g) / 4
    ),
}


def perceptron(task: Task, parameters: int, generator: torch.Generator) -> nn.Sequential:
    """A plain network of three hidden layers with about so many parameters, drawn as torch does."""
    ends = task.rep_in.dim + task.rep_out.dim + 3
    width = max(1, round((math.sqrt(ends**2 + 8 * parameters) - ends) / 4))
    sizes, layers = [task.rep_in.dim, width, width, width, task.rep_out.dim], []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.SiLU()]
        for parameter in layers[-2].parameters():
            nn.init.uniform_(parameter, -(a**-0.5), a**-0.5, generator=generator)
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def in_another_basis(network: EMLP, other: EMLP) -> EMLP:
    """`other` as the function that `network` is, where only the bases of their linear layers differ."""
    other.bilinears.load_state_dict(network.bilinears.state_dict())
    for here, there in zip([*network.linears, network.last], [*other.linears, other.last]):
        for space, weight, matrix in (
            (there.map, there.weight, here.matrix()),
            (there.bias_map, there.bias, here(here.weight.new_zeros(here.rep_in.dim))[:, None]),
        ):
            if space is not None:
                parts = zip(space.blocks, space.weights(space.project(matrix)))
                scaled = [
                    w * torch.from_numpy(sizes(block, there.normalize)[:, None, None]).to(w) for block, w in parts
                ]
                weight.copy_(torch.cat([w.flatten() for w in scaled]))
    return other


def learn(
    task: Task,
    kind: str,
    points: int,
    *,
    steps: int,
    hidden: int,
    seed: int,
    rate: float | None = None,
    tests: int = 2000,
    method: str = "auto",
) -> float:
    """Relative RMSE on fresh points after Adam on `points` of them, 100 a step; the rate rises and falls once.

    kind: "EMLP", "MLP" of as many parameters, or "MLP + turned": each batch moved by random group elements. rate: 1e-3
    for EMLP, whose products can run away at more, 3e-3 for the others, which need it. method: the rule that finds the
    layers of EMLP; with another than "auto" it starts as the same function.
    """
    generator = torch.Generator().manual_seed(seed)
    x, y = task.draw(points, generator)
    x_test, y_test = task.draw(tests, generator)
    network: nn.Module = EMLP(task.rep_in, task.rep_out, hidden, generator=generator)
    if method != "auto":
        network = in_another_basis(network, EMLP(task.rep_in, task.rep_out, hidden, method=method))
    if kind != "EMLP":
        network = perceptron(task, sum(p.numel() for p in network.parameters()), generator)
    rate = rate or (1e-3 if kind == "EMLP" else 3e-3)
    size_in, size_out = x.square().mean().sqrt(), y.square().mean().sqrt()  # a number changes no symmetry
    optimizer = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        chosen = torch.randint(points, (min(points, 100),), generator=generator)
        a, b = x[chosen], y[chosen]
        if kind == "MLP + turned":
            g = task.rep_in.group.sample(len(a), generator=generator, dtype=a.dtype)
            a, b = task.rep_in.act(g, a), task.rep_out.act(g, b)
        loss = F.mse_loss(network(a / size_in), b / size_out)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return ((network(x_test / size_in) * size_out - y_test).norm() / y_test.norm()).item()
