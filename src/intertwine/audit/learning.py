"""Whether a whole learning algorithm keeps a symmetry: move the data, learn again, compare (arXiv:1905.02072)."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from .space_maps import OF_INPUTS, OF_TARGETS, Family, Rows, Space, SpaceMap, reorder

Predictor = Callable[[Rows], Rows]
Learner = Callable[[Rows, Rows, int], Predictor]  # (X, Y, seed) -> f
EXACT = 1e-8  # defect of a learner without randomness that counts as rounding
RELABELLINGS = 999  # of the permutation test


@dataclass(frozen=True)
class LearningAudit:
    """How far f' ∘ p is from t ∘ f, where f is learned from (X, Y) and f' from (p X, t Y)."""

    name: str  # of the map
    space: Space
    verdict: Literal["invariant", "invariant in distribution", "not invariant", "not defined"]
    defect: float  # median over repeats of RMS(f'(p x) − t f(x)) / RMS(t f(x) − mean)
    largest: float
    null: float  # median of the same between two seeds on the same data; 0 for a learner without randomness
    p_value: float  # of no more difference than between two seeds; NaN without randomness
    defects: Float[np.ndarray, " repeats"]
    reason: str = ""  # why it is not defined

    def __repr__(self) -> str:
        noise = f", {self.null:.2g} between two seeds, p = {self.p_value:.2g}" if self.null else ""
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.space} {self.name}: {self.verdict}{why}, defect {self.defect:.2g}{noise}"


def learning_invariance(
    fit: Learner | Any,
    transform: SpaceMap | Family,
    X: Rows,
    Y: Rows,
    *,
    space: Space = "X",
    X_eval: Rows | None = None,
    repeats: int = 20,
    share: float = 0.8,
    alpha: float = 0.05,
    seed: int = 0,
    allow_noninjective: bool = False,
) -> LearningAudit:
    """Whether fit is natural for a map: learned from moved data, it predicts what it predicted, moved.

    fit: (X, Y, seed) -> predictor, or an estimator with `fit` and `predict`, which is copied. X: [examples, features],
    Y: [examples, targets] or [examples]. transform: one `SpaceMap`, or a family that draws one for each repeat, such as
    `space_maps.rotation`, for inputs or targets as `space` says. Each repeat learns from a random share of the
    examples, and is judged on them, between, beyond and off them, or on `X_eval`.
    A learner that draws random numbers is compared with itself under another seed by an energy test at level alpha.
    Raises ValueError for a map of inputs that merges points, where the new predictor is free, unless allowed.
    """
    learn = _learner(fit)
    X, Y = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    Y = Y[:, None] if Y.ndim == 1 else Y
    if X.ndim != 2 or len(X) != len(Y) or not len(X):
        raise ValueError(f"learning_invariance: X {X.shape} and Y {Y.shape} must be [examples, ...] of equal length")
    rng = np.random.default_rng(seed)
    defects, nulls = [], []
    random = False
    for k in range(repeats):
        some = rng.choice(len(X), max(2, round(share * len(X))), replace=False)
        x, y = X[some], Y[some]
        move = transform if isinstance(transform, SpaceMap) else transform(y if space == "Y" else x, rng, space)
        if move.space == "X" and not move.injective and not allow_noninjective:
            raise ValueError(
                f"learning_invariance: {move.name!r} merges points of X, and what is learned is unconstrained there; "
                "allow_noninjective=True asks whether the learner ignores what was merged"
            )
        places = _places(x, rng) if X_eval is None else np.asarray(X_eval, dtype=np.float64)
        f = learn(x, y, 3 * k)
        if k == 0:
            random = _defect(learn(x, y, 1)(places), f(places)) > EXACT
        try:
            other = learn(*_moved(move, x, y), 3 * k + random)
            found = other(move.apply(places) if move.space == "X" else places)
        except (ValueError, TypeError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            nothing = np.full(0, np.nan)
            return LearningAudit(
                move.name, move.space, "not defined", np.nan, np.nan, np.nan, np.nan, nothing, reason=why
            )
        expected = f(places)
        defects.append(_defect(found, move.apply(expected) if move.space == "Y" else expected))
        if random:
            nulls.append(_defect(learn(x, y, 3 * k + 2)(places), expected))
    values = np.array(defects)
    p_value = _energy_test(values, np.array(nulls), rng) if random else np.nan
    if random:
        worse = p_value <= alpha and values.mean() > np.mean(nulls)
        verdict = "not invariant" if worse else "invariant in distribution"
    else:
        verdict = "invariant" if values.max() <= EXACT else "not invariant"
    null = float(np.median(nulls)) if random else 0.0
    return LearningAudit(move.name, move.space, verdict, float(np.median(values)), values.max(), null, p_value, values)


@dataclass(frozen=True)
class LearningTable:
    """What a learner is invariant to: one row per family of maps."""

    rows: list[LearningAudit]

    def __getitem__(self, key: tuple[Space, str]) -> LearningAudit:
        return next(row for row in self.rows if (row.space, row.name) == key)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.rows))


def characterize(fit: Learner | Any, X: Rows, Y: Rows, *, repeats: int = 5, seed: int = 0) -> LearningTable:
    """`learning_invariance` for rotations, units, shifts, embeddings of X, the same of Y, and the order of examples."""
    asked: list[tuple[Family, Space]] = [(family, "X") for family in OF_INPUTS]
    asked += [(family, "Y") for family in OF_TARGETS] + [(reorder, "examples")]
    return LearningTable(
        [learning_invariance(fit, family, X, Y, space=space, repeats=repeats, seed=seed) for family, space in asked]
    )


def functor_laws(
    fit: Learner | Any, maps: Sequence[SpaceMap], X: Rows, Y: Rows, *, repeats: int = 5, seed: int = 0
) -> LearningTable:
    """The identity, and every composition of two maps: what passes one by one must pass together."""
    laws = [SpaceMap("identity", maps[0].space if maps else "X", lambda rows: rows)]
    laws += [g.after(f) for f in maps for g in maps if f.space == g.space]
    options = {"repeats": repeats, "seed": seed, "allow_noninjective": True}
    return LearningTable([learning_invariance(fit, law, X, Y, **options) for law in laws])


def _learner(fit: Learner | Any) -> Learner:
    if not (hasattr(fit, "fit") and hasattr(fit, "predict")):
        if not callable(fit):
            raise TypeError(f"learning_invariance: {type(fit).__name__} is neither an estimator nor a function")
        return lambda x, y, seed: _rows(fit(x, y, seed))

    def learn(x: Rows, y: Rows, seed: int) -> Predictor:
        own = copy.deepcopy(fit)
        parameters = own.get_params() if hasattr(own, "get_params") else {}
        own_seeds = [name for name in parameters if name.split("__")[-1] == "random_state"]
        if own_seeds:
            own.set_params(**dict.fromkeys(own_seeds, seed))
        own.fit(x, y if y.shape[1] > 1 else y[:, 0])
        return _rows(own.predict)

    return learn


def _rows(predict: Predictor) -> Predictor:
    def f(x: Rows) -> Rows:
        y = np.asarray(predict(x), dtype=np.float64)
        return y.reshape(len(x), -1)

    return f


def _moved(move: SpaceMap, x: Rows, y: Rows) -> tuple[Rows, Rows]:
    return x if move.space == "Y" else move.apply(x), y if move.space == "X" else move.apply(y)


def _places(x: Rows, rng: np.random.Generator) -> Rows:
    """Where two predictors are compared: at the data, between, beyond, and off the plane that few data lie on."""
    w = rng.uniform(size=(len(x), 1))
    centre = x.mean(0)
    mixed, off = w * x + (1 - w) * x[rng.permutation(len(x))], centre + x.std() * rng.normal(size=x.shape)
    return np.concatenate([x, mixed, centre + 1.5 * (x - centre), off])


def _defect(found: Rows, expected: Rows) -> float:
    if found.shape != expected.shape:
        raise ValueError(f"predictions have shape {found.shape} instead of {expected.shape}")
    error = np.sqrt(np.mean((found - expected) ** 2))
    size = np.sqrt(np.mean((expected - expected.mean(0)) ** 2))
    return 0.0 if error == 0 else float(error / size) if size > 0 else np.inf


def _energy_test(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], rng: np.random.Generator) -> float:
    """p-value of equal distributions: energy distance under random relabelling."""
    both = np.concatenate([a, b])
    distance = np.abs(both[:, None] - both[None])

    def energy(first: Float[np.ndarray, " all"]) -> float:
        w = first / first.sum() - (1 - first) / (1 - first).sum()
        return -w @ distance @ w

    labels = np.concatenate([np.ones(len(a)), np.zeros(len(b))])
    seen = energy(labels)
    others = [energy(rng.permutation(labels)) for _ in range(RELABELLINGS)]
    return (1 + sum(e >= seen - 1e-15 for e in others)) / (1 + RELABELLINGS)
