"""Learners that draw random numbers: a small network in NumPy, trained by SGD or Adam from various starts."""

from collections.abc import Callable

import numpy as np

Rows = np.ndarray


def perceptron(
    optimizer: str, start: str = "gaussian", *, hidden: int = 16, steps: int = 300, rate: float = 0.05, batch: int = 32
) -> Callable[[Rows, Rows, int], Callable[[Rows], Rows]]:
    """(X, Y, seed) -> predictor: tanh of one layer, squared error, `batch` random examples a step.

    optimizer: "SGD" or "Adam". start: the first layer's weights are "gaussian", whose distribution no rotation of the
    inputs changes; "uniform" in a cube; or the "data", fixed mixtures of the examples, which rotate with them.
    """

    def fit(X: Rows, Y: Rows, seed: int) -> Callable[[Rows], Rows]:
        rng = np.random.default_rng(seed if start != "data" else 0)
        n = X.shape[1]
        first = {
            "gaussian": lambda: rng.normal(size=(hidden, n)) / n**0.5,
            "uniform": lambda: rng.uniform(-1, 1, size=(hidden, n)) * (3 / n) ** 0.5,
            "data": lambda: rng.normal(size=(hidden, len(X))) @ X / np.linalg.norm(X),
        }[start]()
        p = [first, np.zeros(hidden), rng.normal(size=(Y.shape[1], hidden)) / hidden**0.5, np.zeros(Y.shape[1])]
        mean, square = ([np.zeros_like(w) for w in p] for _ in range(2))
        for t in range(1, steps + 1):
            some = rng.choice(len(X), min(batch, len(X)), replace=False)
            x, y = X[some], Y[some]
            h = np.tanh(x @ p[0].T + p[1])
            error = 2 * (h @ p[2].T + p[3] - y) / y.size
            back = error @ p[2] * (1 - h**2)
            slopes = [back.T @ x, back.sum(0), error.T @ h, error.sum(0)]
            if optimizer == "SGD":
                p = [w - rate * g for w, g in zip(p, slopes)]
                continue
            mean = [0.9 * m + 0.1 * g for m, g in zip(mean, slopes)]
            square = [0.999 * s + 0.001 * g * g for s, g in zip(square, slopes)]
            p = [w - rate * m / (1 - 0.9**t) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8) for w, m, s in zip(p, mean, square)]
        return lambda z: np.tanh(z @ p[0].T + p[1]) @ p[2].T + p[3]

    return fit
