"""Only its own folder knows an engine: nobody else compares with the name of an engine or kind, or keys a table by one.

Operators declare what they take, and recipes have names; these may say them.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

from titrant.runtime.backends import backend

HOME = Path(__file__).parents[1]
ROOMS = ("schema", "compiler", "runtime", "src/titrant")
# Where an engine's or a kind's name is due.
DUE = ("runtime/backends/", "runtime/operators/", "schema/recipe/")
NAMES = {*backend.names(), *backend.kinds(), *backend.formats(), "openvino", "tensorrt", "mlx"}
# The same words, where they mean something else.
ELSE = {
    "runtime/inspect/starter.py": "`onnx` is the key of `model` that `init` asks about",
    "runtime/seed.py": "libraries that draw random numbers",
    "runtime/instruments/memory/leak.py": "the library whose tensors are counted, in whatever engine",
    "runtime/machine/devices.py": "the library that is waited for, where it was imported",
    "schema/language/rules.py": "keys of the language that another one forbids",
    "src/titrant/api/doctor_machine.py": "libraries that no engine of titrant's rests on yet",
    "src/titrant/api/draft.py": "`onnx` is the key of `model` that is asked about",
    "src/titrant/api/inspect.py": "`onnx` is the key of `model` that is written",
    "runtime/inspect/inspect.py": "`onnx` is the parameter of the operator that loads such a file",
    "compiler/bind/availability.py": "what values of later versions need, where no engine of titrant's rests on it yet",
    "compiler/bind/check_files.py": "`onnx` is the key of `model` whose file is looked for",
    "compiler/facts/load_steps.py": "`onnx` is the parameter of the operator that loads such a file",
}


def naming(source: str) -> list[tuple[int, str]]:
    """Find the names of engines and kinds that are compared with, looked up, or keys of a table: line and name."""
    places = []
    for node in ast.walk(ast.parse(source)):
        pieces: list[ast.expr | None] = []
        if isinstance(node, ast.Compare):
            pieces = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            pieces = [*node.keys]
        elif isinstance(node, ast.Subscript):
            pieces = [node.slice]
        elif isinstance(node, ast.MatchValue):
            pieces = [node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "index"):
            pieces = [*node.args]
        for piece in pieces:
            places += [(node.lineno, name) for name in texts(piece) if name in NAMES]
    return sorted(set(places))


def texts(piece: ast.expr | None) -> list[str]:
    items = piece.elts if isinstance(piece, ast.Tuple | ast.List | ast.Set) else [piece]
    return [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]


@cache
def named() -> dict[str, list[tuple[int, str]]]:
    files = {file.relative_to(HOME).as_posix(): file for room in ROOMS for file in sorted((HOME / room).rglob("*.py"))}
    texts = {
        place: file.read_text("utf-8")
        for place, file in files.items()
        if not place.startswith(DUE) and not any(parent.is_symlink() for parent in file.parents)
    }
    # Only a file that has such a word as a text compares with it: the others need not be parsed.
    words = [f'"{name}"' for name in NAMES]
    places = {place: naming(text) for place, text in texts.items() if any(word in text for word in words)}
    return {place: names for place, names in places.items() if names}


def test_nobody_else_knows_an_engine_or_a_kind_by_its_name():
    assert {place: names for place, names in named().items() if place not in ELSE} == {}


def test_what_is_excused_still_says_the_word():
    assert {*ELSE} - {*named()} == set()


@pytest.mark.parametrize(
    "line",
    [
        'if engine == "onnxruntime": pass',
        'if kind in ("torch", "onnx"): pass',
        'costs = {"torchscript": 1}',
        'cost = costs["torch"]',
        'cost = costs.get("onnx")',
        'match kind:\n    case "onnx": pass',
    ],
)
def test_sees_every_way_to_know_one(line):
    assert naming(line)
