"""Point-wise activations (arXiv:2401.09235): verdicts are those of brute force, and refusals are right."""

import pytest
import torch
from torch.nn import functional as F

from claims.claim import Claim, Numbers
from intertwine import nn
from intertwine.groups import SO, Cyclic, Dihedral, GLPlus, Group, Lorentz, O, S
from intertwine.reps import Rep
from intertwine.so3 import Irreps

REPS = [
    *(S(4).V, S(4).V ** 2, S(4).V + S(4).det, S(3).regular, S(4).det * S(4).V, S(4).det * S(4).det),
    *(Dihedral(4).irrep(1, 1), Dihedral(3).irrep(1, 1), Dihedral(5).irrep(1, 2), Cyclic(4).irrep(1)),
    *(Cyclic(3).irrep(1), Cyclic(2).irrep(1).induce(Cyclic(4)), Dihedral(1).trivial.induce(Dihedral(4))),
    *(O(1).V, O(3).V, SO(3).V, SO(2).irrep(1), Irreps("2x0e"), Irreps("2x0o"), Irreps("0e + 1o")),
    *(GLPlus(1).V, GLPlus(1).V * GLPlus(1).V.dual, GLPlus(2).det, Lorentz(1, 1).V),
]
FUNCTIONS = [
    *(torch.neg, lambda x: x + 1, torch.sigmoid, F.gelu, F.silu, F.softplus, F.elu, torch.tanh, torch.sin, F.softsign),
    *(lambda x: x**3, F.relu, F.leaky_relu, torch.abs, torch.square, torch.cos),
]


def some_elements(group: Group, rep: Rep) -> torch.Tensor:
    """Matrices of the generators, and of one step into each direction of the Lie algebra."""
    found = [rep.matrix(group.generators())]
    if not group.is_finite:
        found.append(torch.linalg.matrix_exp(0.7 * rep.algebra_matrix(group.lie_algebra())))
    return torch.cat(found)


def error(rep: Rep, rep_out: Rep, fn, x: torch.Tensor) -> float:
    """The largest |f(gx) - g f(x)| over some elements, relative to the largest |f(gx)|."""
    before, after = some_elements(rep.group, rep), some_elements(rep.group, rep_out)
    if not len(before):
        return 0.0
    moved = fn(x @ before.mT)
    return ((moved - fn(x) @ after.mT).abs().max() / moved.abs().max()).item()


def steerable(layer: str, generator: torch.Generator, channels: int, samples: int) -> float:
    """Relative error of two linear maps of SO(2) features with something in between, in float32."""
    group = SO(2)
    hidden = channels * group.trivial + channels * group.irrep(1) + channels * group.irrep(2)
    if layer == "gate":
        middle = nn.Gate(channels * group.trivial, F.relu, channels * group.irrep(1) + channels * group.irrep(2))
    else:
        middle = nn.NormActivation(hidden, F.relu) if layer == "norm" else torch.nn.ReLU()
    inside = middle.rep_in if layer == "gate" else hidden
    first, last = nn.Linear(hidden, inside, generator=generator), nn.Linear(hidden, hidden, generator=generator)
    x, g = hidden.randn(samples, generator=generator), group.sample(samples, generator=generator)
    with torch.no_grad():
        moved, after = last(middle(first(hidden.act(g, x)))), hidden.act(g, last(middle(first(x))))
    return ((moved - after).norm() / moved.norm()).item()


def experiment(*, seed: int, reps: int, samples: int, channels: int) -> Numbers:
    """How often verdict and brute force agree, and the errors of SO(2)-steerable networks."""
    generator = torch.Generator().manual_seed(seed)
    counted = {"pairs": 0, "allowed": 0, "disagree": 0}
    allowed, refused = 0.0, float("inf")
    laws = [nn.law(fn) for fn in FUNCTIONS]
    for rep in REPS[:reps]:
        x = 2 * torch.randn(1, samples, rep.dim, generator=generator, dtype=torch.float64)
        for fn, law in zip(FUNCTIONS, laws):
            ok, measured = nn.admissible(rep, fn, law=law).ok, error(rep, rep, fn, x)
            counted["pairs"] += 1
            counted["allowed"] += ok
            counted["disagree"] += ok != (measured < 1e-10)
            allowed, refused = (max(allowed, measured), refused) if ok else (allowed, min(refused, measured))
    found = {f"SO(2), {name}": steerable(name, generator, channels, samples) for name in ("relu", "norm", "gate")}
    return {**counted, "largest error of an allowed pair": allowed, "smallest of a refused": refused, **found}


def holds(numbers: Numbers) -> bool:
    """All pairs agree, at least 60 of them; relu breaks steerable features, norm and gate do not."""
    agree = numbers["disagree"] == 0 and numbers["pairs"] >= 60 and 0 < numbers["allowed"] < numbers["pairs"]
    kept = max(numbers["SO(2), norm"], numbers["SO(2), gate"]) < 1e-6
    return agree and kept and numbers["SO(2), relu"] > 0.1


def ours(numbers: Numbers) -> str:
    return (
        f"{numbers['pairs'] - numbers['disagree']} of {numbers['pairs']} pairs agree ({numbers['allowed']} allowed, "
        f"errors up to {numbers['largest error of an allowed pair']:.0e}; refused: from "
        f"{numbers['smallest of a refused']:.0e}); SO(2)-steerable network: relu {numbers['SO(2), relu']:.2f}, "
        f"norm {numbers['SO(2), norm']:.0e}, gate {numbers['SO(2), gate']:.0e}"
    )


CLAIM = Claim(
    name="pointwise",
    system="Admissible activations",
    symbol="intertwine.nn.admissible",
    arxiv="2401.09235",
    statement="which functions of single entries commute with which representations; relu on features in an irrep "
    "basis does not",
    theirs="characterization theorem (theory, no number)",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"reps": 16, "samples": 8, "channels": 4},
    full={"reps": len(REPS), "samples": 64, "channels": 32},
)


@pytest.mark.claim
def test_verdicts_are_those_of_brute_force():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert CLAIM.holds(numbers), numbers


def test_the_rule_can_fail():
    good = {"pairs": 80, "allowed": 30, "disagree": 0, "SO(2), relu": 0.4, "SO(2), norm": 1e-7, "SO(2), gate": 1e-7}
    assert holds(good)
    worse = {"pairs": 50, "allowed": 80, "disagree": 1, "SO(2), relu": 0.01, "SO(2), norm": 1e-3, "SO(2), gate": 1e-3}
    for name, value in worse.items():
        assert not holds(good | {name: value})
