"""The rules of the house that a machine can check: one-way imports, nothing done at import, names explained."""

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path
from types import FunctionType

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "intertwine"
TREES = {path: ast.parse(path.read_text(), str(path)) for path in sorted(SRC.rglob("*.py"))}

# docs/contributing.md explains the order. A package imports only what stands to the left of it.
ORDER = (
    *("extras", "files", "groups", "reps", "maps", "so3", "clifford", "manifolds", "nn"),
    *("symmetrize", "audit", "discover", "data", "models", "generate", "train", "interop", "demo", "cli"),
)
# Everything that `import intertwine` and the core packages must do without.
OPTIONAL = (
    *("ase", "vesin", "torch_geometric", "safetensors", "lightning", "jsonargparse", "tensorboard", "pyscf", "captum"),
    *("matplotlib", "tblite", "e3nn", "cuequivariance", "cuequivariance_torch", "pytest", "hypothesis", "beartype"),
)


def name_of(path: Path) -> str:
    """src/intertwine/maps/__init__.py -> intertwine.maps"""
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str | None:
    """intertwine.maps.solver -> maps; None for the package itself and for other libraries."""
    parts = module.split(".")
    return parts[1] if parts[0] == "intertwine" and len(parts) > 1 else None


def imports(path: Path) -> list[tuple[int, str]]:
    """Every module that a file imports, at its top or inside a function, as (line, absolute name)."""
    package = name_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found = []
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            bare = module == "intertwine"  # `from intertwine import maps` imports intertwine.maps
            found += [(node.lineno, f"{module}.{alias.name}" if bare else module) for alias in node.names]
    return found


def at(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def listed(wrong: list[str]) -> str:
    return "\n  ".join(["", *wrong])


def test_every_package_has_its_place_in_the_order():
    there = {entry.stem for entry in SRC.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()}
    assert there - {"__init__", "__main__"} <= set(ORDER)


def test_imports_point_one_way():
    wrong = []
    for path in TREES:
        here = part_of(name_of(path))
        if here not in ORDER:
            continue  # the package itself and `python -m intertwine` stand to the right of everything
        wrong += [
            f"{at(path, line)}: {here} imports {module}"
            for line, module in imports(path)
            if (there := part_of(module)) in ORDER and ORDER.index(there) > ORDER.index(here)
        ]
    assert not wrong, f"imports go {' -> '.join(ORDER)}:{listed(wrong)}"


def test_other_libraries_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = str([project["dependencies"], project["optional-dependencies"]]).lower()
    wrong = [
        f"{at(path, line)}: {module}"
        for path in TREES
        for line, module in imports(path)
        if (name := module.split(".")[0]) != "intertwine"
        and name not in sys.stdlib_module_names
        and name.replace("_", "-") not in asked
    ]
    assert not wrong, f"in no extra of pyproject.toml:{listed(wrong)}"


# Calls that make a constant and touch nothing else, besides those that make a value of a class: Keys(), Path(), ...
HARMLESS = {"frozenset", "tuple", "dict", "items", "range", "enumerate", "zip", "split", "compile", "sqrt", "ord"}


def calls(node: ast.AST) -> set[str]:
    """Names of what an expression calls when it is evaluated; a lambda's body is not."""
    if isinstance(node, ast.Lambda):
        return set()
    own = {getattr(node.func, "attr", getattr(node.func, "id", "?"))} if isinstance(node, ast.Call) else set()
    return own.union(*(calls(child) for child in ast.iter_child_nodes(node)))


def acts(statement: ast.stmt) -> str | None:
    """What a statement at the top of a file does that it should not, or None."""
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.ClassDef() | ast.Expr(value=ast.Constant()):
            return None
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return None
        case ast.With(items=[ast.withitem(context_expr=ast.Call(func=ast.Attribute(attr="catch_warnings")))]):
            return None  # another library's import that warns
        case ast.Assign() | ast.AnnAssign():
            called = calls(statement.value) - HARMLESS if statement.value else set()
            done = {name for name in called if not name[0].isupper()}
            return f"calls {', '.join(sorted(done))}" if done else None
    return f"is a {type(statement).__name__}"


def test_nothing_happens_at_import():
    wrong = [
        f"{at(path, statement.lineno)} {does}"
        for path, tree in TREES.items()
        for statement in tree.body
        if (does := acts(statement))
    ]
    assert not wrong, listed(wrong)


def test_the_check_above_can_fail():
    for line in ("torch.set_default_dtype(torch.float64)", "TABLE = build()", "for x in (): pass"):
        assert acts(ast.parse(line).body[0])
    for line in ("import torch", "N = 3", "f = lambda: build()", "PATTERN = re.compile('a')"):
        assert acts(ast.parse(line).body[0]) is None


def test_files_say_why_they_exist_and_stay_small():
    wrong = [f"{path.relative_to(ROOT)}: no docstring" for path, tree in TREES.items() if not ast.get_docstring(tree)]
    lines = {path: path.read_text().count("\n") for path in TREES}
    wrong += [f"{path.relative_to(ROOT)}: {count} lines" for path, count in lines.items() if count > 400]
    assert not wrong, listed(wrong)


def test_no_asserts_and_no_prints():
    """An assert vanishes under -O; only the command line talks."""
    wrong = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assert):
                wrong.append(f"{at(path, node.lineno)}: assert")
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                wrong += [f"{at(path, node.lineno)}: print"] * (part_of(name_of(path)) not in ("demo", "cli"))
    assert not wrong, listed(wrong)


def test_public_names_are_explained():
    """What an `__init__.py` re-exports has its own docstring, and so do its methods (an inherited one counts)."""
    silent = []
    for path, tree in TREES.items():
        if path.name != "__init__.py":
            continue
        module = importlib.import_module(name_of(path))
        for node in tree.body:
            for alias in node.names if isinstance(node, ast.ImportFrom) else []:
                thing = getattr(module, alias.name)
                name = f"{module.__name__}.{alias.name}"
                # A dataclass without a docstring is given its own signature for one.
                own = (thing.__doc__ or "").removeprefix(f"{alias.name}(")
                if callable(thing) and (not own or own != thing.__doc__):
                    silent.append(name)
                if inspect.isclass(thing):
                    silent += [f"{name}.{method}" for method in silent_methods(thing)]
    assert not silent, listed(silent)


def silent_methods(cls: type) -> list[str]:
    kinds = (FunctionType, property, staticmethod, classmethod)
    public = [name for name, member in vars(cls).items() if name[0] != "_" and isinstance(member, kinds)]
    return [name for name in public if not inspect.getdoc(getattr(cls, name))]


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_import_pulls_no_optional_package_and_leaves_torch_alone():
    core = [name for name in (*ORDER[2:9], "symmetrize", "audit") if (SRC / name / "__init__.py").exists()]
    code = f"""
import sys, torch
def state():
    precision = torch.backends.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision()
    return torch.get_default_dtype(), torch.initial_seed(), torch.get_num_threads(), *precision
before = state()
import intertwine, {", ".join(f"intertwine.{name}" for name in core)}
print([name for name in {OPTIONAL} if name in sys.modules], state() == before)
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[] True"


def test_a_missing_extra_says_how_to_install_it():
    done = python("from intertwine.extras import require\nrequire('no_such_module', 'atoms')")
    assert "pip install 'intertwine[atoms]'" in done.stderr
