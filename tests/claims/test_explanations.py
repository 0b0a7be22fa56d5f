"""Explanations under a symmetry (arXiv:2304.06715): which methods follow it, on digits as points and on signals."""

import math

import pytest
import torch
from torch import nn

from claims.claim import Claim, Numbers
from intertwine import audit
from intertwine.groups import Cyclic, S
from intertwine.reps import Permute

POINTS, LENGTH, CLASSES = 40, 64, 4
SETS, SHIFTS = Permute(S(POINTS)), Permute(Cyclic(LENGTH), axes=(2,))
DRAWS = (1, 4, 16, 64)


def clouds(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits as their 40 darkest pixels in random order: two coordinates and the intensity."""
    images, labels = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    ink, place = torch.tensor(images).topk(POINTS, dim=1)
    x = torch.stack([place % 8 / 3.5 - 1, place // 8 / 3.5 - 1, ink / 8 - 1], 2)
    return SETS(SETS.group.sample(len(x), generator=generator), x), torch.tensor(labels)


def signals(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A bump of one of four shapes at a random place of a noisy circle."""
    y = torch.randint(CLASSES, (n,), generator=generator)
    t = torch.arange(LENGTH) - LENGTH // 2
    shapes = torch.stack(
        [
            torch.exp(-(t**2) / 18),
            -torch.exp(-(t**2) / 18),
            t / 4 * torch.exp(-(t**2) / 32),
            torch.cos(t) * (t.abs() < 8),
        ]
    )
    x = shapes[y] + 0.2 * torch.randn(n, LENGTH, generator=generator)
    return SHIFTS(SHIFTS.group.sample(n, generator=generator), x[:, None].double()), y


class Sets(nn.Module):
    def __init__(self):
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU())
        self.out = nn.Sequential(nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.out(self.each(x).mean(1))


class Circle(nn.Module):
    def __init__(self):
        super().__init__()
        conv = lambda a, b: nn.Conv1d(a, b, 5, padding=2, padding_mode="circular")  # noqa: E731
        self.convolutions = nn.Sequential(conv(1, 12), nn.SiLU(), conv(12, 12), nn.SiLU())
        self.out = nn.Linear(12, CLASSES)

    def forward(self, x):
        return self.out(self.pooled(x))

    def pooled(self, x):
        return self.convolutions(x).mean(2)


def fit(model: nn.Module, x, y, steps: int, generator: torch.Generator) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        batch = torch.randint(len(x), (64,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()


def experiment(*, seed: int, steps: int, train: int, samples: int, elements: int, draws: int) -> Numbers:
    """Explanation equivariance (or invariance, of examples) of each method on test inputs."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sets, circle = Sets().double(), Circle().double()
    numbers: Numbers = {}
    for name, model, action, (x, y) in (
        ("sets", sets, SETS, clouds(generator)),
        ("signals", circle, SHIFTS, signals(train + 500, generator)),
    ):
        fit(model, x[:train], y[:train], steps, generator)
        x, y = x[train:], y[train:]
        with torch.no_grad():
            numbers[f"{name} accuracy"] = (model(x).argmax(1) == y).double().mean().item()
        x = x[:samples]
        other = torch.randn(x[:1].shape, generator=generator, dtype=torch.float64)
        methods = {
            "gradient": audit.gradient(model),
            "IG": audit.integrated_gradients(model, steps=20),
            "IG, random baseline": audit.integrated_gradients(model, baseline=other, steps=20),
            "ablation": audit.ablation(model),
        }
        options = {"n_elements": elements, "generator": generator}
        for method, explain in methods.items():
            found = audit.explanation_equivariance(explain, action, action, x, **options)
            numbers[f"{name} {method}"] = found.value
            if found.interval is not None:
                numbers[f"{name} {method}, low"] = found.interval.low
                numbers[f"{name} {method}, high"] = found.interval.high
        numbers[f"{name} invariance of the model"] = found.model_similarity

    options = {"elements": SHIFTS.group.elements()[:: LENGTH // elements], "generator": generator}
    for layer, name in ((circle.convolutions, "equivariant layer"), (circle.pooled, "pooled layer")):
        explain = audit.representation_similarity(layer, x[: samples // 2])
        with pytest.warns(UserWarning, match="the model itself") if name[0] == "e" else torch.no_grad():
            numbers[name] = audit.explanation_invariance(explain, SHIFTS, x, **options).value
    border = audit.ablation(circle, windows=audit.sliding_windows((1, LENGTH), (1, 16), stride=8))
    few = x[: max(2, samples // 4)]
    for n in DRAWS:
        values = []
        for k in range(draws if n < LENGTH else 1):
            some = torch.Generator().manual_seed(seed + k)
            whole = audit.SymmetrizedExplainer(border, SHIFTS, SHIFTS, n=n, generator=some)
            values.append(audit.explanation_equivariance(whole, SHIFTS, SHIFTS, few, **options).value)
        numbers[f"occlusion, {n} elements"] = sum(values) / len(values)
    return numbers


def holds(numbers: Numbers) -> bool:
    """What is guaranteed is symmetric, a moving baseline is not, layers as they should be, averaging repairs."""
    averaged = [numbers[f"occlusion, {n} elements"] for n in DRAWS]
    return (
        all(numbers[f"{name} {m}"] > 0.999 for name in ("sets", "signals") for m in ("gradient", "IG", "ablation"))
        and all(numbers[f"{name} IG, random baseline"] < 0.9 for name in ("sets", "signals"))
        and numbers["equivariant layer"] < numbers["pooled layer"]
        and averaged == sorted(averaged)
        and averaged[-1] > 0.999
    )


def ours(numbers: Numbers) -> str:
    rows = [
        f"{name}: " + ", ".join(f"{m} {numbers[f'{name} {m}']:.4f}" for m in ("gradient", "IG", "ablation"))
        + f"; IG from a random baseline {numbers[f'{name} IG, random baseline']:.2f}"
        for name in ("sets", "signals")
    ]  # fmt: skip
    occlusion = ", ".join(f"{numbers[f'occlusion, {n} elements']:.4f}" for n in DRAWS)
    return (
        f"equivariance of {'; '.join(rows)}. Similarity to examples is invariant to "
        f"{numbers['equivariant layer']:.2f} in the equivariant layer, {numbers['pooled layer']:.4f} in the pooled. "
        f"Occlusion averaged over 1, 4, 16, 64 shifts: {occlusion}"
    )


CLAIM = Claim(
    name="explanations",
    system="Explanation invariance and equivariance",
    symbol="intertwine.audit.explanation_equivariance",
    arxiv="2304.06715",
    statement="digits as point clouds under S(40), signals under Cyclic(64): gradient, integrated gradients and "
    "ablation follow the symmetry of the model, integrated gradients from a random baseline do not, similarity to "
    "examples does only in an invariant layer, and averaging over the group repairs occlusion",
    theirs="on six data sets: feature importance is equivariant when its baseline is invariant, example importance "
    "needs an invariant layer, and symmetrized explanations gain robustness with every element",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"steps": 25, "train": 600, "samples": 6, "elements": 4, "draws": 1},
    full={"steps": 600, "train": 1200, "samples": 40, "elements": 16, "draws": 4},
)


@pytest.mark.claim
def test_explanations_follow_the_model():
    """Hardly trained: everything but accuracy, and but the gap of the baseline, is a matter of structure."""
    numbers, _ = CLAIM.run(CLAIM.short)
    assert all(numbers[f"{name} {m}"] > 0.999 for name in ("sets", "signals") for m in ("gradient", "IG", "ablation"))
    assert all(numbers[f"{name} IG, random baseline"] < 0.99 for name in ("sets", "signals")), numbers
    assert numbers["equivariant layer"] < numbers["pooled layer"] - 1e-3, numbers
    assert numbers["occlusion, 64 elements"] > 1 - 1e-10 > numbers["occlusion, 1 elements"], numbers
    assert math.isclose(numbers["signals invariance of the model"], 1, abs_tol=1e-10)


def test_the_rule_can_fail():
    fine = {f"{name} {m}": 1.0 for name in ("sets", "signals") for m in ("gradient", "IG", "ablation")}
    fine |= {f"{name} IG, random baseline": 0.5 for name in ("sets", "signals")}
    fine |= {"equivariant layer": 0.5, "pooled layer": 1.0}
    fine |= {f"occlusion, {n} elements": v for n, v in zip(DRAWS, (0.5, 0.8, 0.9, 1.0))}
    assert holds(fine)
    wrong = {
        "sets IG": 0.99,
        "signals IG, random baseline": 0.95,
        "equivariant layer": 1.0,
        "occlusion, 4 elements": 0.4,
    }
    assert not any(holds(fine | {name: value}) for name, value in wrong.items())
