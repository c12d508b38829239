"""The examples of the docs, made and run as their page says."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import titrant

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.parent for path in (ROOT / "docs" / "examples").glob("*/make.py"))


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_releases_an_example_with_every_gate_proven(example, tmp_path):
    folder = shutil.copytree(example, tmp_path / example.name)
    source = os.pathsep.join([str(Path(titrant.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TITRANT_HOME": str(tmp_path / "home"), "CI": "true", "PYTHONPATH": source}
    for command in (["make.py"], ["-m", "titrant", "run", "-q", "recipe.yaml"]):
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    (record,) = (tmp_path / "home" / "runs").glob("*/record.json")
    assert json.loads(record.read_text("utf-8"))["verdict"] == "PASS"


def test_lists_every_example():
    page = (ROOT / "docs" / "how-to" / "examples.md").read_text("utf-8")
    assert EXAMPLES
    assert [example.name for example in EXAMPLES if f"../examples/{example.name}/recipe.yaml" not in page] == []
