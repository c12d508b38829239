"""Names: one word, one thing; a file is a noun or a verb; a local says what it holds."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("schema", "compiler", "runtime", "recipes", "src/titrant")
# These say that something is there, and not what it is.
EMPTY = {"found", "one", "told", "known", "wanted", "lacking"}
# What is written out: a column of `doctor --json`.
WRITTEN = {"src/titrant/api/doctor_machine.py": {"found"}, "src/titrant/cli/doctor.py": {"found"}}
LEFTOVERS = {"utils", "helpers", "base", "common", "manager", "misc"}


def statements(body):
    """Yield the statements of a module, those below its conditions too."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from statements([*node.body, *node.orelse])


def is_constructor(value):
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "constructor"


def types(tree):
    """Yield every public class and alias of a type that a module defines, with its line."""
    for node in statements(tree.body):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node.lineno
        # A constructor of a type has the type's name.
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and not is_constructor(node.value):
            name = node.targets[0].id
            if name[0].isupper() and not name.isupper():
                yield name, node.lineno


def names(tree):
    """Yield what is bound: locals, parameters, attributes of self, functions and classes, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name.lower(), node.lineno


@cache
def defined() -> dict[str, tuple[list, list]]:
    """Map every file of titrant to its types and to what else says nothing in it; no tree stays in the memory."""
    places = {}
    for file in (file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))):
        if not any(parent.is_symlink() for parent in file.parents):
            tree = ast.parse(file.read_text("utf-8"))
            empty = [(name.strip("_"), line) for name, line in names(tree) if name.strip("_") in EMPTY]
            places[str(file.relative_to(ROOT))] = [*types(tree)], empty
    return places


def test_calls_no_two_types_the_same():
    places = defaultdict(list)
    for file, (classes, _) in defined().items():
        for name, line in classes:
            places[name].append(f"{file}:{line}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_says_of_everything_what_it_holds():
    wrong = [
        f"{file}:{line}: {name}"
        for file, (_, empty) in defined().items()
        for name, line in empty
        if name not in WRITTEN.get(file, set())
    ]
    assert wrong == []


def test_names_every_file_by_what_it_holds():
    wrong = [
        file
        for file in defined()
        if Path(file).stem in LEFTOVERS or ("_text" in Path(file).stem and not file.startswith("src/titrant/cli/"))
    ]
    assert wrong == []
