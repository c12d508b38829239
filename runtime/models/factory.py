"""Build a model from `module:Name`, and digest the source that defines it."""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from titrant.runtime.data.user_code import call, is_user_file, resolve
from titrant.schema.canonical import canonical_json
from titrant.schema.diagnostics import Diagnostic, StepError

if TYPE_CHECKING:
    import torch


def build(factory: str, args: Mapping[str, Any]) -> "torch.nn.Module":
    """Call the factory with its arguments and return the module.

    Raises StepError X150 (not found), X108 (the factory raised: its own message) or X151 (it gave no module).
    """
    import torch

    made = call(f"{factory}({_written(args)})", resolve(factory), **args)
    if not isinstance(made, torch.nn.Module):
        raise StepError(
            Diagnostic(
                "X151",
                f"{factory} gave {type(made).__name__}, which is no torch.nn.Module",
                help="name a Module class, or a function that returns a module",
            )
        )
    return made


def source_digest(factory: str) -> str:
    """Digest the source of the factory's module and of every user module that it imports, directly or not.

    BLAKE3 (hexadecimal) over module names and contents: moving the files changes nothing. Modules of the installed
    environment are left out (their versions are in the step key), but for the factory's own.
    """
    from blake3 import blake3

    resolve(factory)
    files = source_files(factory.partition(":")[0])
    contents = {name: blake3(path.read_bytes()).hexdigest() for name, path in files.items()}
    return blake3(canonical_json(contents).encode()).hexdigest()


def source_files(module: str) -> dict[str, Path]:
    """List the files that a loaded module is defined by: module name → file, its own and its user imports'."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(sys.modules.get(name))
        if name in found or path is None or not (name == module or is_user_file(str(path))):
            continue
        found[name] = path
        if is_user_file(str(path)):
            waiting += _imports(name, path)
    return dict(sorted(found.items()))


def _file(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if file and file.endswith(".py") else None


def _imports(name: str, path: Path) -> Iterator[str]:
    """List the modules that a file's import statements can refer to, wherever they stand in it."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in _with_parents(alias.name))
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                start = ".".join([*above, *([node.module] if node.module else [])])
            yield from _with_parents(start)
            yield from (f"{start}.{alias.name}" for alias in node.names)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _written(args: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in args.items())
