"""Models and Actions written as text, so that a command line can name any of them."""

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ..groups import O
from ..reps import (
    Action,
    Boxes,
    Images,
    Invariant,
    Nested,
    Permute,
    Points,
    Rows,
    Tensors,
    Vectors,
    parse_group,
    parse_rep,
)
from ..so3 import Irreps

ACTIONS: dict[str, type[Action]] = {
    kind.__name__: kind for kind in (Boxes, Images, Invariant, Nested, Permute, Points, Rows, Tensors, Vectors)
}
OF_REPS = ("channel_rep",)  # arguments of Actions that are representations
IMPORT_PATH = re.compile(r"(?P<module>[\w./\\-]+):(?P<attribute>[A-Za-z_].*)", re.DOTALL)


def parse_action(text: str) -> Action:
    """The Action that a text names.

    "Points(E(3))", "Images(Cyclic(4))": an Action of this package; "V^2 + 3*V of S(5)", "2x1o of O(3)": a Rep;
    {"pos": "Points(E(3))", "z": "Invariant()"} or [...]: one for each key of a dict, or place of a tuple;
    "package.module:attribute": any Action of yours. Raises ValueError that says what cannot be read.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        if IMPORT_PATH.fullmatch(text.strip()):
            return _checked(load_object(text), text)
        rep, of, group = text.rpartition(" of ")
        if not of:
            raise ValueError(
                f"cannot read the Action {text!r}; give such as 'Points(E(3))', 'V of SO(3)' or 'package.module:name'"
            ) from None
        G = parse_group(group)
        return parse_rep(rep, G, irreps=Irreps if isinstance(G, O) and G.n == 3 else None)
    return _checked(_value(node, text), text)


def load_object(text: str) -> Any:
    """What an import path names: "package.module:attribute", "file.py:attribute", "module:factory(10, size=3)".

    Arguments of a call are literals. Modules of the working directory are found. Raises ValueError.
    """
    found = IMPORT_PATH.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no import path such as package.module:attribute or package.module:factory(3)")
    try:
        node = ast.parse(found["attribute"], mode="eval").body
    except SyntaxError:
        raise ValueError(f"cannot read {found['attribute']!r} in {text!r}: give a name, or a call of one") from None
    return _evaluate(node, _module(found["module"]), text)


def _module(name: str) -> ModuleType:
    with _working_directory():
        try:
            if not name.endswith(".py"):
                return importlib.import_module(name)
            path = Path(name)
            if not path.is_file():
                raise ValueError(f"{name} does not exist")
            spec = importlib.util.spec_from_file_location(path.stem, path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
        except (ImportError, TypeError) as error:  # TypeError: a relative name
            raise ValueError(f"cannot import {name!r}: {error}") from error


@contextmanager
def _working_directory() -> Iterator[None]:
    """A console script does not look there, `python -m` does."""
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before


def _evaluate(node: ast.expr, module: ModuleType, text: str) -> Any:
    match node:
        case ast.Name(id=name):
            owner: Any = module
        case ast.Attribute(value=value, attr=name):
            owner = _evaluate(value, module, text)
        case ast.Call(func=func, args=args, keywords=keywords):
            return _evaluate(func, module, text)(
                *(_literal(a, text) for a in args), **{k.arg: _literal(k.value, text) for k in keywords if k.arg}
            )
        case _:
            raise ValueError(f"cannot read {ast.unparse(node)!r} in {text!r}: give a name, or a call of one")
    if not hasattr(owner, name):
        raise ValueError(f"{text!r}: {getattr(owner, '__name__', type(owner).__name__)} has no {name!r}")
    return getattr(owner, name)


def _literal(node: ast.expr, text: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"{text!r}: the argument {ast.unparse(node)} is no number, text, list or dict") from None


def _value(node: ast.expr, text: str) -> Any:
    """An Action, or an argument of one."""
    match node:
        case ast.Dict(keys=keys, values=values):
            return Nested({_literal(k, text): _inner(v, text) for k, v in zip(keys, values)})
        case ast.List(elts=elements):
            return Nested([_inner(e, text) for e in elements])
        case ast.Constant(value=str() as inner):
            return parse_action(inner)
        case ast.Call(func=ast.Name(id="Nested"), args=[inner], keywords=[]):
            return _value(inner, text)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in ACTIONS:
            return ACTIONS[name](
                *(_argument(a, text) for a in args),
                **{k.arg: (_value if k.arg in OF_REPS else _argument)(k.value, text) for k in keywords},
            )
    raise ValueError(
        f"cannot read {ast.unparse(node)!r} in {text!r}; there are the Actions {', '.join(sorted(ACTIONS))}"
    )


def _inner(node: ast.expr, text: str) -> Action:
    return _checked(_value(node, text), text)


def _argument(node: ast.expr, text: str) -> Any:
    """A group, or a literal; sizes and axes are tuples."""
    if isinstance(node, (ast.Call, ast.BinOp)):
        return parse_group(ast.unparse(node))
    return _literal(node, text)


def _checked(thing: Any, text: str) -> Action:
    if isinstance(thing, Action):
        return thing
    raise ValueError(f"{text!r} is a {type(thing).__name__}, not an Action")
