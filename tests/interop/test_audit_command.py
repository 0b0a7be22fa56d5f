"""`intertwine audit` on models that can be imported: verdicts as exit codes, and what it refuses."""

import json

import pytest
import torch

from intertwine.cli import main

NET = """
import torch

from intertwine.groups import SO

class Turned(torch.nn.Module):
    def __init__(self, kernel="symmetric"):
        super().__init__()
        k = torch.randn(4, 1, 3, 3, dtype=torch.float64)  # in float32 the sum below is symmetric up to rounding
        if kernel == "symmetric":
            k = sum(torch.rot90(k, i, (2, 3)) for i in range(4)) / 4
        self.kernel = torch.nn.Parameter(k)

    def forward(self, x):
        return torch.nn.functional.conv2d(x, self.kernel).relu().mean((2, 3))

class Declares(torch.nn.Module):
    rep_in = rep_out = SO(3).V

    def forward(self, x):
        return 2 * x

model = Turned()
images = [torch.randn(1, 8, 8) for _ in range(12)]
broken_inside = lambda x: {}["missing"]
number = 3
pair = lambda x: (x, x.norm(dim=1))
noisy = lambda x: torch.nn.functional.dropout(x, 0.5)
right = lambda x: x
clouds = [{"": torch.randn(7, 3)} for _ in range(12)]
"""


@pytest.fixture
def audit(tmp_path, monkeypatch, capsys):
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        assert main(["audit", *words, "--samples=12", "--elements=4"]) == code
        said = capsys.readouterr()
        return said.err if code == 2 else said.out

    return run


TURNS = ("--rep-in=Images(Cyclic(4))", "--rep-out=Invariant()")


def test_any_model_gets_a_verdict_and_an_exit_code(audit, tmp_path):
    said = audit("net.py:model", *TURNS, "--data=net.py:images", "--json=a.json", "--html=a.html")
    assert "Exact under Cyclic(4)" in said
    assert "exhaustive over Cyclic(4)" in said
    assert json.loads((tmp_path / "a.json").read_text())["verdict"]["word"] == "exact"
    assert (tmp_path / "a.html").exists()
    data = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.save(data, tmp_path / "x.pt")
    said = audit("net.py:Turned('other')", *TURNS, "--data=x.pt", code=1)
    assert "Broken under Cyclic(4)" in said


def test_a_model_may_declare_its_actions_and_seeds_are_kept(audit, tmp_path):
    (tmp_path / "net2.py").write_text("from net import *\n")
    first = audit("net2:Declares()", "--data=torch:randn(12, 3)", "--json=a.json")
    assert "Exact under SO(3)" in first
    one = json.loads((tmp_path / "a.json").read_text())
    state = torch.get_rng_state()
    audit("net2:Declares()", "--data=torch:randn(12, 3)", "--json=a.json")
    two = json.loads((tmp_path / "a.json").read_text())
    assert two["meta"] == one["meta"]  # with the fingerprint of the data
    assert two["outputs"][""]["size"] == pytest.approx(one["outputs"][""]["size"], rel=1e-12)
    assert torch.equal(state, torch.get_rng_state())


EVERY = {
    "Boxes(Dihedral(4), size=(8, 12))": (3, 4, 2),  # corners
    "Images(Dihedral(4))": (1, 6, 6),
    "Images(Cyclic(4), channel_rep='irrep(1) of Cyclic(4)')": (2, 6, 6),
    "Invariant(SO(3))": (3,),
    "Permute(S(5), axes=(1, 2))": (5, 5),
    "Points(SE(2))": (7, 2),
    "Rows(O(3))": (3, 3),
    "Tensors(SO(3), rank=2)": (3, 3),
    "V^2 + 2*V of SO(3)": (15,),
    "Vectors(E(3))": (7, 3),
    "{'': 'Points(E(3))'}": (7, 3),
}


@pytest.mark.parametrize("action", sorted(EVERY))
def test_every_action_can_be_named(action, audit):
    """The model that returns its input is equivariant whatever it moves by."""
    shape = ", ".join(map(str, (12, *EVERY[action])))
    data = f"--data=torch:randn({shape})" if "{" not in action else "--data=net.py:clouds"
    said = audit("net.py:right", f"--rep-in={action}", f"--rep-out={action}", data)
    assert said.startswith("Exact under")


def test_dropout_that_stays_on_is_called_by_its_name(audit):
    said = audit("net.py:noisy", "--rep-in=V of SO(3)", "--rep-out=V of SO(3)", "--data=torch:randn(12, 3)")
    assert "Stochastic" in said
    assert "the model draws random numbers" in said
    audit(
        *("net.py:noisy", "--rep-in=V of SO(3)", "--rep-out=V of SO(3)", "--data=torch:randn(12, 3)"),
        *("--fail-on=approximate",),
        code=1,
    )


VECTORS = ("--rep-in=V of SO(3)", "--rep-out=V of SO(3)", "--data=torch:randn(12, 3)")


@pytest.mark.parametrize(
    "words, says",
    [
        (("net.py:broken_inside", *VECTORS), "net.py:broken_inside stopped with KeyError"),
        (("net.py:pair", *VECTORS), "a tuple with '0' (1, 3), '1' (1,): give Nested"),
        (("net.py:Turned", *VECTORS), "is a class; call it"),
        (("net.py:number", *VECTORS), "is a int, which cannot be called"),
        (("net.py:nothing", *VECTORS), "has no 'nothing'"),
        (("no.such:thing", *VECTORS), "cannot import 'no.such'"),
        (("net.py:right", "--data=x.npy"), "does not say how its input moves"),
        (("net.py:right", "--rep-in=Invariant()", "--rep-out=Invariant()"), "names a group"),
        (("net.py:right", *VECTORS[:2]), "give inputs with --data"),
        (("net.py:right", *VECTORS[:2], "--data=x.npy"), "x.npy does not exist"),
        (("net.py:right", *VECTORS[:2], "--data=net.py"), "is no .pt or .npy file"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else value[0],
)
def test_what_cannot_be_audited_is_said(words, says, audit):
    said = audit(*words, code=2)
    assert says in said
    assert "Traceback" not in said
