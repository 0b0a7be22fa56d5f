"""One place for what every test shares: seeds, devices, tolerances, data; nothing may depend on the day or machine."""

import os
import warnings
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # no test may need a screen; set before anything imports matplotlib
os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest-xdist gives each worker a core; more threads would only fight
os.environ["INTERTWINE_RATES"] = os.devnull  # what `bench so3 --tune` measured here must not decide what tests see

import hypothesis
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

# The absolute error that a law exact in real numbers may show, per dtype, for values of order one.
TOL = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}

# The same examples on every run and machine: a red test must be repeatable, and a slow machine is no failure.
hypothesis.settings.register_profile(
    "intertwine", derandomize=True, deadline=None, database=None, max_examples=25, print_blob=False
)
hypothesis.settings.load_profile("intertwine")


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `device` runs on the CPU, and on CUDA too where there is one."""
    named = any("device" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize"))
    if "device" in metafunc.fixturenames and not named:
        metafunc.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])


@pytest.fixture
def generator() -> torch.Generator:
    """A CPU generator with a fixed seed, new for every test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def tol() -> dict[torch.dtype, float]:
    """The tolerance table, one number per dtype."""
    return dict(TOL)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with real data: $INTERTWINE_DATA, else `shared/data` beside the checkout; skips where neither is."""
    named = os.environ.get("INTERTWINE_DATA")
    if named and not Path(named).is_dir():
        pytest.fail(f"INTERTWINE_DATA names {named}, which is not a folder")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data here: set INTERTWINE_DATA to a folder with acac/, ethanol/, ...")
    return folder


@pytest.fixture(autouse=True)
def _leave_the_process_as_found():
    """Fail a test that leaves torch's global state changed for the next one."""
    before = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled())
    yield
    after = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled())
    torch.set_default_dtype(before[0])
    torch.set_grad_enabled(before[1])
    torch.use_deterministic_algorithms(before[2])
    assert before == after, f"the test changed (default dtype, grad mode, deterministic): {before} became {after}"


@pytest.fixture(scope="session")
def o3():
    """The module e3nn.o3, whose imports warn; skips where e3nn is absent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("e3nn.o3")


@pytest.fixture
def float64_default():
    """torch's default dtype is float64 while the test runs: e3nn rounds its constants to it."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
