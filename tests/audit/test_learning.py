"""Symmetries of learning algorithms: the table of arXiv:1905.02072 extended, with learners of scikit-learn."""

import numpy as np
import pytest

from claims.perceptrons import perceptron
from intertwine import audit
from intertwine.audit import space_maps
from intertwine.audit.learning import EXACT, _energy_test

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)) * [1.0, 0.5, 2.0, 1.0] + 0.5
Y = X @ RNG.normal(size=(4, 2)) + np.sin(X[:, :2]) + 0.1 * RNG.normal(size=(40, 2))

COLUMNS = [
    *(("X", name) for name in ("rotate", "scale", "scale each feature", "shift", "any invertible matrix")),
    *(("X", name) for name in ("embed, distances kept", "embed")),
    *(("Y", name) for name in ("rotate", "scale", "shift", "project")),
    ("examples", "reorder"),
]


def learners():
    linear, neighbors, svm, tree, pipeline, preprocessing, multioutput = (
        pytest.importorskip(f"sklearn.{name}")
        for name in ("linear_model", "neighbors", "svm", "tree", "pipeline", "preprocessing", "multioutput")
    )
    scaled = pipeline.make_pipeline(preprocessing.StandardScaler(), linear.Ridge())
    return {
        "least squares": linear.LinearRegression(),
        "without intercept": linear.LinearRegression(fit_intercept=False),
        "ridge": linear.Ridge(),
        "lasso": linear.Lasso(alpha=0.1, tol=1e-12, max_iter=100_000),
        "standardised ridge": scaled,
        "five neighbours": neighbors.KNeighborsRegressor(),
        "tree": tree.DecisionTreeRegressor(),
        "support vectors": multioutput.MultiOutputRegressor(svm.SVR(gamma=0.3, tol=1e-9)),
        "support vectors, scaled": multioutput.MultiOutputRegressor(svm.SVR(gamma="scale", tol=1e-9)),
    }


TABLE = {  # + invariant, - not, in the order of COLUMNS; spec section 9, with the order of examples last
    "least squares": "+++++++ ++++ +",
    "without intercept": "+++-+++ ++-+ +",
    "ridge": "+--+-+- ++++ +",
    "lasso": "---+--- --+- +",
    "standardised ridge": "-+++--- ++++ +",
    "five neighbours": "++-+-+- ++++ +",
    "support vectors": "+--+-+- --+- +",
}


@pytest.mark.parametrize("name", list(TABLE))
def test_the_table(name):
    found = audit.characterize(learners()[name], X, Y, repeats=3)
    signs = "".join("+" if found[column].verdict == "invariant" else "-" for column in COLUMNS)
    assert signs == TABLE[name].replace(" ", ""), f"\n{found}"
    assert all(row.null == 0 and np.isnan(row.p_value) for row in found.rows)
    assert all((row.largest <= EXACT) == (row.verdict == "invariant") for row in found.rows)


def test_a_bandwidth_from_the_flattened_data_knows_where_zero_is():
    """gamma="scale" uses the variance of all entries together: not invariant to shifts, which a user would expect."""
    scaled = learners()["support vectors, scaled"]
    found = audit.learning_invariance(scaled, space_maps.shift, X, Y, repeats=3)
    assert found.verdict == "not invariant"
    assert found.defect > 1e-3
    found = audit.learning_invariance(scaled, space_maps.scaling, X, Y, repeats=3)
    assert found.defect < 1e-6  # the solver stops at 1e-9


def test_a_tree_splits_along_the_axes():
    tree = learners()["tree"]
    assert audit.learning_invariance(tree, space_maps.rotation, X, Y, repeats=3).defect > 0.1
    double = audit.SpaceMap("double", "X", lambda rows: 2 * rows)  # a power of two: no tie is broken by rounding
    assert audit.learning_invariance(tree, double, X, Y, repeats=3).verdict != "not invariant"


def test_few_examples_make_least_squares_choose():
    """Rank-deficient: the smallest norm is a choice, and units change it."""
    options = {"repeats": 3, "share": 1.0}
    x, y = X[:3], Y[:3]
    linear = learners()["without intercept"]
    assert audit.learning_invariance(linear, space_maps.rotation, x, y, **options).verdict == "invariant"
    assert audit.learning_invariance(linear, space_maps.scaling, x, y, **options).verdict == "invariant"
    assert audit.learning_invariance(linear, space_maps.feature_scaling, x, y, **options).defect > 0.01


def noisy(x, y, seed):
    """Least squares plus noise that the seed draws; `scale` decides whether units matter."""
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    shake = 1 + 0.1 * np.random.default_rng(seed).normal(size=(1, y.shape[1]))
    return lambda z: z @ w * shake


def noisy_ridge(x, y, seed):
    w = np.linalg.solve(x.T @ x + 20 * np.eye(x.shape[1]), x.T @ y)
    shake = 1 + 0.01 * np.random.default_rng(seed).normal(size=(1, y.shape[1]))
    return lambda z: z @ w * shake


def test_random_learners_are_compared_with_themselves():
    even = audit.learning_invariance(noisy, space_maps.feature_scaling, X, Y, repeats=30)
    assert even.verdict == "invariant in distribution"
    assert even.null > 0.01
    assert even.p_value > 0.05
    units = audit.learning_invariance(noisy_ridge, space_maps.feature_scaling, X, Y, repeats=30)
    assert units.verdict == "not invariant"
    assert units.p_value < 0.01
    assert "between two seeds" in repr(units)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_turned_inputs_and_a_start_that_turns_with_them(optimizer):
    """Nothing random is left: SGD gives the turned network to rounding, Adam scales each coordinate by itself."""
    learner = perceptron(optimizer, "data", steps=60, rate={"SGD": 0.1, "Adam": 0.01}[optimizer])
    found = audit.learning_invariance(learner, space_maps.rotation, X, Y, repeats=3)
    assert found.null == 0
    if optimizer == "SGD":
        assert found.verdict == "invariant" and found.largest < 1e-12
    else:
        assert found.verdict == "not invariant" and found.defect > 1e-2
    shifted = audit.learning_invariance(learner, space_maps.shift, X, Y, repeats=2)
    assert shifted.verdict == "not invariant"


def test_a_fixed_order_of_examples_is_a_choice():
    """A learner that sees the examples as they come: reordering them is like another seed, and said to be random."""

    def in_order(x, y, seed):
        w = np.zeros((x.shape[1], y.shape[1]))
        for row, goal in zip(x, y):
            w += 0.05 * np.outer(row, goal - row @ w)
        return lambda z: z @ w

    found = audit.learning_invariance(in_order, space_maps.reorder, X, Y, repeats=3, space="examples")
    assert found.verdict == "not invariant" and found.defect > 1e-3
    shuffled = lambda x, y, seed: in_order(  # noqa: E731
        x[np.random.default_rng(seed).permutation(len(x))], y[np.random.default_rng(seed).permutation(len(x))], seed
    )
    found = audit.learning_invariance(shuffled, space_maps.reorder, X, Y, repeats=20, space="examples")
    assert found.verdict == "invariant in distribution" and found.null > 1e-3


def test_the_energy_test_keeps_its_level():
    rng = np.random.default_rng(0)
    same = [_energy_test(rng.normal(size=12), rng.normal(size=12), rng) for _ in range(40)]
    assert 0.0 < np.mean(np.array(same) <= 0.1) < 0.25
    assert _energy_test(rng.normal(size=30), rng.normal(size=30) + 2, rng) == pytest.approx(1e-3)


def test_functor_laws():
    linear = learners()["least squares"]
    maps = [space_maps.rotation(X, RNG, "X"), space_maps.shift(X, RNG, "X"), space_maps.scaling(Y, RNG, "Y")]
    found = audit.functor_laws(linear, maps, X, Y)
    assert len(found.rows) == 1 + 4 + 1
    assert all(row.verdict == "invariant" for row in found.rows)
    assert found["X", "shift after rotate"].largest < EXACT
    doubling = audit.SpaceMap("double", "X", lambda rows: 2 * rows)

    def planted(x, y, seed):
        """Least squares while inputs are small; beyond, something else: one doubling passes, two do not."""
        w = np.linalg.lstsq(x, y, rcond=None)[0]
        return lambda z: z @ w + (np.abs(x).mean() > 3)

    assert audit.learning_invariance(planted, doubling, X, Y).verdict == "invariant"
    assert audit.functor_laws(planted, [doubling], X, Y)["X", "double after double"].verdict == "not invariant"


def test_maps_that_merge_points_need_permission():
    linear = learners()["least squares"]
    with pytest.raises(ValueError, match="'project' merges points of X"):
        audit.learning_invariance(linear, space_maps.projection, X, Y)

    def blind(x, y, seed):
        return lambda z: np.tile(y.mean(0), (len(z), 1)) + 0 * z[:, :1]

    flat = audit.SpaceMap("forget the first", "X", lambda rows: rows * [0, 1, 1, 1], injective=False)
    options = {"allow_noninjective": True, "X_eval": X}
    assert audit.learning_invariance(blind, flat, X, Y, **options).verdict == "invariant"
    assert audit.learning_invariance(linear, flat, X, Y, **options).verdict == "not invariant"


def test_learners_that_refuse_are_not_failures():
    def picky(x, y, seed):
        if x.shape[1] != 4:
            raise ValueError("I take four features")
        return lambda z: z[:, :2]

    found = audit.learning_invariance(picky, space_maps.embedding, X, Y)
    assert found.verdict == "not defined"
    assert "I take four features" in repr(found)


def test_one_target_and_wrong_use():
    linear = learners()["least squares"]
    assert audit.learning_invariance(linear, space_maps.scaling, X, Y[:, 0], space="Y").verdict == "invariant"
    with pytest.raises(ValueError, match=r"X \(40, 4\) and Y \(3, 2\)"):
        audit.learning_invariance(linear, space_maps.scaling, X, Y[:3])
    with pytest.raises(TypeError, match="neither an estimator nor a function"):
        audit.learning_invariance(3, space_maps.scaling, X, Y)
    with pytest.raises(ValueError, match="do not compose"):
        space_maps.shift(X, RNG, "X").after(space_maps.shift(Y, RNG, "Y"))
