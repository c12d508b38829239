"""The hooks and workflows that the docs show: they are whole, and they keep secrets away from foreign code."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from titrant.cli.main import main

ROOT = Path(__file__).parent.parent
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
PAGE = (ROOT / "docs" / "how-to" / "ci.md").read_text("utf-8")
CONFIG, RECIPES, COMMENT = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S))


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_hooks_accept_the_shipped_recipes_and_refuse_a_wrong_one(hook, tmp_path):
    shipped = [
        str(file) for file in sorted((ROOT / "recipes").glob("*.yaml")) if not re.search(hook["exclude"], file.name)
    ]
    command = shlex.split(hook["entry"])
    assert command[0] == "titrant"
    assert main([*command[1:], *shipped]) == 0
    (tmp_path / "wrong.yaml").write_text("titrant: 0\n")
    assert main([*command[1:], str(tmp_path / "wrong.yaml")]) != 0


def test_the_page_names_the_hooks_that_there_are():
    assert {hook["id"] for hook in CONFIG["repos"][0]["hooks"]} == {hook["id"] for hook in HOOKS}


def test_foreign_code_gets_neither_rights_nor_secrets():
    on = RECIPES[True]  # `on` is a truth value to YAML 1.1
    assert set(on) == {"pull_request"}
    assert RECIPES["permissions"] == RECIPES["jobs"]["plan"]["permissions"] == {}
    assert "secrets." not in PAGE
    for job in RECIPES["jobs"].values():
        assert job.get("permissions", {}) == {}
        checkout = next(step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout"))
        assert checkout["with"]["persist-credentials"] is False


def test_the_job_with_rights_runs_nothing_of_the_pull_request():
    (job,) = COMMENT["jobs"].values()
    assert set(COMMENT[True]) == {"workflow_run"}
    assert not any("checkout" in step.get("uses", "") for step in job["steps"])
    # What the event says reaches the shell as a variable, never as text of the script.
    assert all("${{" not in step.get("run", "") for step in job["steps"])
