"""What tests look at in the source of every file of titrant, by one parse of each: the trees are a million nodes."""

import ast
import pickle
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from filelock import FileLock

ROOT = Path(__file__).parent.parent
ROOMS = ("schema", "compiler", "runtime", "recipes", "src/titrant")
# These say that something is there, and not what it is.
EMPTY = {"found", "one", "told", "known", "wanted", "lacking"}
READERS = {
    "count", "endswith", "find", "index", "lstrip", "partition", "removeprefix", "removesuffix", "rfind", "rindex",
    "rpartition", "rsplit", "rstrip", "split", "startswith", "strip",
}  # fmt: skip
# A punctuation mark or a word beside a space: what tells a sentence from a name, a number or a path.
SENTENCE = re.compile(r"[:;,.] |[a-z] [a-z]|^ [a-z]|[a-z] $")
# Texts with a grammar of their own, which the recipe language has: the metrics of a training, quantities.
GRAMMAR = {"tuning accuracy", "tuning loss", "0123456789. "}
# Nodes with none inside, but for what says whether a name is loaded or stored: half of all.
LEAVES = {ast.Name, ast.Constant, ast.alias}


@cache
def files() -> tuple[Path, ...]:
    """List the files of titrant, each at its own place."""
    every = (file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py")))
    return tuple(file for file in every if not any(parent.is_symlink() for parent in file.parents))


# Where the workers of a test session keep what the first of them saw; none where there is one process.
SHARED: list[Path] = []


@cache
def sources() -> dict[str, SimpleNamespace]:
    """Look at every file, as `looked_at_all` does, once in a test session: that takes two seconds."""
    if not SHARED:
        return looked_at_all()
    with FileLock(f"{SHARED[0]}.lock"):
        if not SHARED[0].exists():
            SHARED[0].write_bytes(pickle.dumps(looked_at_all()))
    seen: dict[str, SimpleNamespace] = pickle.loads(SHARED[0].read_bytes())
    return seen


def looked_at_all() -> dict[str, SimpleNamespace]:
    """Map every file to what is looked at in it; no tree stays in the memory, for garbage collections to go through.

    `types` and `empty`, the locals that say nothing, each with their lines; `sentences` that are read back; `imports`
    at any depth and for type checkers too, with their lines, and all `texts`.
    """
    return {str(file.relative_to(ROOT)): looked_at(file) for file in files()}


def looked_at(file):
    tree = ast.parse(file.read_text("utf-8"))
    nodes = walk(tree)
    empty = [(name.strip("_"), line) for name, line in names(nodes) if name.strip("_") in EMPTY]
    imported, said = imports_and_texts(file, nodes)
    return SimpleNamespace(
        types=[*types(tree)], empty=empty, sentences=reading(nodes), imports=tuple(imported), texts=frozenset(said)
    )


def walk(tree):
    """List the nodes of a tree in the order of `ast.walk`, which takes twice as long; none without a field."""
    nodes, level = [], [tree]
    while level:
        nodes += level
        fields = [value for node in level if type(node) not in LEAVES for value in vars(node).values()]
        inside = [each for value in fields for each in (value if type(value) is list else (value,))]
        level = [each for each in inside if isinstance(each, ast.AST) and each._fields]
    return nodes


def imports_and_texts(file, nodes):
    """Return every module that a file imports, with its line; and its texts."""
    imports, said = [], set()
    for node in nodes:
        if isinstance(node, ast.Import):
            imports += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            imports += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            said.add(node.value)
    return imports, said


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


def names(nodes):
    """Yield what is bound: locals, parameters, attributes of self, functions and classes, with the line."""
    for node in nodes:
        if isinstance(node, (ast.Name, ast.Attribute)):
            if isinstance(node.ctx, ast.Store):
                yield node.id if isinstance(node, ast.Name) else node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name.lower(), node.lineno


def reading(nodes) -> list[tuple[int, str]]:
    """Find where a text is searched, cut or compared by a piece of a sentence: line and piece."""
    found = []
    for node in nodes:
        pieces: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READERS:
            pieces = node.args
        elif isinstance(node, ast.Compare) and any(
            isinstance(sign, (ast.Eq, ast.NotEq, ast.In, ast.NotIn)) for sign in node.ops
        ):
            pieces = [node.left, *node.comparators]
        for piece in pieces:
            for text in texts(piece):
                if SENTENCE.search(text) and text not in GRAMMAR:
                    found.append((node.lineno, text))
    return found


def texts(piece: ast.expr) -> list[str]:
    items = piece.elts if isinstance(piece, (ast.Tuple, ast.List, ast.Set)) else [piece]
    return [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
