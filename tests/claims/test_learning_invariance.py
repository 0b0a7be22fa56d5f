"""Invariances of learning algorithms (arXiv:1905.02072): least squares and ridge regression on the diabetes data."""

import pytest

from claims.claim import Claim, Numbers
from intertwine import audit

# The theorem: least squares is natural for all affine injective maps of inputs and all affine maps of targets; ridge
# for isometries and shifts of inputs and affine maps of targets.
ISOMETRIES = ("X rotate", "X shift", "X embed, distances kept", "examples reorder")
OTHERS = ("X scale", "X scale each feature", "X any invertible matrix", "X embed")
TARGETS = ("Y rotate", "Y scale", "Y shift", "Y project")


def experiment(*, seed: int, examples: int, repeats: int) -> Numbers:
    """Largest defect of each learner for each family of maps; two targets: the progression and its square."""
    datasets, linear = (pytest.importorskip(f"sklearn.{name}") for name in ("datasets", "linear_model"))
    X, y = datasets.load_diabetes(return_X_y=True)
    X, y = 10 * X[:examples], y[:examples, None] / 100
    Y = y ** [1, 2]
    learners = {
        "least squares": linear.LinearRegression(),
        "ridge": linear.Ridge(),
        "lasso": linear.Lasso(alpha=0.05, tol=1e-12, max_iter=100_000),
    }
    numbers: Numbers = {}
    for name, learner in learners.items():
        found = audit.characterize(learner, X, Y, repeats=repeats, seed=seed)
        numbers |= {f"{name}: {row.space} {row.name}": row.largest for row in found.rows}
    return numbers


def holds(numbers: Numbers) -> bool:
    """Rounding where the theorem says invariant, much more where it does not."""
    kept = [f"least squares: {name}" for name in (*ISOMETRIES, *OTHERS, *TARGETS)]
    kept += [f"ridge: {name}" for name in (*ISOMETRIES, *TARGETS)]
    broken = [f"ridge: {name}" for name in OTHERS] + ["lasso: X rotate", "lasso: Y rotate", "lasso: Y scale"]
    return all(numbers[name] < 1e-8 for name in kept) and all(numbers[name] > 1e-4 for name in broken)


def ours(numbers: Numbers) -> str:
    def largest(learner: str, names: tuple[str, ...]) -> float:
        return max(numbers[f"{learner}: {name}"] for name in names)

    return (
        f"largest defect of least squares over all maps "
        f"{largest('least squares', (*ISOMETRIES, *OTHERS, *TARGETS)):.0e}; "
        f"of ridge {largest('ridge', (*ISOMETRIES, *TARGETS)):.0e} over isometries, shifts and targets, "
        f"{numbers['ridge: X scale']:.3f} when inputs change their unit, {numbers['ridge: X scale each feature']:.3f} "
        f"when each does; of lasso {numbers['lasso: X rotate']:.3f} under rotations"
    )


CLAIM = Claim(
    name="learning_invariance",
    system="Invariances of learning algorithms",
    symbol="intertwine.audit.learning_invariance",
    arxiv="1905.02072",
    statement="the diabetes data: least squares is natural for every affine embedding of inputs and affine map of "
    "targets, ridge regression only for isometries and shifts of inputs",
    theirs="proved: ordinary least squares is invariant to injective linear maps of inputs, ridge regression to "
    "isometric ones, both to all linear maps of targets",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"examples": 120, "repeats": 2},
    full={"examples": 442, "repeats": 20},
)


@pytest.mark.claim
def test_least_squares_and_ridge_differ_as_proved():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert CLAIM.holds(numbers), numbers


def test_the_rule_can_fail():
    names = [
        f"{learner}: {name}"
        for learner in ("least squares", "ridge", "lasso")
        for name in (*ISOMETRIES, *OTHERS, *TARGETS)
    ]
    fine = dict.fromkeys(names, 1e-15) | {f"ridge: {name}": 0.1 for name in OTHERS}
    fine |= {f"lasso: {name}": 0.1 for name in ("X rotate", "Y rotate", "Y scale")}
    assert holds(fine)
    wrong = {"least squares: X embed": 1e-3, "ridge: Y project": 0.1, "ridge: X scale": 1e-9, "lasso: X rotate": 0.0}
    assert not any(holds(fine | {name: value}) for name, value in wrong.items())
