"""Groups and representations from text: what is printed parses back, what does not parse points at a character."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grids import GROUPS
from intertwine import so3
from intertwine.groups import SL, SO, A, Cyclic, Dihedral, E, GLPlus, Lorentz, MatrixGroup, O, S, Sp, Trivial
from intertwine.reps import Factor, Irrep, Product, Rep, irrep_labels, outer, parse_group, parse_rep


@pytest.mark.parametrize("group", [group for group in GROUPS if not isinstance(group, MatrixGroup)], ids=str)
def test_every_group_parses_back(group):
    assert parse_group(str(group)) == group


@pytest.mark.parametrize(
    "text, group",
    [
        ("S(5)", S(5)),
        ("  S ( 5 ) ", S(5)),
        ("S(3)*SO(3)", S(3) * SO(3)),
        ("S(3) * (SO(3) * O(2))", S(3) * SO(3) * O(2)),
        ("(S(3))", S(3)),
        ('Lorentz(1, 3, "restricted")', Lorentz(1, 3, "restricted")),
        ("Lorentz(1,3,'full')", Lorentz(1, 3)),
        ("Trivial()", Trivial()),
        ("Trivial(1)", Trivial()),
        ("S(2)\n * E(3)", S(2) * E(3)),
    ],
)
def test_groups(text, group):
    assert parse_group(text) == group


BAD_GROUPS = {
    "": (0, "expected the name of a group, found the end"),
    "S": (1, "expected '(', found the end"),
    "S(": (2, "expected a number or ')', found the end"),
    "S(5": (3, "expected ',' or ')', found the end"),
    "S(5,)": (4, "expected a number, found ')'"),
    "S(5))": (4, "expected '+', '*' or the end, found ')'"),
    "S(5) S(3)": (5, "expected '+', '*' or the end, found 'S'"),
    "S(3) *": (6, "expected the name of a group, found the end"),
    "S(3) x SO(3)": (5, "expected '+', '*' or the end, found 'x'"),
    "5": (0, "expected the name of a group, found '5'"),
    "S(3) & O(2)": (5, "'&' is not part of a group"),
    "O(2) * SX(2)": (7, "there is no group 'SX'; known: A, "),
    "Wreath(2, O(3))": (7, "expected the name of a group"),
    "Power(O(3))": (0, "Power takes"),
    "O(2) * Sp(3)": (7, r"Sp(3): n must be even"),
    "S(0)": (0, "S: n must be an integer of at least 1, got 0"),
    "S(-1)": (2, "expected a number or ')', found '-'"),
    "S(3, 4)": (0, "S takes (n: int), got (3, 4)"),
    "S()": (0, "S takes (n: int), got ()"),
    "S('x')": (0, "S: n must be an integer of at least 1, got 'x'"),
    "Lorentz(1, 3, 'up')": (0, "component must be one of"),
    "Lorentz(1, 3, 'up": (14, '"\'" is not part of a group'),
    "__import__('os')": (0, "there is no group '__import__'"),
}


@pytest.mark.parametrize("text", BAD_GROUPS)
def test_bad_groups_are_pointed_at(text):
    position, message = BAD_GROUPS[text]
    with pytest.raises(ValueError) as error:
        parse_group(text)
    first, line, caret = str(error.value).split("\n")
    assert first.startswith("cannot read a group: ")
    assert message in first
    assert line == f"  {text}"
    assert caret == "  " + " " * position + "^"


@pytest.mark.parametrize(
    "text, rep",
    [
        ("V", S(4).V),
        ("V^2 + 3*V + 2", S(4).V ** 2 + 3 * S(4).V + 2 * S(4).trivial),
        ("V**2+3 * V+1", S(4).V ** 2 + 3 * S(4).V + S(4).trivial),
        ("(V + 1)^2", (S(4).V + S(4).trivial) ** 2),
        ("2*(V + det)*V", 2 * (S(4).V + S(4).det) * S(4).V),
        ("2*3*V", 6 * S(4).V),
        ("V*3", 3 * S(4).V),
        ("0", 0 * S(4).V),
        ("0*V + V^0", S(4).trivial),
        ("regular", S(4).regular),
        ("trivial", S(4).trivial),
        ("V'*V.dual", GLPlus(2).V.dual ** 2),
        ("V'' * (V*V')'", GLPlus(2).V * GLPlus(2).V.dual * GLPlus(2).V),
        ("V'^3", GLPlus(2).V.dual ** 3),
        ("adjoint", SO(3).adjoint),
        ("irrep(1, 2)^2", Dihedral(6).irrep(1, 2) ** 2),
        ("irrep(2)", SO(2).irrep(2)),
        ("V", (S(3) * SO(3)).V),
        ("V[0]*V[1]", (S(3) * SO(3)).V),
        ("(V^2 + 1)[1]", (S(3) * SO(3)).pull(1, SO(3).V ** 2 + SO(3).trivial)),
        ("regular[0:2]*V'[2]", (S(2) * Cyclic(3)).regular * Sp(2).V.dual),
        ("Ind(S(3), V + det)", (S(3).V + S(3).det).induce(S(4))),
        ("Res(S(4), regular*V)", (S(4).regular * S(4).V).restrict(S(3))),
        (
            "Res(Lorentz(1, 3, 'proper'), V'*V)",
            (Lorentz(1, 3, "proper").V.dual * Lorentz(1, 3, "proper").V).restrict(SO(3)),
        ),
        ("Ind(S(2) * S(2), V[0]*det[1])", outer(S(2).V, S(2).det).induce(S(4))),
    ],
)
def test_representations(text, rep):
    parsed = parse_rep(text, rep.group)
    assert parsed == rep
    assert parse_rep(str(rep), rep.group) == rep


BAD_REPS = {
    "": (0, "expected a representation, found the end"),
    "V +": (3, "expected a representation, found the end"),
    "V + + V": (4, "expected a representation, found '+'"),
    "V^": (2, "expected a number, found the end"),
    "V^V": (2, "expected a number, found 'V'"),
    "V^2^2": (3, "expected '+', '*' or the end, found '^'"),
    "V V": (2, "expected '+', '*' or the end, found 'V'"),
    "3V": (0, "'3' is not part of a representation of S(4)"),
    "(V": (2, "expected ')', found the end"),
    "V)": (1, "expected '+', '*' or the end, found ')'"),
    "V^2 + W*3": (6, "S(4) has no representation named 'W'; known: V, adjoint, det, regular, trivial"),
    "V + adjoint": (4, "adjoint: S(4) has no Lie algebra"),
    "irrep(1)": (0, "S(4) has no representation named 'irrep'"),
    "V(1)": (0, "V takes no label"),
    "irrep(a)": (6, "expected a number, found 'a'"),
    "V[0]": (1, "S(4) has no member 0"),
    "V[": (2, "expected a number, found the end"),
    "V - V": (2, "expected '+', '*' or the end, found '-'"),
    "-V": (0, "expected a representation, found '-'"),
    "V + 2x1o": (4, "'2x1o' names irreps of rotations; they are read with irreps=so3.Irreps"),
    "V + Ind(O(3), V)": (4, "O(3) has no standard embedding in S(4)"),
    "Res(O(4), V": (11, "expected ')', found the end"),
    "Res(O(4) V)": (9, "expected ',', found 'V'"),
    "Res(Sp(3), V)": (4, "Sp(3): n must be even"),
    "Res(O(4), V + 1o)": (14, "'1o' names irreps of rotations"),
    "V; import os": (1, "';' is not part of a representation of S(4)"),
    "V.__class__": (1, "'.' is not part of a representation of S(4)"),
}


@pytest.mark.parametrize("text", BAD_REPS)
def test_bad_representations_are_pointed_at(text):
    position, message = BAD_REPS[text]
    with pytest.raises(ValueError) as error:
        parse_rep(text, S(4))
    first, line, caret = str(error.value).split("\n")
    assert first.startswith("cannot read a representation of S(4): ")
    assert message in first
    assert line == f"  {text}"
    assert caret == "  " + " " * position + "^"


@pytest.mark.parametrize(
    "text, position, message",
    [
        ("V[2]", 1, "S(3) * SO(3) has no member 2"),
        ("V[0:3]", 1, "S(3) * SO(3) has no member (0, 3)"),
        ("V[0]*regular", 5, "regular: S(3) * SO(3) is infinite"),
        ("V[0]*irrep(1)[1]", 5, "'irrep' names irreps of rotations"),
    ],
)
def test_members_of_products(text, position, message):
    with pytest.raises(ValueError) as error:
        parse_rep(text, S(3) * SO(3))
    assert message in str(error.value)
    assert str(error.value).endswith("\n  " + " " * position + "^")


# --- printing and parsing are inverse


@st.composite
def printed(draw, depth=2):
    """A group and any representation of it that has a name."""
    group = draw(
        st.sampled_from([S(3), A(4), Cyclic(4), Dihedral(4), O(2), SO(2), GLPlus(2), Lorentz(1, 3), S(3) * SL(2)])
    )
    return group, draw(sum_of(group, depth))


def sum_of(group, depth):
    names = [group.V, group.V.dual, group.det, group.trivial]
    if group.is_finite:
        names.append(group.regular)
    else:
        names += [group.adjoint, group.adjoint.dual]
    if group in (Cyclic(4), Dihedral(4)):
        names += [group.irrep(*label) for label in irrep_labels(group)]
    if group in (SO(2), O(2)):
        names += [group.irrep(*label) for label in [(0,), (3,)] if group == SO(2)]
        names += [group.irrep(*label) for label in [(0, 0), (1, 0), (1, 2)] if group == O(2)]
    if hasattr(group, "factors"):
        names += [group.pull(i, rep) for i, member in enumerate(group.factors) for rep in (member.V, member.det.dual)]
    atom = st.sampled_from(names)
    if depth:
        above = {Dihedral(4): Cyclic(4), O(2): SO(2), S(3) * SL(2): None}.get(group)
        if above is not None:
            atom = atom | sum_of(above, depth - 1).map(lambda rep: rep.induce(group))
        below = {SO(2): O(2), Cyclic(4): Dihedral(4), S(3): O(3), A(4): S(4)}.get(group)
        if below is not None:
            atom = atom | sum_of(below, 0).map(lambda rep: rep.restrict(group))

    def term(parts):
        c, factors = parts
        W = group.trivial
        for factor in factors:
            W = W * factor
        return c * W

    terms = st.lists(st.tuples(st.integers(0, 12), st.lists(atom, max_size=3)).map(term), max_size=3)
    return terms.map(lambda reps: sum(reps, 0 * group.trivial))


@given(printed())
def test_what_is_printed_parses_back(case):
    group, rep = case
    assert parse_rep(str(rep), group) == rep
    assert parse_rep(f"({rep})^2", group) == rep**2
    assert parse_rep(f"({rep})'", group) == rep.dual


@given(st.text(alphabet="VS(3)+*^'[]. 1x0eoI,ndRes", max_size=12))
def test_any_text_parses_or_is_refused_kindly(text):
    try:
        outcome = parse_rep(text, S(3))
    except ValueError as error:
        outcome = str(error)
    assert isinstance(outcome, Rep) or (outcome.startswith("cannot read") and outcome.endswith("^"))


# --- irreps of rotations, handed to a function


class Rotations(Irrep):
    """A stand-in with the text of so3.Irrep; its matrices are not needed here."""

    is_orthogonal = True

    def __init__(self, name: str):
        self.name, self.group = name, O(3) if name[-1] in "eo" else SO(3)

    @property
    def dim(self) -> int:
        return 2 * int(self.name.rstrip("eo")) + 1

    def matrix(self, g, dtype=torch.float64):
        raise NotImplementedError

    def __str__(self) -> str:
        return self.name


def read(text: str) -> Rep:
    count, name = text.split("x") if "x" in text else ("1", text)
    irrep: Factor = Rotations(name.strip())
    return Rep(irrep.group, [(Product((irrep,)), int(count))])


def test_irreps_are_handed_over_item_by_item():
    rep = parse_rep("8x0e+4x1o", O(3), irreps=read)
    assert rep == read("8x0e") + read("4x1o")
    assert parse_rep("8 x 0e + 1o^2 + V", O(3), irreps=read) == read("8x0e") + read("1o") ** 2 + O(3).V
    assert parse_rep(str(rep), O(3), irreps=read) == rep
    assert parse_rep("4x2 + 3", SO(3), irreps=read) == read("4x2") + 3 * SO(3).trivial
    bare = 2 * read("1x1") ** 2
    assert str(bare) == "2*irrep(1)^2"
    assert parse_rep(str(bare), SO(3), irreps=read) == bare
    assert parse_rep("V[0]*1o[1]", S(3) * O(3), irreps=read) == S(3).V * read("1o")


def test_irreps_of_the_package():
    irreps = so3.Irreps("8x0e + 4x1o")
    for text in ("8x0e+4x1o", str(irreps), irreps.key.split(": ")[1]):
        parsed = parse_rep(text, O(3), irreps=so3.Irreps)
        assert parsed == irreps
    assert isinstance(parse_rep("8x0e+4x1o", O(3), irreps=so3.Irreps), so3.Irreps)
    rotations = so3.Irreps("8x0 + 4x1 + 2")
    assert parse_rep(rotations.key.split(": ")[1], SO(3), irreps=so3.Irreps) == rotations
    assert irreps.restrict(SO(3)) == so3.Irreps("8x0 + 4x1")


def test_irreps_that_do_not_fit_are_pointed_at():
    with pytest.raises(ValueError, match=r"'1o' belongs to O\(3\), not to SO\(3\)\n  V \+ 1o\n      \^"):
        parse_rep("V + 1o", SO(3), irreps=read)

    def refuse(text):
        raise ValueError(f"{text} is too large")

    with pytest.raises(ValueError, match=r"9x9e is too large\n  V \+ 9x9e\n      \^"):
        parse_rep("V + 9x9e", O(3), irreps=refuse)
