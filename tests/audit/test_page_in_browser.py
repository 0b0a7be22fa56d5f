"""The page in a real browser: it must work offline, narrow, dark, by keyboard and without scripts."""

import time

import pytest
import torch

from audit.browser import CHROMIUM, Browser
from audit.examples import HOSTILE, a_nero, an_audit, broken, sometimes_nan
from intertwine import audit
from intertwine.audit import OrbitGrid
from intertwine.groups import SE, SO, Dihedral, E
from intertwine.reps import Images, Invariant, Nested, Points, Vectors

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

RESULTS = ["audit", "circle", "sphere", "tiles"]


@pytest.fixture(scope="module")
def browser():
    found = Browser()
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    g = torch.Generator().manual_seed(0)
    molecule, square = Nested({"pos": Points(E(3)), "z": Invariant()}), Dihedral(4)
    molecules = [{"pos": torch.randn(5, 3, generator=g), "z": torch.tensor([6, 6, 8, 1, 1])} for _ in range(6)]
    results = [
        an_audit(30, title="audit"),
        a_nero(40, title="circle", classes=["a", "b"] * 20),
        audit.nero(
            {"one": lambda x: {"pos": x["pos"] * 2}, "two": lambda x: {"pos": x["pos"].abs()}}, molecule,
            Nested({"pos": Points(E(3))}), molecules, orbit=OrbitGrid.sphere_axis_angle(16, 5, group=E(3)),
            metric="pos:rmse", generator=g, title="sphere",
        ),
        audit.nero(sometimes_none, square.V, square.V, torch.randn(12, 4, generator=g), orbit=OrbitGrid.finite(square),
                   generator=g, title="tiles"),
    ]  # fmt: skip
    sections = [audit.Section("Metrics", table=[["a", "b"], ["1", 'with "quotes", commas']])]
    path = tmp_path_factory.mktemp("browser") / "page.html"
    return audit.write_html(results, path, title="A page", sections=sections)


def sometimes_none(x):
    return torch.where(x[:, :1] > 1, torch.nan, x * torch.arange(4.0))


def figure(result: str, stage: str) -> str:
    return f'section[data-result="{RESULTS.index(result)}"] figure[data-stage={stage}]'


def text(browser, selector: str) -> str:
    return browser.js(f"document.querySelector({selector!r}).textContent")


@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_loads_without_errors_or_requests_and_fits(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.js("document.documentElement.scrollWidth") <= width
    wide = browser.js(
        "[...document.querySelectorAll('body *')].filter(e => !e.ownerSVGElement && !e.closest('.scroll,.skip,dialog')"
        " && "
        "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    sizes = browser.js("[...document.querySelectorAll('.stage svg')].map(s => s.getBoundingClientRect().width)")
    assert len(sizes) > 20
    assert min(sizes) > 100
    background = browser.js("getComputedStyle(document.documentElement).backgroundColor")
    assert background == ("rgb(20, 23, 28)" if dark else "rgb(246, 247, 249)")


def test_text_of_plots_is_large_enough_on_a_phone(browser, page):
    browser.open(page, width=400)
    heights = browser.js(
        "[...document.querySelectorAll('.panels svg text')].map(t => t.getBoundingClientRect().height).filter(h => h)"
    )
    assert min(heights) >= 9


def test_a_click_on_a_sample_changes_its_orbit_and_the_detail(browser, page):
    browser.open(page)
    for result in ("circle", "sphere", "tiles", "audit"):
        one, samples = figure(result, "orbit"), figure(result, "samples")
        detail = f'section[data-result="{RESULTS.index(result)}"] .detail .say'
        before = (
            text(browser, f"{one} .subject"),
            text(browser, detail),
            browser.js(f"document.querySelector('{one} .stage').innerHTML"),
        )
        names = browser.js(f"[...document.querySelectorAll('{samples} [data-i]')].map(m => m.dataset.i)")
        current = before[0].split()[1].rstrip(".:")
        other = next(n for n in names if n != current)
        browser.click(f'{samples} [data-i="{other}"]')
        after = (
            text(browser, f"{one} .subject"),
            text(browser, detail),
            browser.js(f"document.querySelector('{one} .stage').innerHTML"),
        )
        assert all(a != b for a, b in zip(before, after)), result
        said = browser.js(f"document.querySelector('{samples} .cursor').getAttribute('aria-valuetext')")
        assert said.split()[1].rstrip(".:,") == after[0].split()[1].rstrip(".:,")
        assert browser.js(f"document.querySelectorAll('{samples} .ring').length") >= 1
    assert browser.errors == []


def test_a_click_on_an_element_changes_the_detail(browser, page):
    browser.open(page)
    for result, k in (("circle", 7), ("sphere", 40), ("tiles", 5), ("audit", 3)):
        detail = f'section[data-result="{RESULTS.index(result)}"] .detail .say'
        browser.click(f'{figure(result, "orbit")} [data-k="{k}"]:not(line):not(text)')
        said = text(browser, detail)
        label = browser.js(f"document.querySelector('{figure(result, 'orbit')} .cursor').getAttribute('aria-valuenow')")
        assert label == str(k)
        browser.click(
            f'{figure(result, "orbit")} [data-k="{k - 1 if result != "sphere" else k + 16}"]:not(line):not(text)'
        )
        assert text(browser, detail) != said
    assert browser.js("document.querySelectorAll('section[data-result=\"2\"] .views svg').length") == 2
    assert browser.errors == []


def test_the_first_pair_shown_is_the_worst_one_whatever_its_output(browser, tmp_path):
    """The worst pair belongs to the second output: the panel opens on it, with the line that repeats it."""
    g = torch.Generator().manual_seed(0)
    rep_out = Nested({"good": Vectors(SO(3)), "bad": Vectors(SO(3))})
    result = audit.measure(
        lambda x: {"good": 2 * x, "bad": x.abs()}, SO(3).V, rep_out, torch.randn(20, 3, generator=g), generator=g
    )
    browser.open(audit.write_html(result, tmp_path / "w.html", title="t"))
    assert text(browser, ".detail .snippet") == result.worst[0].snippet
    assert f"{result.worst[0].absolute:.3g}" in text(browser, ".detail .say")


def test_values_on_the_page_are_those_of_the_result(browser, page):
    """What a click shows is what Python measured."""
    browser.open(page)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40, 2, generator=g)
    V2 = SO(2).V
    R = OrbitGrid.circle(24).elements[5]
    twice = (2 * (x @ R.T.float()) - 2 * x @ R.T.float()).abs().max()
    assert twice < 1e-5
    browser.click(f'{figure("circle", "samples")} [data-i="3"]')
    browser.click(
        f'{figure("circle", "orbit")} [data-type=line] [data-k="5"][data-m="0"]'.replace(
            "[data-type=line]", "svg[data-type=line]"
        )
    )
    said = text(browser, 'section[data-result="1"] .detail .say')
    target = V2.act(R, broken(x[3:4]))
    expected = (broken(V2.act(R, x[3:4])) - target).square().mean().sqrt().item()
    shown = float(said.split("first ")[1].split(";")[0])
    assert shown == pytest.approx(expected, rel=6e-3)


def test_keyboard(browser, page):
    browser.open(page)
    samples, orbit = f"{figure('circle', 'samples')} .cursor", f"{figure('circle', 'orbit')} .cursor"
    now = "document.activeElement.getAttribute('aria-valuenow')"
    browser.js(f"document.querySelector('{samples}').focus()")
    browser.key("Home", 36)
    assert browser.js(now) == "0"
    browser.key("ArrowRight", 39)
    assert browser.js(now) == "1"
    browser.key("End", 35)
    assert browser.js(now) == "39"
    browser.key("PageDown", 34)
    assert browser.js(now) == "35"
    browser.key("Enter", 13)
    assert browser.js(f"document.activeElement === document.querySelector('{orbit}')")
    browser.key("Home", 36)
    browser.key("ArrowLeft", 37)
    assert browser.js(now) == "23", "a circle closes"
    browser.key("?", 191, "?")
    assert browser.js("document.getElementById('keys').open")
    browser.key("Escape", 27)
    assert not browser.js("document.getElementById('keys').open")
    browser.js(f"document.querySelector('{orbit}').focus()")
    browser.key("Escape", 27)
    assert browser.js(f"document.activeElement === document.querySelector('{samples}')")
    outline = browser.js(
        "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth"
    )
    assert outline == "solid3px"
    tiles = f"{figure('tiles', 'orbit')} .cursor"
    browser.js(f"document.querySelector('{tiles}').focus()")
    browser.key("Home", 36)
    browser.key("ArrowDown", 40)
    assert browser.js(now) == "4", "one row of four down"
    assert browser.errors == []


def test_tab_passes_every_plot_and_is_never_caught(browser, page):
    browser.open(page)
    wanted = browser.js("document.querySelectorAll('.cursor').length")
    seen, first = set(), None
    for _ in range(400):
        browser.key("Tab", 9)
        where = browser.js(
            "(() => { const all = [...document.querySelectorAll('*')]; const e = document.activeElement;"
            " return [all.indexOf(e), e.classList.contains('cursor'), e.getAttribute('href')]; })()"
        )
        first = first or where
        if where[0] in seen:
            break
        seen.add(where[0])
        wanted -= where[1]
    else:
        pytest.fail("Tab never comes round")
    assert first[2] == "#plots", "the first stop skips to the plots"
    assert wanted == 0


def test_buttons(browser, page):
    browser.open(page)
    rows = browser.js("[...document.querySelectorAll('button[data-go]')].map(b => b.dataset.go)")
    assert len(rows) == 10
    browser.js("document.querySelector('button[data-go]').scrollIntoView({block: 'center'})")
    browser.click(f'button[data-go="{rows[4]}"]')
    assert browser.js("document.querySelector('tr.on button').dataset.go") == rows[4]
    assert "pair_error" in text(browser, 'section[data-result="0"] .detail .snippet')
    marks = f"{figure('circle', 'samples')} [data-i]"
    fills = f"[...document.querySelectorAll('{marks}')].map(c => c.getAttribute('fill'))"
    before = browser.js(fills)
    browser.click('section[data-result="1"] button[data-shade=std]')
    assert browser.js(fills) != before
    assert browser.js("document.querySelector('button[data-shade=std]').getAttribute('aria-pressed')") == "true"
    curve = "document.querySelector('section[data-result=\"1\"] svg[data-role=aggregate] path.curve').getAttribute('d')"
    before = browser.js(curve)
    browser.js(
        "(() => { const s = document.querySelector('select[data-class]'); s.value = '0';"
        " s.dispatchEvent(new Event('change')); })()"
    )
    assert browser.js(curve) != before
    csv = browser.js(
        "(() => { let got; navigator.clipboard.writeText = t => { got = t; return Promise.resolve(); };"
        " document.querySelector('#blocks button[data-csv]').click(); return got; })()"
    )
    assert csv == 'a,b\n1,"with ""quotes"", commas"'
    json = browser.js(
        "(() => { let got; URL.createObjectURL = b => { got = b.size; return '#'; };"
        " document.getElementById('download').click();"
        " return [got, document.getElementById('audit-data').textContent.length]; })()"
    )
    assert json[0] >= json[1] > 1000
    assert browser.errors == []


def test_without_scripts_everything_is_there(browser, page):
    browser.open(page, scripts=False)
    shown = "[...document.querySelectorAll('{}')].filter(e => e.getBoundingClientRect().width > 0).length"
    assert browser.js(shown.format("figure.fig")) == browser.js("document.querySelectorAll('figure.fig').length")
    assert browser.js(shown.format(".js-only")) == 0
    assert browser.js("document.querySelectorAll('details.table table').length") > 5
    browser.send("Emulation.setScriptExecutionDisabled", value=False)


def test_hostile_names_run_nothing(browser, tmp_path):
    orbits = a_nero(12, fn={HOSTILE: sometimes_nan}, title=HOSTILE, classes=[HOSTILE, "b"] * 6)
    path = audit.write_html([an_audit(12, title=HOSTILE), orbits], tmp_path / "h.html", title=HOSTILE)
    browser.open(path)
    browser.click('figure[data-stage=samples] [data-i="1"]')
    assert browser.errors == []
    assert browser.js("document.querySelectorAll('img').length") == 0
    assert text(browser, "h1") == HOSTILE
    assert "hacked" not in browser.js("document.title").replace(HOSTILE, "")


def test_missing_values_are_hatched_and_named(browser, tmp_path):
    path = audit.write_html(a_nero(20, fn=sometimes_nan), tmp_path / "n.html", title="t")
    browser.open(path)
    for i in range(20):
        browser.js("document.querySelector('figure[data-stage=samples] .cursor').focus()")
        browser.key("Home" if i == 0 else "ArrowRight", 36 if i == 0 else 39)
        drawn = browser.js("document.querySelectorAll('figure[data-stage=orbit] svg[data-type=line] [data-k]').length")
        assert drawn == 24, "a mark for every element, with a value or without"
    assert browser.js("document.querySelectorAll('figure[data-stage=orbit] .none').length") > 0
    assert browser.errors == []


def test_moved_images_are_drawn_as_they_are_moved(browser, tmp_path):
    """The picture beside the numbers turns and shifts as `Images` does, y down; cut corners say what is lost."""
    g = torch.Generator().manual_seed(0)
    x = torch.rand(3, 1, 8, 8, generator=g)
    results = [
        audit.nero(
            lambda x: x.mean((1, 2, 3))[:, None], Images(grid.group), Invariant(grid.group), x, orbit=grid, generator=g
        )
        for grid in (OrbitGrid.circle(8), OrbitGrid.torus(3, 3, 0.5, group=SE(2)))
    ]
    browser.open(audit.write_html(results, tmp_path / "i.html", title="t"))
    moved = "document.querySelectorAll('section[data-result=\"{}\"] .views image')[1].getAttribute('transform')"
    browser.click('[data-result="0"] figure[data-stage=orbit] svg[data-type=line] [data-k="3"]')
    assert browser.js(moved.format(0)) == "rotate(135 80 80)"
    browser.click('[data-result="1"] figure[data-stage=orbit] [data-k="1"]')
    assert browser.js(moved.format(1)) == "translate(0 -34)"
    assert browser.js("document.querySelectorAll('[data-result=\"0\"] .cut').length") == 0
    assert browser.js("document.querySelectorAll('[data-result=\"1\"] .cut').length") == 16  # all but the middle, twice
    assert browser.errors == []


def test_ten_thousand_samples_open_and_answer(browser, tmp_path):
    x = a_nero(10_000, fn={"m": sometimes_nan}, grid=OrbitGrid.circle(72))
    path = audit.write_html(x, tmp_path / "l.html", title="t")
    assert path.stat().st_size < 5_000_000
    started = time.monotonic()
    browser.open(path)
    assert time.monotonic() - started < 20
    before = text(browser, "figure[data-stage=orbit] .subject")
    browser.js("document.querySelector('figure[data-stage=samples] .cursor').focus()")
    browser.key("End", 35)
    assert text(browser, "figure[data-stage=orbit] .subject") != before
    assert browser.errors == []
