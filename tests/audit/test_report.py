import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import torch

from audit.examples import HOSTILE, a_nero, an_audit, broken, sometimes_nan
from intertwine import audit
from intertwine.audit import OrbitGrid
from intertwine.audit.document import CSP
from intertwine.audit.svg import GRAPHICS, PALETTE, TEXT, contrast
from intertwine.groups import SE, Dihedral, E
from intertwine.reps import Nested, Points


@pytest.fixture(scope="module")
def results():
    """One of each: an audit, and an orbit plot of every kind."""
    g = torch.Generator().manual_seed(0)
    cloud = Points(SE(2))
    molecule = Nested({"pos": Points(E(3))})
    molecules = [{"pos": torch.randn(5, 3, generator=g)} for _ in range(6)]
    sphere = OrbitGrid.sphere_axis_angle(16, 5, group=E(3))
    square = Dihedral(4)
    return [
        an_audit(title="broken"),
        an_audit(fn=lambda x: x * 2, title="exact"),
        a_nero(classes=["a", "b"] * 15, consensus="mean"),
        audit.nero({"one": lambda x: {"pos": x["pos"] * 2}, "two": lambda x: {"pos": x["pos"].abs()}},
                   molecule, molecule, molecules, orbit=sphere, metric="pos:rmse", unit="Å", generator=g),
        audit.nero(lambda x: x * torch.arange(4.0), square.V, square.V, torch.randn(12, 4, generator=g),
                   orbit=OrbitGrid.finite(square), generator=g, title="tiles"),
        audit.nero(lambda x: x * 0.9, cloud, cloud, torch.randn(12, 5, 2, generator=g),
                   orbit=OrbitGrid.torus(5, 4, 1.0), generator=g, title="shifts"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def sections():
    picture = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><script>document.title="hacked"</script></svg>'
    )
    return [
        audit.Section("Metrics", "meV", table=[["", "MAE"], ["model", 3.2], [HOSTILE, 1]]),
        audit.Section("Picture", "a square", svg=picture, wide=True),
        audit.Section("Words", text="First paragraph.\n\nSecond <b>paragraph</b>."),
    ]


@pytest.fixture(scope="module")
def page(results, sections, tmp_path_factory):
    """The path of a page with everything on it."""
    path = tmp_path_factory.mktemp("page") / "audit.html"
    return audit.write_html(results, path, title="Everything at once", sections=sections)


class Tree(HTMLParser):
    """Elements as (tag, attributes, text inside), flat, with the text of each."""

    VOID = ("meta", "br", "img", "input", "link", "hr")

    def __init__(self, content):
        super().__init__(convert_charrefs=True)
        self.elements, self._open = [], []
        self.feed(content)
        self.close()
        assert not self._open, f"never closed: {[e[0] for e in self._open]}"

    def handle_starttag(self, tag, attrs):
        element = [tag, dict(attrs), "", len(self._open)]
        self.elements.append(element)
        if tag not in self.VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), "", len(self._open)])

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1][0] == tag, f"</{tag}> closes <{self._open[-1][0]}>"
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element[2] += data

    def all(self, *tags):
        return [e for e in self.elements if e[0] in tags]


def data_of(content):
    found = re.search(r'<script type="application/json" id="audit-data">(.*?)</script>', content, re.DOTALL)
    return json.loads(found[1], parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))


def test_the_page_keeps_to_itself(page):
    """No request, no link out, nothing but inline script and style, small script."""
    content = page.read_text()
    tree = Tree(content)
    for tag, attributes, _, _ in tree.elements:
        for name in ("src", "href", "action", "poster", "data", "srcset", "xlink:href"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:", "#")) or not value, f"<{tag} {name}={value[:60]}>"
        assert not any(name.startswith("on") for name in attributes), f"<{tag}> has an event attribute"
    css = "".join(e[2] for e in tree.all("style"))
    assert "@import" not in css
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)'\"]*)", css))
    script = "".join(e[2] for e in tree.all("script") if e[1].get("type") != "application/json")
    assert len(script) < 60_000
    for word in (
        "fetch(",
        "XMLHttpRequest",
        "import(",
        "WebSocket",
        "EventSource",
        "sendBeacon",
        "http://",
        "https://",
    ):
        assert word not in script.replace("http://www.w3.org/2000/svg", ""), word
    policies = [e[1]["content"] for e in tree.all("meta") if e[1].get("http-equiv") == "Content-Security-Policy"]
    assert policies == [CSP]
    assert not tree.all("link", "iframe", "object", "embed", "base", "form")


def test_structure_for_screen_readers(page):
    tree = Tree(page.read_text())
    assert tree.all("html")[0][1]["lang"] == "en"
    assert len(tree.all("h1")) == 1
    assert all(tree.all(name) for name in ("header", "main", "nav", "footer"))
    levels = [int(e[0][1]) for e in tree.all("h1", "h2", "h3", "h4")]
    assert all(b - a <= 1 for a, b in pairwise(levels))
    named = [e[1]["id"] for e in tree.elements if "id" in e[1]]
    assert len(set(named)) == len(named)
    texts = {e[1]["id"]: e[2].strip() for e in tree.elements if "id" in e[1]}
    links = [e[1]["href"][1:] for e in tree.all("a")]
    assert set(links) <= set(named)
    assert tree.all("a")[0][2] == "Skip to the plots"
    for _, attributes, words, _ in tree.all("figure"):
        labels = attributes.get("aria-labelledby", "").split()
        assert all(texts[label] for label in labels)
        assert labels or words.strip()
    for tag, attributes, _, _ in tree.all("svg"):
        assert attributes.get("aria-hidden") == "true" or (attributes["role"] == "img" and attributes["aria-label"]), (
            tag
        )
    assert all(e[1]["alt"] for e in tree.all("img"))
    assert all(e[1].get("scope") == "col" for e in tree.all("th"))


def test_every_control_has_a_name(page):
    tree = Tree(page.read_text())
    for tag, attributes, words, _ in tree.all("button", "summary"):
        assert words.strip() or attributes.get("aria-label"), tag
    inside = [e[2] for e in tree.all("label")]
    assert len(inside) == len(tree.all("select"))
    for _, attributes, _, _ in tree.elements:
        if attributes.get("role") in ("slider", "region"):
            assert attributes["aria-label"]
            assert attributes["tabindex"] == "0"


def test_every_figure_is_also_a_table(page):
    tree = Tree(page.read_text())
    figures = [e for e in tree.all("figure") if e[1].get("class") == "fig"]
    assert len(figures) == len([e for e in tree.all("details") if e[1].get("class") == "table"]) > 15
    assert sum(e[2] == "Show as table" for e in tree.all("summary")) == len(figures)


def test_order_of_the_content(page):
    content = page.read_text()
    marks = ["Verdict for broken", "Metrics", "Errors</h3>", "Errors against the noise floors", "Map of samples"]
    marks += [
        "One sample, element by element",
        "Worst pairs",
        "Lie derivatives",
        "Cost:",
        'id="methods"',
        'id="glossary"',
    ]
    places = [content.index(mark) for mark in marks]
    assert places == sorted(places)
    nero = content.index('data-result="2"')
    marks = ["Average over samples", "Map of samples", "One sample along the orbit", "Consensus"]
    places = [content.index(mark, nero) for mark in marks]
    assert places == sorted(places)
    for words in (
        "data fingerprint",
        "versions",
        "seed",
        "stability, not correctness",
        "With 95 % confidence",
        "arXiv:",
    ):
        assert words in content


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast_of_the_palette(theme):
    colours = {name: pair[theme] for name, pair in PALETTE.items()}
    for ground in ("page", "card"):
        for name in TEXT:
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        for name in GRAPHICS:
            assert contrast(colours[name], colours[ground]) >= 3, (name, ground)
    assert contrast(colours["ink"], colours["tint"]) >= 4.5
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_themes_motion_and_print_are_thought_of(page):
    css = "".join(e[2] for e in Tree(page.read_text()).all("style"))
    for rule in ("prefers-color-scheme:dark", "prefers-reduced-motion", "@media print", ":focus-visible"):
        assert rule in css
    assert len(set(PALETTE)) == len(PALETTE)


def test_same_results_same_bytes(results, sections, tmp_path):
    """Must hold 9; and a time stamp only where one is asked for."""
    paths = [audit.write_html(results, tmp_path / f"{i}.html", title="t", sections=sections) for i in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    fresh = [audit.write_html([an_audit(), a_nero()], tmp_path / f"new{i}.html", title="t") for i in range(2)]
    assert fresh[0].read_bytes() == fresh[1].read_bytes(), "measured again with the same seed"
    assert not re.search(rb"20\d\d-\d\d-\d\d", paths[0].read_bytes())
    dated = audit.write_html(results, tmp_path / "d.html", title="t", created="2031-05-06").read_text()
    assert "Made 2031-05-06" in dated


def test_hostile_names_are_text(tmp_path):
    group_result = an_audit(title=HOSTILE)
    orbits = a_nero(fn={HOSTILE: broken}, title=HOSTILE, classes=[HOSTILE, "b"] * 15)
    block = audit.Section(HOSTILE, HOSTILE, HOSTILE, table=[[HOSTILE], [HOSTILE]])
    content = audit.write_html(
        [group_result, orbits], tmp_path / "h.html", title=HOSTILE, created=HOSTILE, sections=[block]
    ).read_text()
    tree = Tree(content)
    assert not [e for e in tree.all("img") if e[1].get("src") == "x"]
    assert len(tree.all("script")) == 2
    assert tree.all("h1")[0][2] == HOSTILE
    assert content.count("</script>") == 2
    assert data_of(content)["title"] == HOSTILE


def test_missing_values_are_null_with_a_flag_and_hatched(tmp_path):
    with_nan = an_audit(fn=sometimes_nan)
    orbits = a_nero(fn=sometimes_nan)
    nowhere = a_nero(fn=lambda x: x * torch.nan, title="nothing")
    content = audit.write_html([with_nan, orbits, nowhere], tmp_path / "n.html", title="t").read_text()
    first, second, third = data_of(content)["results"]
    errors = first["outputs"][0]["errors"]
    assert None in errors["v"]
    assert errors["missing"] == errors["v"].count(None)
    assert set(errors["flags"].values()) == {"NaN"}
    assert errors["v"][int(next(iter(errors["flags"])))] is None
    assert None in second["values"]["v"]
    assert set(third["values"]["v"]) == {None}
    assert "url(#hatch)" in content
    assert "no value" in content
    assert "pairs have no value" in content


def test_levels_and_digits_give_the_values_back():
    from intertwine.audit.pack import pack

    g = torch.Generator().manual_seed(0)
    small = torch.randn(50, generator=g, dtype=torch.float64)
    torch.testing.assert_close(torch.tensor(pack(small)["v"]).double(), small, rtol=1e-3, atol=0)
    assert pack(torch.tensor([1e-300, 1.0, torch.inf]))["flags"] == {"2": "Infinity"}
    large = torch.rand(60_000, generator=g, dtype=torch.float64)
    packed = pack(large)
    back = packed["lo"] + (packed["hi"] - packed["lo"]) * torch.tensor(packed["q"]).double() / 999
    assert (back - large).abs().max() < 1e-3
    wide = 10 ** (-12 * large)
    wide[0] = 0
    packed = pack(wide)
    assert packed["log"] == 1
    assert packed["q"][0] == -1
    q = torch.tensor(packed["q"][1:]).double()
    back = packed["lo"] * (packed["hi"] / packed["lo"]) ** (q / 999)
    assert (back / wide[1:]).log().abs().max() < 0.02


def test_one_sample(tmp_path):
    content = audit.write_html([an_audit(1), a_nero(1)], tmp_path / "one.html", title="t").read_text()
    Tree(content)
    assert "n too small" in content


def test_sixty_four_samples_have_their_pictures(tmp_path):
    data = data_of(audit.write_html(a_nero(64), tmp_path / "p.html", title="t").read_text())
    assert len(data["results"][0]["views"]) == 64
    few = data_of(audit.write_html(a_nero(64), tmp_path / "q.html", title="t", thumbnails=5).read_text())
    assert 5 <= len(few["results"][0]["views"]) <= 6  # and the one that is shown first


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """10,000 samples × 72 elements, and an audit of as many samples."""
    path = tmp_path_factory.mktemp("large") / "large.html"
    return audit.write_html(
        [an_audit(10_000), a_nero(10_000, fn=broken, grid=OrbitGrid.circle(72))], path, title="ten thousand"
    )


def test_ten_thousand_samples_stay_under_five_megabytes(large):
    """Must hold 6."""
    content = large.read_text()
    assert large.stat().st_size < 5_000_000
    result = data_of(content)["results"][1]
    assert result["samples"] == 10_000
    shown = "To keep this file small" in content
    assert shown == (result["kept"] is not None)
    assert len(Tree(content).all("figure")) >= 6


def test_what_is_left_out_is_said(tmp_path):
    r = a_nero(2000)
    full = audit.write_html(r, tmp_path / "full.html", title="t")
    thin = audit.write_html(r, tmp_path / "thin.html", title="t", max_bytes=full.stat().st_size // 2)
    assert thin.stat().st_size <= full.stat().st_size // 2
    assert "values element by element are kept for" in thin.read_text()
    assert "To keep this file small" not in full.read_text()
    kept = data_of(thin.read_text())["results"][0]["kept"]
    assert kept == sorted(set(kept))
    assert len(kept) < 2000
    tiny = audit.write_html(r, tmp_path / "tiny.html", title="t", max_bytes=1)
    assert tiny.stat().st_size < 250_000


def test_an_interrupted_write_leaves_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        audit.write_html(a_nero(), path, title="t")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_two_models_share_one_scale(results, page):
    content = page.read_text()
    sphere = content[content.index('data-result="3"') : content.index('data-result="4"')]
    for kind in ("cells", "profile"):
        scales = set(re.findall(rf'data-type="{kind}"[^>]*?data-lo="([^"]*)" data-hi="([^"]*)"', sphere))
        assert len(scales) == 1
    audits = content[content.index('data-result="0"') : content.index('data-result="2"')]
    assert len(set(re.findall(r'data-type="dots"[^>]*?data-lo="([^"]*)" data-hi="([^"]*)"', audits))) == 1


def test_results_write_themselves_and_plot(results, tmp_path):
    assert results[0].to_html(tmp_path / "a.html").read_text().count("<h1>broken</h1>") == 1
    assert results[2].to_html(tmp_path / "b.html", title="other").read_text().count("<h1>other</h1>") == 1
    for r in results[2:]:
        for kind in ("auto", "individual", "samples"):
            svg = r.plot(kind)
            Tree(svg)
            assert svg.startswith("<svg ")
            assert 'xmlns="http://www.w3.org/2000/svg"' in svg
    with pytest.raises(ValueError, match="kind must be"):
        results[2].plot("pie")


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="nothing to write"):
        audit.write_html([], tmp_path / "x.html", title="t")
    with pytest.raises(ValueError, match="must not be negative"):
        audit.write_html(a_nero(), tmp_path / "x.html", title="t", thumbnails=-1)
    with pytest.raises(TypeError, match="cannot write a str"):
        audit.write_html(["no"], tmp_path / "x.html", title="t")
    only = audit.write_html([], tmp_path / "s.html", title="t", sections=[audit.Section("a", text="b")])
    Tree(only.read_text())
