"""GFN2-xTB energies and forces through tblite's array interface: real quantum chemistry at a millisecond a frame."""

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from importlib import metadata

import numpy as np
from jaxtyping import Float, Int

from ...extras import require

METHOD = "GFN2-xTB"


class SCFError(RuntimeError):
    """The electronic structure did not converge, or tblite refused the molecule; says which, and what may help."""


class XTB:
    """GFN2-xTB for one molecule: `xtb(positions)` gives energy (eV) and forces (eV/Å); positions [N, 3] in Å.

    Each call starts from the electrons of the last one, so keep an XTB per trajectory. accuracy: tblite's; 0.01 makes
    forces good to about 1e-6 eV/Å, its default 1 to 1e-5. charge: e; unpaired: number of unpaired electrons.
    Runs on one thread whatever OMP_NUM_THREADS says: more are slower for molecules, and would change the last digits.
    Raises ValueError for bad input, SCFError when there is no result. Source: 10.1021/acs.jctc.8b01176.
    """

    def __init__(
        self,
        numbers: Int[np.ndarray, " n"],
        *,
        accuracy: float = 0.01,
        charge: float = 0.0,
        unpaired: int = 0,
        max_iterations: int = 250,
    ):
        self.numbers = np.asarray(numbers)
        if self.numbers.ndim != 1 or not len(self.numbers) or not ((self.numbers > 0) & (self.numbers < 87)).all():
            raise ValueError(f"XTB: {METHOD} knows the elements 1 to 86, got atomic numbers {self.numbers.tolist()}")
        if not accuracy > 0:
            raise ValueError(f"XTB: accuracy must be positive, got {accuracy}")
        self.accuracy, self.charge, self.unpaired, self.max_iterations = accuracy, charge, unpaired, max_iterations
        self._interface = require("tblite.interface", "xtb")
        units = require("ase.units", "atoms")
        self._bohr, self._hartree = units.Bohr, units.Hartree
        self._one_thread = _thread_limit(require("tblite._libtblite", "xtb").__file__)
        self._calculator = self._result = None
        self._integrals = False

    def __call__(self, positions: Float[np.ndarray, "n 3"]) -> tuple[float, Float[np.ndarray, "n 3"]]:
        """Energy and forces at these positions. Raises SCFError, also after a second try from scratch."""
        self._solve(positions)
        forces = -self._result.get("gradient") * (self._hartree / self._bohr)
        return float(self._result.get("energy")) * self._hartree, forces

    def matrices(
        self, positions: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, "nao nao"], Float[np.ndarray, "nao nao"], int]:
        """Converged Fock matrix F = S C diag(ε) Cᵀ S (Hartree), overlap S, and the number of valence electrons.

        Orbitals stand in tblite's own order (see `engine_axes`). Raises as a call does.
        """
        self._integrals = True
        self._solve(positions)
        S, C = self._result.get("overlap-matrix"), self._result.get("orbital-coefficients")
        SC = S @ C
        F = (SC * self._result.get("orbital-energies")) @ SC.T
        return (F + F.T) / 2, S, round(float(self._result.get("orbital-occupations").sum()))

    def _solve(self, positions: np.ndarray) -> None:
        positions = np.asarray(positions, dtype=np.float64)
        if positions.shape != (len(self.numbers), 3) or not np.isfinite(positions).all():
            raise ValueError(f"XTB: positions must be finite, [{len(self.numbers)}, 3]; got shape {positions.shape}")
        bohr = positions / self._bohr
        with self._one_thread():
            if self._calculator is not None:
                with contextlib.suppress(RuntimeError):
                    self._calculator.update(bohr)
                    return self._evaluate()
            try:  # cold start: the first call, or the electrons of the last geometry led nowhere
                self._start(bohr)
                return self._evaluate()
            except RuntimeError as problem:
                self._calculator = self._result = None
                raise SCFError(f"{METHOD} gives no result for {self._formula()}: {problem}") from problem

    def _start(self, bohr: np.ndarray) -> None:
        unpaired = self.unpaired or None
        charge = self.charge or None
        # tblite prints every cycle to standard output unless it is given somewhere else to talk to
        options = {"color": False, "logger": lambda message: None}
        calculator = self._interface.Calculator(METHOD, self.numbers, bohr, charge, unpaired, **options)
        for name, value in (("verbosity", 0), ("accuracy", self.accuracy), ("max-iter", self.max_iterations)):
            calculator.set(name, value)
        self._calculator, self._result = calculator, None

    def _evaluate(self) -> None:
        if self._integrals:
            self._calculator.set("save-integrals", 1)
        self._result = self._calculator.singlepoint(self._result, copy=False)

    def _formula(self) -> str:
        return (
            require("ase.formula", "atoms")
            .Formula.from_list([require("ase.data", "atoms").chemical_symbols[z] for z in self.numbers])
            .format("hill")
        )


def version() -> str:
    """Version of the installed tblite."""
    require("tblite", "xtb")
    return metadata.version("tblite")


def _thread_limit(library: str) -> Callable[[], contextlib.AbstractContextManager]:
    """A context in which the OpenMP runtime behind this library uses one thread; empty where there is none to find."""
    try:
        handle = ctypes.CDLL(library)
        get, set_ = handle.omp_get_max_threads, handle.omp_set_num_threads
    except (OSError, AttributeError):
        return contextlib.nullcontext

    @contextlib.contextmanager
    def one_thread() -> Iterator[None]:
        before = get()
        set_(1)
        try:
            yield
        finally:
            set_(before)

    return one_thread
