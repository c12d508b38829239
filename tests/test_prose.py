"""No program logic hangs on a sentence: what is written for people is made last, from values, and never read back."""

import ast

import pytest

from .sources import reading, sources

# What these read is not ours: another program's words, or a form that a file has.
FOREIGN = {
    "compiler/bind/check_references.py": "Python's path files",
    "compiler/machine/processor.py": "files of the kernel",
    "runtime/backends/onnxruntime/session.py": "onnxruntime's messages",
    "runtime/operators/export/onnx.py": "torch's messages",
    "runtime/worker/messages.py": "files of the kernel",
    "runtime/worker/user_watch.py": "names of Python's own modules",
    "schema/language/yaml_source.py": "the YAML parser's messages",
    "schema/values/distributions.py": "metadata of installed packages",
    "src/titrant/api/hardware.py": "pydantic's messages",
    "src/titrant/api/recipes.py": "the comment at the top of a shipped recipe",
}


def read_back():
    return {file: source.sentences for file, source in sources().items() if source.sentences}


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
    assert [text for _, text in reading(ast.walk(ast.parse(source)))] == pieces
