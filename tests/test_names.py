"""Names: one word, one thing; a file is a noun or a verb; a local says what it holds."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("schema", "compiler", "runtime", "recipes", "src/titrant")
# What a local may not be called: these say that something is there, and not what it is.
EMPTY = {"found", "one", "told", "known", "wanted", "lacking"}
LEFTOVERS = {"utils", "helpers", "base", "common", "manager", "misc"}


@cache
def trees() -> dict[str, ast.Module]:
    """Parse every file of titrant."""
    return {
        str(file.relative_to(ROOT)): ast.parse(file.read_text("utf-8"))
        for room in ROOMS
        for file in sorted((ROOT / room).rglob("*.py"))
        if not any(parent.is_symlink() for parent in file.parents)
    }


def bound(tree: ast.AST):
    """Yield every local name and parameter that is bound below a node, with its line; fields of classes are none."""
    fields = {
        id(entry.target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for entry in node.body
        if isinstance(entry, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno


def test_calls_no_two_public_classes_the_same():
    places = defaultdict(list)
    for file, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{file}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_says_of_every_local_what_it_holds():
    wrong = [f"{file}:{line}: {name}" for file, tree in trees().items() for name, line in bound(tree) if name in EMPTY]
    assert wrong == []


def test_names_every_file_by_what_it_holds():
    wrong = []
    for file in trees():
        stem = Path(file).stem
        words = "_text" in stem and not file.startswith("src/titrant/cli/")
        if stem in LEFTOVERS or words:
            wrong.append(file)
    assert wrong == []
