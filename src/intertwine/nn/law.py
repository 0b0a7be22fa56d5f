"""How a function of one number scales, f(λx) = λ f(x) for which λ, told from its values: all that symmetry asks."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]

TOL = 1e-9
NAMES = ("linear", "affine", "generic", "odd", "semilinear", "log-periodic", "odd log-periodic")


@dataclass(frozen=True)
class Law:
    """The numbers λ ≠ 0 with f(λx) = λ f(x) for all x, by name: the case of arXiv:2401.09235 that a function falls in.

    linear: all, f(x) = cx; affine: f(x) = cx + b, b ≠ 0; generic: 1 only; odd: ±1; semilinear: all positive ones;
    log-periodic: the powers of `base`; odd log-periodic: these and their negatives.
    parity (1 even, -1 odd, None neither) and degree (f(λx) = λ^degree f(x) for λ > 0, None for no degree) say how f
    changes the type of what it acts on. They do not count for equality: `law(torch.relu) == Law("semilinear")`.
    Raises ValueError for an unknown name, and for a log-periodic law without a base, or with one that is 0, 1 or -1.
    """

    name: Literal["linear", "affine", "generic", "odd", "semilinear", "log-periodic", "odd log-periodic"]
    base: float | None = None
    parity: int | None = field(default=None, compare=False)
    degree: float | None = field(default=None, compare=False)

    def __post_init__(self):
        if self.name not in NAMES:
            raise ValueError(f"Law: the name must be one of {NAMES}, got {self.name!r}")
        if (self.base is not None) != ("log-periodic" in self.name):
            raise ValueError(f"Law: a base goes with a log-periodic law and no other, got {self.name!r}, {self.base}")
        if self.base is not None and (self.base == 0 or abs(self.base) == 1):
            raise ValueError(f"Law: the powers of the base {self.base} are too few; give another than 0, 1 and -1")
        always = {"odd": -1, "linear": -1, "odd log-periodic": -1}.get(self.name)
        if self.parity is None and always:
            object.__setattr__(self, "parity", always)
        if self.degree is None and self.name in ("linear", "semilinear"):
            object.__setattr__(self, "degree", 1.0)

    def allows(self, scale: float) -> bool:
        """Whether f(scale · x) = scale · f(x)."""
        if abs(scale - 1) < 1e-8 or self.name == "linear":
            return True
        if self.name == "semilinear":
            return scale > 0
        if self.name == "odd":
            return abs(scale + 1) < 1e-8
        if self.base is None:
            return False
        power = round(math.log(abs(scale)) / math.log(abs(self.base)))
        reached = self.base**power
        return abs(scale - reached) < 1e-8 or ("odd" in self.name and abs(scale + reached) < 1e-8)

    @property
    def allows_flow(self) -> bool:
        """Whether f commutes with all positive scalings, so that a Lie algebra may scale its entries."""
        return self.name in ("linear", "semilinear")

    def __str__(self) -> str:
        return self.name if self.base is None else f"{self.name}, base {self.base:g}"


def name_of(fn: Function) -> str:
    """What to call a function in a message."""
    return getattr(fn, "__name__", type(fn).__name__)


def law(fn: Function) -> Law:
    """The law of a function of single entries, from its values at 2001 magnitudes between 1e-6 and 1e6, to 1e-9.

    Parity, scaling by 2, -2, 3 and ½, and whether it is a straight line. A module is judged by a copy in float64 and
    training mode, as it is now: parameters that change its law later are not seen. A function that bends only beyond
    those magnitudes counts as straight; state its law yourself.
    Raises ValueError where entries see each other (softmax, batch norm), where values are random (dropout), where f is
    not finite on [-10, 10], or where fn refuses a plain vector of numbers.
    """
    f = _Values(fn)
    (once, twice), three, half, turned, thrice = f(1, 2), f(3)[0], f(0.5)[0], f(-2)[0], f(-3)[0]
    parity = 1 if f.agree(once, f(-1)[0]) else -1 if f.agree(once, -f(-1)[0]) else None
    if f.agree(once, f.zero + (f.one - f.zero) * f.z):
        return Law("linear", degree=1.0, parity=parity) if f.agree(f.zero, 0 * f.zero) else Law("affine", parity=parity)
    degree = _degree(f, once, twice, three, half)
    two, triple = f.agree(twice, 2 * once) and f.agree(half, once / 2), f.agree(three, 3 * once)
    if degree == 1:
        return Law("semilinear", degree=degree, parity=parity)
    if two or triple:
        return Law("odd log-periodic" if parity == -1 else "log-periodic", 2.0 if two else 3.0, parity=parity)
    for base, value in ((-2.0, turned), (-3.0, thrice)):
        if f.agree(value, base * once):
            return Law("log-periodic", base, parity=parity)
    return Law("odd" if parity == -1 else "generic", degree=degree, parity=parity)


@torch.no_grad()
def works_in_place(fn: Function) -> bool:
    """Whether a function overwrites what it is given."""
    given = torch.linspace(-2, 2, 9, dtype=torch.float64)
    kept = given.clone()
    (copy.deepcopy(fn).double() if isinstance(fn, nn.Module) else fn)(given)
    return not torch.equal(given, kept)


def _degree(f: "_Values", once: Tensor, twice: Tensor, three: Tensor, half: Tensor) -> float | None:
    """The p with f(λx) = λ^p f(x) for λ > 0, to 1e-6, or None."""
    place = int(torch.where(once.isfinite() & twice.isfinite(), once.abs(), 0).clamp(max=1).argmax())
    ratio = (twice[place] / once[place]).item()
    if not ratio > 0 or not math.isfinite(ratio):
        return None
    p = math.log2(ratio)
    p = round(p, 9)
    scaled = ((2.0, twice), (3.0, three), (0.5, half))
    return float(p) if all(f.agree(value, scale**p * once) for scale, value in scaled) else None


class _Values:
    """Values of a function at scaled copies of the test points, and what counts as equal among them."""

    def __init__(self, fn: Function):
        self.name = name_of(fn)
        self.fn = copy.deepcopy(fn).double().train() if isinstance(fn, nn.Module) else fn
        magnitudes = torch.logspace(-6, 6, 2001, dtype=torch.float64)
        self.z = torch.cat([magnitudes, -magnitudes, torch.zeros(1, dtype=torch.float64)])
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            values = self._call(self.z.clone())
            again, some = self._call(self.z.clone()), torch.arange(1400, 7, -3)  # some positive points, reversed
            part = self._call(self.z[some])
        near = values[self.z.abs() <= 10]
        if not near.isfinite().all():
            raise ValueError(f"law: {self.name} is not finite on [-10, 10], so it is no function of all real numbers")
        self.scale = near.abs().max()
        self.zero, self.one = values[-1], self._at(1.0)
        if not self.agree(again, values):
            raise ValueError(f"law: {self.name} gives other values when called again; random layers act on channels")
        if not self.agree(part, values[some]):
            raise ValueError(f"law: {self.name} is not point-wise: its value at an entry depends on the other entries")

    def _call(self, x: Tensor) -> Tensor:
        try:
            y = self.fn(x)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ValueError(f"law: {self.name} does not take a plain vector of numbers: {error}") from error
        if not isinstance(y, Tensor) or y.shape != x.shape or y.dtype != x.dtype:
            got = f"{tuple(y.shape)} in {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(f"law: {self.name} must give one number for each entry, in the same dtype; it gave {got}")
        return y

    @torch.no_grad()
    def _at(self, x: float) -> Tensor:
        return self._call(torch.tensor([x], dtype=torch.float64))[0]

    @torch.no_grad()
    def __call__(self, *scales: float) -> list[Tensor]:
        """f(scale · z) for each scale."""
        return [self._call(scale * self.z) for scale in scales]

    def agree(self, a: Tensor, b: Tensor) -> bool:
        """Whether two sets of values are equal where both are finite."""
        both = a.isfinite() & b.isfinite()
        return bool(((a - b).abs() <= TOL * (a.abs() + b.abs() + self.scale))[both].all())
