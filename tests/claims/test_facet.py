"""Facet's claim on radial weights (arXiv:2509.08418): linear in a basis they do what networks do, for less."""

import statistics
import time

import pytest
import torch

from claims.claim import Claim, Numbers
from claims.facet_runs import potential, step, structures, trained

VARIANTS = {
    "Bessel, sphere": {"radial": "bessel_linear", "node": "s2_mlp"},
    "spline, sphere": {"radial": "spline", "node": "s2_mlp"},
    "network, sphere": {"radial": (64, 64), "node": "s2_mlp"},
    "Bessel, gate": {"radial": "bessel_linear", "node": "gate"},
}


def step_times(models: dict, frames: list, turns: int) -> dict[str, float]:
    """Median milliseconds of processor time of one step on ten structures, all models in turn."""
    from intertwine.data.atoms import collate

    batch = collate(frames[:10])
    optimizers = {name: torch.optim.AdamW(model.parameters(), lr=0.0) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(turns + 2):
        for name, model in models.items():
            start = time.process_time()
            step(model, optimizers[name], batch)
            if turn >= 2:
                times[name].append(1000 * (time.process_time() - start))
    return {name: statistics.median(found) for name, found in times.items()}


def experiment(
    *,
    seed: int,
    seeds: int,
    frames: int,
    steps: int,
    tested: int,
    irreps: str,
    turns: int,
    real: bool,
    variants: list[str],
) -> Numbers:
    """Force RMSE, meV/Å, after equal steps, of each seed and their mean; how many weights; milliseconds of a step."""
    numbers: Numbers = {}
    errors: dict[str, list[float]] = {name: [] for name in variants}
    for k in range(seed, seed + seeds):
        train, test = structures(frames, tested, seed=k, real=real)
        models = {name: potential(train, irreps, k, **VARIANTS[name]) for name in variants}
        for name, model in models.items():
            numbers[f"radial weights, {name}"] = sum(p.numel() for p in model.backbone.radial.parameters())
            numbers[f"weights, {name}"] = sum(p.numel() for p in model.parameters())
            numbers[f"forces, {name}, seed {k}"] = round(trained(model, train, test, steps, k), 2)
            errors[name].append(numbers[f"forces, {name}, seed {k}"])
    for name, found in errors.items():
        numbers[f"forces, {name}"] = round(statistics.mean(found), 2)
    if turns:
        for name, found in step_times(models, train, turns).items():
            numbers[f"ms, {name}"] = round(found, 2)
    return numbers


def holds(numbers: Numbers) -> bool:
    """Bessel functions and splines: errors within 5 % of networks; the former 60 % fewer weights, steps 1.2 faster."""
    bessel, spline, network, _ = (numbers[f"forces, {name}"] for name in VARIANTS)
    few = numbers["radial weights, Bessel, sphere"] <= 0.4 * numbers["radial weights, network, sphere"]
    fast = numbers["ms, network, sphere"] >= 1.2 * numbers["ms, Bessel, sphere"]
    return max(bessel, spline) <= 1.05 * network and few and fast


def ours(numbers: Numbers) -> str:
    bessel, spline, network, gate = (numbers[f"forces, {name}"] for name in VARIANTS)
    few = 1 - numbers["radial weights, Bessel, sphere"] / numbers["radial weights, network, sphere"]
    fast = numbers["ms, network, sphere"] / numbers["ms, Bessel, sphere"]
    return (
        f"force RMSE {bessel:.0f} meV/Å with Bessel functions, {spline:.0f} with splines, {network:.0f} with networks; "
        f"{100 * few:.0f} % fewer radial weights, steps {fast:.2f} times as fast with Bessel functions. With gates in "
        f"place of the sphere {gate:.0f} after as few steps"
    )


CLAIM = Claim(
    name="facet",
    system="Facet",
    symbol="intertwine.models.atoms.Facet",
    arxiv="2509.08418",
    statement=(
        "radial weights linear in Bessel functions or pieces of a spline, in place of networks: force error "
        "within 5 %; with Bessel functions 60 % fewer radial weights and steps 1.2 times faster (acetylacetone, DFT, "
        "450 steps, mean of three seeds)"
    ),
    theirs="leading accuracy on crystals with under 10 % of the training compute, 25 % of the weights left out at none",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={
        **{"frames": 30, "seeds": 1, "steps": 40, "tested": 10, "irreps": "4x0 + 2x1", "turns": 0, "real": False},
        "variants": ["Bessel, sphere", "network, sphere"],
    },
    full={
        **{"frames": 300, "seeds": 3, "steps": 450, "tested": 100, "irreps": "16x0 + 8x1", "turns": 20, "real": True},
        "variants": list(VARIANTS),
    },
)


@pytest.mark.claim
def test_a_linear_basis_learns_as_networks_do():
    """The short form. An untrained network predicts nothing: its error is the RMS force, above 1,400 meV/Å."""
    numbers, _ = CLAIM.run(CLAIM.short)
    assert numbers["radial weights, Bessel, sphere"] < 0.4 * numbers["radial weights, network, sphere"]
    assert numbers["forces, Bessel, sphere"] < 1.3 * numbers["forces, network, sphere"], numbers
    assert numbers["forces, Bessel, sphere"] < 1000, numbers


def test_the_rule_can_fail():
    good = {
        **{"forces, Bessel, sphere": 50.0, "forces, spline, sphere": 52.0, "forces, network, sphere": 50.0},
        **{"forces, Bessel, gate": 60.0, "ms, Bessel, sphere": 10.0, "ms, network, sphere": 13.0},
        **{"radial weights, Bessel, sphere": 30, "radial weights, network, sphere": 100},
    }
    assert holds(good)
    for worse in (
        {"forces, network, sphere": 45.0},
        {"forces, spline, sphere": 53.0},
        {"radial weights, Bessel, sphere": 50},
        {"ms, network, sphere": 11.0},
    ):
        assert not holds(good | worse)
