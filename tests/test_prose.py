"""No program logic hangs on a sentence: what is written for people is made last, from values, and never read back."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
ROOMS = ("schema", "compiler", "runtime", "src/titrant")
READERS = {
    "count", "endswith", "find", "index", "lstrip", "partition", "removeprefix", "removesuffix", "rfind", "rindex",
    "rpartition", "rsplit", "rstrip", "split", "startswith", "strip",
}  # fmt: skip
# A punctuation mark or a word beside a space: what tells a sentence from a name, a number or a path.
SENTENCE = re.compile(r"[:;,.] |[a-z] [a-z]|^ [a-z]|[a-z] $")
# What these read is not ours: another program's words, or a form that a file has.
FOREIGN = {
    "compiler/bind/check_references.py": "Python's path files",
    "compiler/machine/processor.py": "files of the kernel",
    "runtime/backends/onnxruntime/session.py": "onnxruntime's messages",
    "runtime/machine/peak_memory.py": "files of the kernel",
    "runtime/operators/export/onnx.py": "torch's messages",
    "runtime/worker/messages.py": "files of the kernel",
    "runtime/worker/user_watch.py": "names of Python's own modules",
    "schema/language/yaml_source.py": "the YAML parser's messages",
    "schema/values/distributions.py": "metadata of installed packages",
    "src/titrant/api/hardware.py": "pydantic's messages",
    "src/titrant/api/recipes.py": "the comment at the top of a shipped recipe",
}
# Texts with a grammar of their own, which the recipe language has: the metrics of a training, quantities.
GRAMMAR = {"tuning accuracy", "tuning loss", "0123456789. "}


def reading(source: str) -> list[tuple[int, str]]:
    """Find where a text is searched, cut or compared by a piece of a sentence: line and piece."""
    found = []
    for node in ast.walk(ast.parse(source)):
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


@cache
def read_back() -> dict[str, list[tuple[int, str]]]:
    files = [file for room in ROOMS for file in sorted((HOME / room).rglob("*.py"))]
    found = {file.relative_to(HOME).as_posix(): reading(file.read_text("utf-8")) for file in files}
    return {file: places for file, places in found.items() if places}


def test_nothing_reads_back_a_sentence():
    assert {file: places for file, places in read_back().items() if file not in FOREIGN} == {}


def test_what_is_excused_still_reads():
    assert set(FOREIGN) - set(read_back()) == set()


@pytest.mark.parametrize(
    ("source", "pieces"),
    [
        ('cause, _, remedy = said.partition(": ")', [": "]),
        ('follows = because.endswith(" again")', [" again"]),
        ('if text.startswith(("no device", "x")): pass', ["no device"]),
        ('if "cannot run" in text: pass', ["cannot run"]),
        ('if cause == "its key": pass', ["its key"]),
        ('name, _, port = reference.rpartition(".")', []),
        ('print("cannot run: " + text)', []),
    ],
)
def test_finds_it_where_it_is_put(source, pieces):
    assert [text for _, text in reading(source)] == pieces
