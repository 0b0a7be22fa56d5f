"""What audits cost: a thousand elements on a CNN, a thousand digits on an orbit, the page in bytes and per click.

`python -m benchmarks.audit.cost [--threads 2]` prints a table; the clicks are left out where there is no Chromium.
"""

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from benchmarks.harness import machine, versions
from intertwine import audit
from intertwine.audit import OrbitGrid
from intertwine.groups import SO
from intertwine.reps import Images, Invariant

TURNS, CLASSES = Images(SO(2)), Invariant(SO(2))


def cnn(channels: int = 3, widths: tuple[int, ...] = (32, 64, 128, 256, 256)) -> nn.Sequential:
    """A plain CNN, by default of a million parameters: strided convolutions down to 4 × 4 pixels, ten classes."""
    layers: list[nn.Module] = []
    for i, width in enumerate(widths):
        stride = 2 if 0 < i < 4 else 1
        layers += [nn.Conv2d(channels, width, 3, stride, 1), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def digits(n: int, size: int = 28) -> tuple[Tensor, Tensor]:
    """Digits of scikit-learn, enlarged from 8 × 8, inside a border that a turn may cut."""
    found = load_digits()
    x = torch.as_tensor(found.images[:n], dtype=torch.float32)[:, None] / 16
    x = nn.functional.interpolate(x, size=(20, 20), mode="bilinear")
    pad = (size - 20) // 2
    return nn.functional.pad(x, (pad, pad, pad, pad)), torch.as_tensor(found.target[:n])


def timed(row: Callable[..., None], what: str, target: float, call: Callable[[], Any]) -> None:
    """A row of the seconds that a call takes, and of those of all cores together, which no busy machine stretches."""
    started, used = time.perf_counter(), time.process_time()
    call()
    seconds = time.perf_counter() - started
    row(what, target, seconds, "s", f"; {time.process_time() - used:.0f} s of CPU")


def elements(row: Callable[..., None]) -> None:
    """A thousand turns of an image, and of ten, on a million parameters."""
    torch.manual_seed(0)
    model, x = cnn(), torch.rand(10, 3, 32, 32)
    count = sum(p.numel() for p in model.parameters())
    g = torch.Generator().manual_seed(0)
    grid = OrbitGrid.circle(1000)
    single = dict(elements=grid.elements, n_elements=1000, special=False, generator=g)
    name = f"1,000 elements, CNN of {count:,} parameters at 32 × 32"
    timed(
        row,
        f"`measure`, float32 and float64: {name}, an image",
        30,
        lambda: audit.measure(model, TURNS, CLASSES, x[:1], **single),
    )
    timed(
        row,
        "`measure`, float32: the same, 10 images",
        30,
        lambda: audit.measure(model, TURNS, CLASSES, x, dtype="float32", **single),
    )
    timed(
        row, "`measure`, float32 and float64, 10 images", 30, lambda: audit.measure(model, TURNS, CLASSES, x, **single)
    )
    options = dict(orbit=grid, metric="rmse", generator=g)
    timed(row, "`nero`, 10 images", 30, lambda: audit.nero(model, TURNS, CLASSES, x, **options))


def orbit_of_digits(row: Callable[..., None], folder: Path) -> None:
    """A thousand digits by 72 angles by two models; and ten thousand rows of values as a page."""
    torch.manual_seed(0)
    x, y = digits(1000)
    models = {"narrow": cnn(1, (8, 16, 32, 32)), "wide": cnn(1, (16, 32, 64, 64))}
    g = torch.Generator().manual_seed(0)
    options = dict(orbit=OrbitGrid.circle(72), metric="confidence", generator=g)
    what = "`nero`, 1,000 digits × 72 angles × 2 models"
    timed(row, what, 60, lambda: audit.nero(models, TURNS, CLASSES, x, targets=y, **options))
    z = torch.randn(10_000, 2, generator=g)
    many = audit.nero(lambda z: z * z.abs(), SO(2).V, SO(2).V, z, orbit=OrbitGrid.circle(72), generator=g, title="many")
    path = many.to_html(folder / "many.html")
    row("page of 10,000 samples × 72 elements", 5, path.stat().st_size / 1e6, "MB")


def page(row: Callable[..., None], folder: Path) -> None:
    """The page of 200 images by 128 elements, two models: bytes, and milliseconds from a click to the next picture."""
    torch.manual_seed(0)
    x, y = digits(200)
    g = torch.Generator().manual_seed(0)
    models = {"narrow": cnn(1, (8, 16, 32, 32)), "wide": cnn(1, (16, 32, 64, 64))}
    grid = OrbitGrid.circle(128)
    orbits = audit.nero(
        models, TURNS, CLASSES, x, targets=y, orbit=grid, metric="confidence", generator=g, title="200 digits"
    )
    errors = audit.measure(models["wide"], TURNS, CLASSES, x, elements=grid.elements, n_elements=128, generator=g)
    path = audit.write_html(
        [errors, orbits], folder / "page.html", title="200 samples × 128 elements", max_bytes=10_000_000
    )
    row("page of 200 samples × 128 elements, an audit and two models on an orbit", 10, path.stat().st_size / 1e6, "MB")
    browser = chromium()
    if browser is None:
        print("left out: clicks (no Chromium)")
        return
    try:
        browser.open(path)
        browser.js(
            "addEventListener('click', () => { const start = performance.now();"
            " requestAnimationFrame(() => { const c = new MessageChannel();"
            " c.port1.onmessage = () => clicked.push(performance.now() - start); c.port2.postMessage(0); }); }, true)"
        )
        for what, selector in (
            ("a sample of the audit", '[data-result="0"] figure[data-stage=samples] [data-i="{}"]'),
            ("an element of the audit", '[data-result="0"] figure[data-stage=orbit] [data-k="{}"]:not(line):not(text)'),
            ("a sample on the map", '[data-result="1"] figure[data-stage=samples] [data-i="{}"]'),
            ("an element on the orbit", '[data-result="1"] figure[data-stage=orbit] svg[data-type=line] [data-k="{}"]'),
        ):
            times = clicks(browser, [selector.format(7 * i) for i in range(1, 13)])
            middle = statistics.median(times)
            row(f"click on {what}, the slowest of {len(times)} (median {middle:.0f} ms)", 100, max(times), "ms")
    finally:
        browser.close()


def chromium() -> Any:
    """The browser that the tests of the page drive, where there is one."""
    path = Path(__file__).parents[2] / "tests" / "audit" / "browser.py"
    spec = importlib.util.spec_from_file_location("browser", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return None if module.CHROMIUM is None else module.Browser()


def clicks(browser: Any, selectors: list[str]) -> list[float]:
    """Milliseconds from each click to the end of the frame that shows what it changed."""
    browser.js("window.clicked = []")
    times: list[float] = []
    for n, selector in enumerate(selectors):
        browser.click(selector)
        for _ in range(200):
            times = browser.js("clicked")
            if len(times) > n:
                break
            time.sleep(0.01)
        else:
            raise TimeoutError(f"no picture after a click on {selector}")
    return times


def main() -> None:
    """Print one line for each cost and what it may be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("elements", "digits", "page"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{machine()}; " + ", ".join(f"{name} {number}" for name, number in versions().items()))
    print("\n| what | target | measured |\n|---|---|---|")

    def row(what: str, target: float, value: float, unit: str, more: str = "") -> None:
        shown = f"{value:.0f}" if unit == "ms" else f"{value:.2g}" if value < 10 else f"{value:.0f}"
        print(f"| {what} | {target} {unit} | {shown} {unit}{more}{'' if value < target else ' (missed)'} |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        if options.only in (None, "elements"):
            elements(row)
        if options.only in (None, "digits"):
            orbit_of_digits(row, Path(folder))
        if options.only in (None, "page"):
            page(row, Path(folder))


if __name__ == "__main__":
    main()
