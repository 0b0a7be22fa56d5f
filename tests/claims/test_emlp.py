"""EMLP (arXiv:2104.09459): layers found by the numerical solver learn as those written down in closed form."""

import pytest

from claims.claim import Claim, Numbers
from claims.tensor_tasks import TASKS, learn


def experiment(*, seed: int, tasks: list[str], points: int, steps: int, hidden: int, repeats: int) -> Numbers:
    """Relative test RMSE of EMLP with layers by diagrams and by the solver, for several seeds each."""
    return {
        f"{name}, {method}, {k}": learn(
            TASKS[name], "EMLP", points, steps=steps, hidden=hidden, seed=seed + k, method=method
        )
        for name in tasks
        for method in ("auto", "solver")
        for k in range(repeats)
    }


def means(numbers: Numbers) -> dict[str, tuple[float, float]]:
    """Mean error with closed forms and with the solver, for each task."""
    found: dict[str, tuple[list, list]] = {}
    for key, error in numbers.items():
        name, method, _ = key.split(", ")
        found.setdefault(name, ([], []))[method == "solver"].append(error)
    return {name: (sum(a) / len(a), sum(b) / len(b)) for name, (a, b) in found.items()}


def holds(numbers: Numbers) -> bool:
    """Within a fourth of each other on every task: the starts are the same functions, but Adam depends on the basis."""
    return all(0.8 < b / a < 1.25 for a, b in means(numbers).values())


def ours(numbers: Numbers) -> str:
    parts = [f"{name} {a:.3g} and {b:.3g}" for name, (a, b) in means(numbers).items()]
    return "relative test RMSE, closed form and solver: " + "; ".join(parts)


CLAIM = Claim(
    name="emlp",
    system="EMLP",
    symbol="intertwine.models.tensors.EMLP",
    arxiv="2104.09459",
    statement="layers solved numerically for any group give the same test error as closed forms (the paper's three "
    "tasks, 300 points, mean over seeds)",
    theirs="solved layers only (their solver needs 12 s for S(5), order 3 to 2)",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"tasks": ["O(5)"], "points": 100, "steps": 80, "hidden": 80, "repeats": 1},
    full={"tasks": list(TASKS), "points": 300, "steps": 400, "hidden": 192, "repeats": 3},
)


@pytest.mark.claim
def test_solved_layers_learn_as_closed_forms():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert CLAIM.holds(numbers), numbers


def test_the_rule_can_fail():
    assert not holds({"O(5), auto, 0": 0.1, "O(5), solver, 0": 0.2})
