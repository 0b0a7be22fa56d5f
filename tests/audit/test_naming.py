import pytest
import torch

from intertwine import reps
from intertwine.audit import load_object, parse_action
from intertwine.groups import Cyclic, E, O, S
from intertwine.reps import Action, Images, Invariant, Nested, Permute, Points
from intertwine.so3 import Irreps


@pytest.mark.parametrize(
    "text, shown",
    [
        ("Points(E(3))", "Points(E(3))"),
        ("Permute(S(3) * S(2), axes=(1,))", "Permute(S(3) * S(2), axes=(1,))"),
        ("Images(Cyclic(4), mode='bicubic')", "Images(Cyclic(4), mode='bicubic')"),
        ("Tensors(O(3), rank=2)", "Tensors(O(3), rank=2)"),
        ("[Permute(S(3)), Invariant()]", "Nested([Permute(S(3), axes=(1,)), Invariant()])"),
        ("Nested({'a': 'V of S(3)', 'b': Invariant()})", None),
        ("intertwine.groups:S(4).V", None),
    ],
)
def test_actions_are_read(text, shown):
    action = parse_action(text)
    assert shown is None or repr(action) == shown


EVERY = {
    "Boxes": "Boxes(Dihedral(4), size=(8, 12))",
    "Images": "Images(Cyclic(4), mode='bicubic', channel_rep='irrep(1) of Cyclic(4)')",
    "Invariant": "Invariant(SO(3))",
    "Nested": "{'pos': 'Points(E(3))', 'kind': Invariant()}",
    "Permute": "Permute(S(3) * S(2), axes=(1, 2))",
    "Points": "Points(SE(2))",
    "Rep": "V^2 + 3*V of S(5)",
    "Rows": "Rows(O(3))",
    "Tensors": "Tensors(O(2), rank=3)",
    "Vectors": "Vectors(Lorentz(1, 3))",
}


@pytest.mark.parametrize("name", sorted(EVERY))
def test_every_action_of_the_package_has_a_name(name):
    action = parse_action(EVERY[name])
    assert type(action).__name__ == name
    assert repr(parse_action(repr(action))) == repr(action), "what is printed can be read"


def test_none_is_left_out():
    known = {name for name, thing in vars(reps).items() if isinstance(thing, type) and issubclass(thing, Action)}
    assert known - {"Action"} == set(EVERY)


def test_what_is_read_acts():
    assert parse_action("V^2 + 3*V of S(5)") == S(5).V ** 2 + 3 * S(5).V
    assert parse_action("2x1o + 3x0e of O(3)") == Irreps("2x1o + 3x0e")
    read = parse_action("{'pos': 'Points(E(3))', 'kind': 'Invariant()'}")
    assert isinstance(read, Nested)
    assert {key: type(part) for key, part in read.parts.items()} == {"pos": Points, "kind": Invariant}
    assert read.group == E(3) != O(3)
    flow = parse_action(EVERY["Images"])
    assert flow.channel_rep == Cyclic(4).irrep(1)
    field, quarter = torch.randn(1, 2, 6, 6), torch.tensor(1)
    again = Images(Cyclic(4), channel_rep=Cyclic(4).irrep(1))(quarter, field)
    assert torch.equal(flow(quarter, field), again)
    x = torch.randn(2, 4, 3)
    g = torch.tensor([1, 2, 3, 0])
    assert torch.equal(parse_action("Permute(S(4))")(g, x), Permute(S(4))(g, x))


@pytest.mark.parametrize(
    "text, says",
    [
        ("Foo(3)", "there are the Actions Boxes, Images"),
        ("os:path", "is a module, not an Action"),
        ("nonsense", "cannot read 'nonsense'"),
        ("Points(E(3)", "give such as"),
        ("V of Q(3)", "there is no group 'Q'"),
        ("{'a': torch.zeros(3)}", "cannot read"),
        ("Permute(O(3))", "does not permute"),
        ("os.nothing:x", "cannot import 'os.nothing'"),
        ("nowhere.py:x", "nowhere.py does not exist"),
        ("torch:randn(x)", "the argument x is no number"),
        ("torch:randn(2) + 1", "give a name, or a call of one"),
        ("torch:randn(2, ", "cannot read"),
        ("torch:zeros(2)", "is a Tensor, not an Action"),
    ],
)
def test_what_cannot_be_read_is_said(text, says):
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse_action(text)
    assert says in str(caught.value)


def test_objects_come_from_modules_and_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_models_here.py").write_text("class A:\n    value = 3\n    def __init__(self, k=1): self.k = k\n")
    assert load_object("my_models_here.py:A(k=-2).k") == -2
    assert load_object("my_models_here:A.value") == 3
    with pytest.raises(ValueError, match="is no import path"):
        load_object("plain text")
