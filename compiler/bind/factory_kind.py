"""Tell from its source what an installed factory builds before anything of it runs: a model, a data set, or neither.

A package's callable can run whatever the recipe gives it. It is taken by kind, never by a list of bad names: a class
that is a `torch.nn.Module`, a function annotated to return one, or one annotated to return a table or arrays by name.
"""

import ast
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal

from titrant.schema.values.frozen import dataclass

Role = Literal["model", "data"]
# Builds what its name says, and says so in its documentation rather than in an annotation.
KNOWN_BUILDERS = ("timm:create_model", "timm.models:create_model", "open_clip:create_model")
# Titrant's own models; its other functions are not for recipes, and some call what they are given.
OWN = "titrant.recipes."
_BASE = "torch.nn"  # what is called Module below it
_TABLES = ("DataFrame", "dict", "Dict", "Mapping")
_DEEPEST = 24
# Where a module lies that another one imports; None where that is not in the installed environment.
Locate = Callable[[str], Path | None]


@dataclass(frozen=True)
class Definition:
    """What a name stands for: the class or function, in which module, and that module's file."""

    module: str
    file: Path
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def in_standard_library(module: str, file: Path | None) -> bool:
    """Tell whether a module is Python's own, whatever name leads to it."""
    if module.split(".", maxsplit=1)[0] in sys.stdlib_module_names:
        return True
    if file is None:
        return False
    place = file.resolve()
    packages = any(part in ("site-packages", "dist-packages") for part in place.parts)
    folders = {sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib")}
    return not packages and any(place.is_relative_to(Path(folder).resolve()) for folder in folders)


def builds(role: Role, module: str, name: str, locate: Locate) -> bool:
    """Tell whether the source of an installed `module:name` says that it builds a model, or returns a data set."""
    if role == "model" and f"{module}:{name}" in KNOWN_BUILDERS:
        return True
    definition = _find(module, name, locate, _DEEPEST)
    if definition is None:
        return False
    if isinstance(definition.node, ast.ClassDef):
        return role == "model" and _is_module(definition, locate, _DEEPEST)
    returns = definition.node.returns
    return returns is not None and _all_are(role, returns, definition, locate)


def _all_are(role: Role, annotation: ast.expr, where: Definition, locate: Locate) -> bool:
    """Tell whether every alternative of an annotation is of a kind."""
    match annotation:
        case ast.Constant(value=str(text)):
            try:
                return _all_are(role, ast.parse(text, mode="eval").body, where, locate)
            except SyntaxError:
                return False
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _all_are(role, left, where, locate) and _all_are(role, right, where, locate)
        case ast.Subscript(value=value, slice=inner) if _last(value) == "Union":
            alternatives = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return all(_all_are(role, item, where, locate) for item in alternatives)
        case ast.Subscript(value=value):
            return role == "data" and _last(value) in _TABLES
    if role == "data":
        return _last(annotation) in _TABLES
    return _names_module(annotation, where.module, where.file, locate, _DEEPEST)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_module(definition: Definition, locate: Locate, depth: int) -> bool:
    if _is_base(definition.module, definition.node.name):
        return True
    if not isinstance(definition.node, ast.ClassDef):
        return False
    return any(
        _names_module(base, definition.module, definition.file, locate, depth - 1) for base in definition.node.bases
    )


def _is_base(module: str, name: str) -> bool:
    return name == "Module" and f"{module}.".startswith(f"{_BASE}.")


def _names_module(node: ast.expr, module: str, file: Path, locate: Locate, depth: int) -> bool:
    """Tell whether a name, as it stands in a module, is a class that is a `torch.nn.Module`."""
    if isinstance(node, ast.Subscript):
        node = node.value
    dotted = _dotted(node)
    if not dotted or depth <= 0:
        return False
    owner = module
    for part in dotted[:-1]:
        source = next((item for item in _imports(file, owner) if item.name == part), None)
        target = source.module_of_it if source is not None else f"{owner}.{part}"
        if (place := locate(target)) is None:
            return False
        owner, file = target, place
    if _is_base(owner, dotted[-1]):
        return True
    definition = _find(owner, dotted[-1], locate, depth - 1)
    return definition is not None and _is_module(definition, locate, depth - 1)


def _dotted(node: ast.expr) -> tuple[str, ...]:
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute) and (owner := _dotted(node.value)):
        return (*owner, node.attr)
    return ()


def _find(module: str, name: str, locate: Locate, depth: int) -> Definition | None:
    """Follow a name through imports, also of everything, to the class or function that it stands for."""
    file = locate(module)
    if file is None or file.suffix != ".py" or depth <= 0:
        return None
    for node in reversed(_statements(file)):  # what is declared for type checkers stands before what is run
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            return Definition(module, file, node)
    for item in _imports(file, module):
        if item.name == name and item.original:
            return _find(item.module, item.original, locate, depth - 1)
        if (
            item.name == "*"
            and (place := locate(item.module)) is not None
            and _may_have(place, name)
            and (definition := _find(item.module, name, locate, depth - 1)) is not None
        ):
            return definition
    return None


@cache
def _text(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _may_have(file: Path, name: str) -> bool:
    """Tell whether a file can give a name at all: parsing is what takes time."""
    return name.encode() in _text(file) or b"import *" in _text(file)


@cache
def _statements(file: Path) -> tuple[ast.stmt, ...]:
    """List a file's statements at its top level, also those inside of an `if` or a `try`."""
    try:
        return tuple(_flat(ast.parse(_text(file)).body))
    except (SyntaxError, ValueError, RecursionError):
        return ()


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            handlers = [line for handler in getattr(node, "handlers", []) for line in handler.body]
            yield from _flat([*node.body, *handlers, *node.orelse])


@dataclass(frozen=True)
class _Import:
    """A name that a module imports: from which module, and what it is called there ("" for the module itself)."""

    name: str
    module: str
    original: str

    @property
    def module_of_it(self) -> str:
        """The module that the name stands for, if it is one."""
        return f"{self.module}.{self.original}" if self.original else self.module


@cache
def _imports(file: Path, module: str) -> tuple[_Import, ...]:
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    items: list[_Import] = []
    for node in _statements(file):
        if isinstance(node, ast.Import):
            for alias in node.names:
                named = alias.name if alias.asname else alias.name.split(".")[0]
                items.append(_Import(alias.asname or named, named, ""))
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            items += [
                _Import(alias.asname or alias.name, base, "" if alias.name == "*" else alias.name)
                for alias in node.names
            ]
    return tuple(items)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, node.module] if node.module else parts)
