"""What environment.json holds, and what it must not."""

import json
import subprocess

from titrant.runtime.run.record import describe, flags
from titrant.schema.planned import Planned


def test_records_machine_flags_packages_and_the_recipe_as_written(make_plan, tmp_path, monkeypatch):
    monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", "AVX2")
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz")
    monkeypatch.setenv("UNRELATED", "kept to oneself")
    written = {"text": "extends: base.yaml\n", "base": {"file": "base.yaml", "text": "token: abc123\n"},
               "overrides": ["model.args.password=abc123"]}  # fmt: skip
    planned = Planned(make_plan(), None, "name: x\n", "x.yaml", str(tmp_path), written)
    found = describe(planned, {"PYTHONHASHSEED": "7", "TITRANT_HOME": "/somewhere"})
    assert found["variables"] == {"PYTHONHASHSEED": "7"}
    assert found["flags"]["variables"]["MKL_ENABLE_INSTRUCTIONS"] == "AVX2"
    assert found["machine"]["instructions"] == ["avx2"]
    assert found["recipe"]["base"]["file"] == "base.yaml"
    assert found["packages"]["numpy"]
    text = json.dumps(found)
    for secret in ("hf_abc", "abc123", "kept to oneself"):
        assert secret not in text


def test_leaves_out_flags_that_the_run_sets_anew(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "OMP_NUM_THREADS" not in flags({"OMP_NUM_THREADS": "1"})["variables"]
    assert flags({})["variables"]["OMP_NUM_THREADS"] == "7"


def test_names_the_commit_of_the_recipes_folder_and_whether_it_has_changes(make_plan, tmp_path):
    def git(*arguments):
        given = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *given, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "x.yaml").write_text("name: x\n")
    git("add", "x.yaml")
    git("commit", "-m", "one")
    planned = Planned(make_plan(), None, "name: x\n", "x.yaml", str(tmp_path))
    clean = describe(planned, {})
    assert len(clean["git_commit"]) == 40
    assert clean["git_dirty"] == "false"
    (tmp_path / "x.yaml").write_text("name: y\n")
    assert describe(planned, {})["git_dirty"] == "true"
    assert clean["recipe"] == {"text": "name: x\n"}
