"""The examples of the docs, made and run as their page says."""

import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.parent for path in (ROOT / "docs" / "examples").glob("*/make.py"))


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_releases_an_example_with_every_gate_proven(example, warm, tmp_path):
    folder = shutil.copytree(example, tmp_path / example.name)
    for command in (["make.py"], ["-m", "titrant", "run", "-q", "recipe.yaml"]):
        done = warm(*command, cwd=folder, env={"TITRANT_HOME": str(tmp_path / "home")})
        assert done.returncode == 0, done.stdout + done.stderr
    (record,) = (tmp_path / "home" / "runs").glob("*/record.json")
    assert json.loads(record.read_text("utf-8"))["verdict"] == "PASS"


def test_lists_every_example():
    page = (ROOT / "docs" / "how-to" / "examples.md").read_text("utf-8")
    assert EXAMPLES
    assert [example.name for example in EXAMPLES if f"../examples/{example.name}/recipe.yaml" not in page] == []
