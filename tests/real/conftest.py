"""Run a recipe on the real data in a process of its own and read what it left."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Done:
    """A run: exit code, everything printed, the record, the run's folder and the JSON report."""

    code: int
    printed: str
    record: dict[str, Any]
    folder: Path

    def candidate(self, name: str) -> dict[str, Any]:
        return next(one for one in self.record["candidates"] if one["candidate"] == name)

    def gate(self, candidate: str, name: str) -> dict[str, Any]:
        results = self.candidate(candidate)["judgement"]["results"]
        return next(result for result in results if result["gate"] == name)


@pytest.fixture
def data() -> str:
    folder = os.environ.get("TITRANT_DATA")
    if not folder:
        pytest.skip("TITRANT_DATA does not name the folder of the real data")
    return folder


@pytest.fixture
def execute(warm, tmp_path):
    def call(recipe: str) -> Done:
        for module in (*(HERE / "modules").glob("*.py"), HERE.parent / "models" / "resnet20.py"):
            shutil.copy(module, tmp_path / module.name)
        (tmp_path / "recipe.yaml").write_text(recipe)
        home = tmp_path / "home"
        done = warm("-m", "titrant", "run", "recipe.yaml", cwd=tmp_path, env={"TITRANT_HOME": str(home)})
        printed = done.stdout + done.stderr
        assert "Traceback" not in printed, printed
        records = sorted(home.glob("runs/*/record.json"))
        assert records, printed
        return Done(done.returncode, printed, json.loads(records[-1].read_text()), records[-1].parent)

    return call
