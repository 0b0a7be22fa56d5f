"""Groups and representations from text, for command lines and configuration files.

What `str` prints parses back, unless a representation was restricted or induced along an embedding of one's own, or a
group of permutations has a name so long that it prints a hash.

    sum     := product ('+' product)*
    product := power ('*' power)*
    power   := atom suffix* (('^' | '**') INT)?
    suffix  := "'" | '.dual' | '[' INT ']' | '[' INT ':' INT ']'   dual; of a member, or several, of a product
    atom    := INT | NAME | NAME '(' INT (',' INT)* ')' | IRREPS | '(' sum ')'
             | 'Ind' '(' group ',' sum ')' | 'Res' '(' group ',' sum ')'
    group   := member ('*' member)*
    member  := NAME '(' (argument (',' argument)*)? ')' | '(' group ')'
    argument:= INT | 'TEXT' | "TEXT" | member                 a group, in Power(O(3), 2) and Wreath(O(3), 2)

INT alone counts trivial representations. NAME is what the group knows: V, regular, adjoint, det, irrep(...). IRREPS is
`8x0e`, `1o` or `4x1`, handed to a function.
"""

import re
from collections.abc import Callable
from inspect import Signature, signature
from typing import NamedTuple, NoReturn

from ..groups import (
    GL,
    SE,
    SL,
    SO,
    SU,
    A,
    Affine,
    Automorphism,
    Cyclic,
    Dihedral,
    DirectProduct,
    E,
    GLPlus,
    Group,
    Lorentz,
    O,
    PermutationGroup,
    Power,
    S,
    Sp,
    Trivial,
    U,
    Wreath,
)
from ..groups.product import parts
from .external import pull
from .rep import Rep

MATRICES = (Affine, E, GL, GLPlus, Lorentz, O, SE, SL, SO, SU, Sp, U)
GROUPS = (A, Automorphism, Cyclic, Dihedral, *MATRICES, PermutationGroup, S, Trivial)
OF_GROUPS = (Power, Wreath)

TOKENS = r"""
    (?P<space>\s+)
  | (?P<irreps>\d+\s*x\s*\d+[eo]?\b | \d+[eo]\b)
  | (?P<int>\d+\b)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<text>'[^']*' | "[^"]*")
  | (?P<symbol>\*\*|\.dual\b|[-+*^()\[\]:,])
"""

Make = Callable[[Group], Rep]  # a piece of text means something once its group is known


def parse_group(text: str) -> Group:
    """The group that a text names: `S(5)`, `S(3) * SO(3)`, `Lorentz(1, 3, 'proper')`.

    Raises ValueError pointing at the character that does not fit.
    """
    return _read(_Parser(text, "a group", None), lambda parser: parser.group())


def parse_rep(text: str, group: Group, *, irreps: Callable[[str], Rep] | None = None) -> Rep:
    """The representation of `group` that a text names: `V^2 + 3*V + 2`, `regular`, `V*V'`, `V[0]*irrep(1)[1]`.

    `^` and `**` are tensor powers, `'` and `.dual` the dual, a number alone counts trivial representations, `V[i]` is
    that of member i of a product. irreps reads items such as `8x0e` or `1o`: pass `so3.Irreps` for O(3) and SO(3).
    Raises ValueError pointing at the character that does not fit.
    """
    return _read(_Parser(text, f"a representation of {group}", irreps), lambda parser: parser.sum(), group)


class _Fault(Exception):
    """An error that already points at its character."""


def _read(parser: "_Parser", rule: Callable, *group: Group):
    try:
        parser.tokenize()
        read = rule(parser)
        parser.end()
        return read(*group) if group else read
    except _Fault as fault:
        raise ValueError(str(fault)) from None


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


class _Parser:
    def __init__(self, text: str, what: str, irreps: Callable[[str], Rep] | None):
        self.text, self.what, self.irreps = text, what, irreps
        self.tokens: list[_Token] = []
        self.place = 0

    # --- tokens

    def tokenize(self) -> None:
        pattern, tokens, position = re.compile(TOKENS, re.VERBOSE), self.tokens, 0
        while position < len(self.text):
            # after a name or a closing bracket a quote is a dual; elsewhere it opens a text
            last = tokens[-1] if tokens else _Token("start", "", 0)
            dual = last.kind in ("name", "irreps", "int") or last.text in (")", "]", "'", ".dual")
            if dual and self.text[position] == "'":
                kind, piece = "symbol", "'"
            else:
                found = pattern.match(self.text, position)
                if found is None:
                    self.fail(position, f"{self.text[position]!r} is not part of {self.what}")
                kind, piece = found.lastgroup, found.group()
            if kind != "space":
                tokens.append(_Token(kind, piece, position))
            position += len(piece)
        tokens.append(_Token("end", "", len(self.text)))

    @property
    def next(self) -> _Token:
        return self.tokens[self.place]

    def take(self) -> _Token:
        token = self.next
        self.place += token.kind != "end"
        return token

    def accept(self, *symbols: str) -> _Token | None:
        return self.take() if self.next.kind == "symbol" and self.next.text in symbols else None

    def expect(self, symbol: str) -> _Token:
        return self.accept(symbol) or self.unexpected(f"{symbol!r}")

    def expect_int(self) -> int:
        return int(self.take().text) if self.next.kind == "int" else self.unexpected("a number")

    def end(self) -> None:
        if self.next.kind != "end":
            self.unexpected("'+', '*' or the end")

    def unexpected(self, wanted: str) -> NoReturn:
        found = repr(self.next.text) if self.next.text else "the end"
        self.fail(self.next.position, f"expected {wanted}, found {found}")

    def fail(self, position: int, message: str) -> NoReturn:
        line = self.text.replace("\n", " ").replace("\t", " ")
        raise _Fault(f"cannot read {self.what}: {message}\n  {line}\n  {' ' * position}^")

    def attempt(self, position: int, build: Callable, *arguments):
        """Build something; what it refuses is an error at this character."""
        try:
            return build(*arguments)
        except (ValueError, TypeError) as refusal:
            self.fail(position, str(refusal))

    # --- groups

    def group(self) -> Group:
        group = self.member()
        while self.accept("*"):
            group = group * self.member()
        return group

    def member(self) -> Group:
        if self.accept("("):
            group = self.group()
            self.expect(")")
            return group
        name = self.take() if self.next.kind == "name" else self.unexpected("the name of a group")
        known = {kind.__name__: kind for kind in (*GROUPS, *OF_GROUPS)}
        if name.text not in known:
            self.fail(name.position, f"there is no group {name.text!r}; known: {', '.join(sorted(known))}")
        self.expect("(")
        arguments = []
        while not self.accept(")"):
            if arguments and not self.accept(","):
                self.unexpected("',' or ')'")
            if known[name.text] in OF_GROUPS and not arguments:
                arguments.append(self.group())
                continue
            if self.next.kind not in ("int", "text"):
                self.unexpected("a number" if arguments else "a number or ')'")
            token = self.take()
            arguments.append(int(token.text) if token.kind == "int" else token.text[1:-1])
        wanted = signature(known[name.text]).replace(return_annotation=Signature.empty)
        try:
            wanted.bind(*arguments)
        except TypeError:
            self.fail(name.position, f"{name.text} takes {wanted}, got {tuple(arguments)}")
        return self.attempt(name.position, known[name.text], *arguments)

    # --- representations

    def sum(self) -> Make:
        make = self.product()
        while plus := self.accept("+"):
            make = self.binary(plus, make, self.product(), Rep.__add__)
        return make

    def product(self) -> Make:
        make = self.power()
        while times := self.accept("*"):
            make = self.binary(times, make, self.power(), Rep.__mul__)
        return make

    def binary(self, sign: _Token, left: Make, right: Make, operation: Callable[[Rep, Rep], Rep]) -> Make:
        return lambda group: self.attempt(sign.position, operation, left(group), right(group))

    def power(self) -> Make:
        make = self.atom()
        while suffix := self.accept("'", ".dual", "["):
            make = self.member_of(suffix, make) if suffix.text == "[" else self.dual(make)
        if self.accept("^", "**"):
            base, exponent = make, self.expect_int()
            return lambda group: base(group) ** exponent
        return make

    def dual(self, make: Make) -> Make:
        return lambda group: make(group).dual

    def member_of(self, bracket: _Token, make: Make) -> Make:
        first = self.expect_int()
        stop = self.expect_int() if self.accept(":") else first + 1
        self.expect("]")

        def build(group: Group) -> Rep:
            members = parts(group)[first:stop]
            if not isinstance(group, DirectProduct) or not members or len(members) != stop - first:
                self.fail(bracket.position, f"{group} has no member {first if stop == first + 1 else (first, stop)}")
            own = members[0] if len(members) == 1 else DirectProduct(members)
            return pull(group, first, make(own))

        return build

    def atom(self) -> Make:
        token = self.take()
        if token.text == "(":
            make = self.sum()
            self.expect(")")
            return make
        if token.kind == "int":
            return lambda group: int(token.text) * group.trivial
        if token.kind == "irreps":
            return lambda group: self.read_irreps(token, group, token.text)
        if token.kind == "name":
            return self.along(token) if token.text in ("Ind", "Res") else self.named(token)
        self.place -= token.kind != "end"
        self.unexpected("a representation")

    def along(self, token: _Token) -> Make:
        self.expect("(")
        other = self.group()
        self.expect(",")
        make = self.sum()
        self.expect(")")
        operation = Rep.induce if token.text == "Ind" else Rep.restrict
        return lambda group: self.attempt(token.position, operation, make(other), group)

    def named(self, token: _Token) -> Make:
        label = []
        if self.accept("("):
            label.append(self.expect_int())
            while self.accept(","):
                label.append(self.expect_int())
            self.expect(")")

        def build(group: Group) -> Rep:
            if token.text == "irrep" and len(label) == 1 and group in (O(3), SO(3)):
                return self.read_irreps(token, group, f"1x{label[0]}")
            if label and token.text != "irrep":
                self.fail(token.position, f"{token.text} takes no label")
            return self.attempt(token.position, group.named, token.text, *label)

        return build

    def read_irreps(self, token: _Token, group: Group, text: str) -> Rep:
        if self.irreps is None:
            self.fail(token.position, f"{token.text!r} names irreps of rotations; they are read with irreps=so3.Irreps")
        rep = self.attempt(token.position, self.irreps, text)
        if rep.group != group:
            self.fail(token.position, f"{token.text!r} belongs to {rep.group}, not to {group}")
        return rep
