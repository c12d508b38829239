"""What a command defines before it does anything: dataclasses of ours compile no methods ahead of their use."""

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
sys.exit(code)
"""


@pytest.mark.parametrize("arguments", [("check",), ("plan",), ("run",), ("status",)])
def test_compiles_no_dataclass_ahead_of_its_use(finished, arguments):
    place, _ = finished
    environment = {**os.environ, "TITRANT_HOME": str(place.home), "CI": "true"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments, "recipe.yaml"],
        cwd=place.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("COMPILED")[-1].split() == []
