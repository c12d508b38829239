"""What a command loads and defines before it does anything: nothing that it does not use."""

import os
import subprocess
import sys

import pytest

CODE = """
import dataclasses, os, sys
standard, compiled = dataclasses._process_class, []

def counting(kind, init, repr, eq, *rest, **more):
    if kind.__module__.startswith("titrant.") and (init or repr or eq):
        compiled.append(f"{kind.__module__}:{kind.__qualname__}")
    return standard(kind, init, repr, eq, *rest, **more)

dataclasses._process_class = counting
from titrant.cli.main import main
code = main(sys.argv[1:])
print("\\nCOMPILED", *compiled)
print("LOADED", *sys.modules)
if "titrant.runtime.data.parameters" in sys.modules:
    from titrant.runtime.data.parameters import File, SourceParams
    print("READY", *[kind.__name__ for kind in (File, SourceParams) if kind.__pydantic_complete__])
sys.exit(code)
"""
# What nothing that only reads needs.
HEAVY = {
    "torch", "onnx", "onnxruntime", "sklearn", "scipy", "pandas", "matplotlib", "pyarrow", "safetensors", "numpy",
    "jinja2", "rich", "psutil", "pynvml", "logging", "asyncio", "ssl", "http", "multiprocessing", "subprocess",
}  # fmt: skip
# What `--help` prints needs none of these; each took 1 to 20 ms of it.
NOT_FOR_HELP = {"dataclasses", "inspect", "json", "pathlib", "typing", "traceback", "pydantic", "yaml"}


@pytest.mark.parametrize(
    "arguments", [("check", "recipe.yaml"), ("plan", "recipe.yaml"), ("run", "recipe.yaml"), ("status",)]
)
def test_compiles_no_dataclass_ahead_of_its_use_and_imports_nothing_heavy_when_nothing_has_to_run(finished, arguments):
    place, _ = finished
    environment = {**os.environ, "TITRANT_HOME": str(place.home), "CI": "true"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        cwd=place.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said, _, rest = done.stdout.partition("COMPILED")
    compiled, _, rest = rest.partition("LOADED")
    loaded, _, ready = rest.partition("READY")
    assert compiled.split() == []
    assert sorted(HEAVY & {*loaded.split()}) == [], said + done.stderr
    # The recipe asks for no reduction; parameters that are only part of others are not made ready by themselves.
    assert [name for name in loaded.split() if name.startswith("titrant.runtime.operators.prune.")] == []
    assert ready.split() == []
    assert "titrant.schema.language.messages" not in loaded.split()


def test_loads_for_help_what_help_needs():
    code = """
import sys
from titrant.cli.main import main
from titrant.cli.options import VERBS

def ask(*words):
    try: main([*words, "--help"])
    except SystemExit: return

ask()
print("LOADED", *sys.modules)
for verb in VERBS: ask(verb)
print("LOADED", *sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, first, rest = done.stdout.split("LOADED")
    assert "write a starter recipe for a model" in said
    assert sorted(NOT_FOR_HELP & set(first.splitlines()[0].split())) == []
    # Nor do the parsers of all verbs together need what reads recipes, compiles them or looks up packages.
    of_verbs = {"pydantic", "yaml", "email", "titrant.schema.recipe.recipe", "titrant.runtime.catalog"}
    assert sorted(of_verbs & set(rest.split())) == []
