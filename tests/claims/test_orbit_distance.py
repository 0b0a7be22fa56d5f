"""Orbit distance minimisation (arXiv:2311.07143): a plain network made Lorentz invariant, on scattering of leptons."""

import time

import pytest
import torch
from torch import nn

from claims.claim import Claim, Numbers
from intertwine.groups import Lorentz
from intertwine.reps import Invariant
from intertwine.symmetrize import OrbitCanonicalize, OrbitSource, ScalarGenerator

GROUP = Lorentz(1, 3)
REP = 4 * GROUP.V
KINDS = ("mlp", "augmented", "orbit")
BOOST = 0.7  # standard deviation of each component of the rapidity


def scattering(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Four normal four-vectors, and the matrix element of electron-muon scattering made of their products, scaled."""
    x = torch.randn(count, 4, 4, generator=generator)  # components first: [batch, component, particle]
    G = x.mT @ GROUP.form().float() @ x / 16
    a, b = G[:, 0, 2] - G[:, 0, 0], G[:, 1, 3] - G[:, 1, 1]
    y = G[:, 0, 1] * G[:, 2, 3] - a * G[:, 1, 3] - G[:, 0, 2] * b + 2 * a * b
    return x.flatten(1), 4 * y[:, None] / SIZE


SIZE = 0.4  # about the standard deviation of y


def mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(REP.dim, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))


def boosted(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each sample moved by an element of its own."""
    return REP.act(GROUP.sample(len(x), generator=generator, dtype=torch.float32, scale=BOOST), x)


def fit(kind: str, seed: int, train: int, test: int, epochs: int) -> Numbers:
    """Errors on test data as it comes and boosted, in units of the variance of the target."""
    generator = torch.Generator().manual_seed(seed)
    (x, y), (x_test, y_test) = scattering(train, generator), scattering(test, generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = mlp(128)
    if kind == "orbit":
        net = ScalarGenerator(REP, width=128, generator=torch.Generator().manual_seed(seed))
        model = OrbitCanonicalize(model, REP, Invariant(), OrbitSource(net, GROUP, project=False, bound=3.0))
    optimizer = torch.optim.Adam(model.parameters())
    steps = epochs * -(-train // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    start = time.process_time()
    for _ in range(epochs):
        for batch in torch.randperm(train, generator=generator).split(64):
            part = boosted(x[batch], generator) if kind == "augmented" else x[batch]
            optimizer.zero_grad()
            if kind == "orbit":
                out, info = model(part, return_info=True)
                loss = (out - y[batch]).square().mean() + model.canonicalizer.orbit_loss(info)
            else:
                loss = (model(part) - y[batch]).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    found = {"seconds": time.process_time() - start}
    model.eval()
    with torch.no_grad():
        moved = boosted(x_test, generator)
        if kind == "orbit":
            found["distance"] = model.canonicalizer(x_test).info["orbit_distance"].median().item()
        for name, data in (("mse", x_test), ("boosted mse", moved)):
            found[name] = ((model(data) - y_test).square().mean() / y_test.var()).item()
    return found


def experiment(*, seed: int, seeds: int, **size: int) -> Numbers:
    """Means over seeds for each way of training."""
    numbers: Numbers = {}
    for kind in KINDS:
        runs = [fit(kind, seed + k, **size) for k in range(seeds)]
        numbers |= {f"{kind} {name}": sum(run[name] for run in runs) / seeds for name in runs[0]}
    return numbers


def holds(numbers: Numbers) -> bool:
    """Boosts cost the symmetrized network nothing; on boosted data it is far better than bare or augmented."""
    orbit = numbers["orbit boosted mse"]
    return (
        orbit <= 1.5 * numbers["orbit mse"]
        and numbers["mlp boosted mse"] >= 3 * orbit
        and numbers["augmented boosted mse"] >= 1.5 * orbit
    )


def ours(numbers: Numbers) -> str:
    words = "; ".join(
        f"{name} {numbers[f'{kind} mse']:.2f} and {numbers[f'{kind} boosted mse']:.2f}"
        for kind, name in (("mlp", "bare"), ("augmented", "augmented with boosts"), ("orbit", "symmetrized"))
    )
    return (
        f"test MSE as it comes and boosted, in units of the variance: {words}. Median squared orbit distance "
        f"{numbers['orbit distance']:.1f}; training time {numbers['orbit seconds'] / numbers['mlp seconds']:.1f} times "
        "the bare network's"
    )


CLAIM = Claim(
    name="orbit_distance",
    system="Orbit distance minimisation",
    symbol="intertwine.symmetrize.OrbitCanonicalize",
    arxiv="2311.07143",
    statement="electron-muon scattering from four momenta: an MLP behind a learned Lorentz matrix is as good on "
    "boosted data as on its own, the bare MLP three times worse there and one augmented with boosts half as bad again",
    theirs="the method reaches groups that earlier ways of symmetrizing did not, O(1,3) on this task",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"seeds": 1, "train": 600, "test": 500, "epochs": 15},
    full={"seeds": 3, "train": 2000, "test": 1000, "epochs": 40},
)


@pytest.mark.claim
def test_boosts_cost_the_symmetrized_network_nothing():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert abs(numbers["orbit boosted mse"] - numbers["orbit mse"]) < 0.02 * numbers["orbit mse"], numbers
    assert numbers["orbit boosted mse"] < numbers["mlp boosted mse"], numbers


def test_the_rule_can_fail():
    fine = {"orbit mse": 0.2, "orbit boosted mse": 0.2, "mlp boosted mse": 1.5, "augmented boosted mse": 0.6}
    assert holds(fine)
    wrong = {"orbit mse": 0.1, "mlp boosted mse": 0.5, "augmented boosted mse": 0.25}
    assert not any(holds(fine | {name: value}) for name, value in wrong.items())
