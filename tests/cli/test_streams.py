"""What is printed reaches whoever reads it, in any encoding, or the exit code still says how it went."""

import json
import os
import subprocess
import sys

import pytest

from titrant.api.recipes import recipes
from titrant.cli.main import main

WRONG = "titrant: 1\nnäme→🔬: demo\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path / "home"))
    (tmp_path / "wrong.yaml").write_text(WRONG, "utf-8")
    return tmp_path


def titrant(folder, arguments, redirected="", **environment):
    """Run a command in a shell that redirects its streams; return its exit code, stdout and stderr as bytes."""
    done = subprocess.run(
        ["bash", "-c", f'"$0" -m titrant {arguments} {redirected}', sys.executable],
        cwd=folder,
        env={**os.environ, "CI": "true", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_writes_what_the_encoding_lacks_as_an_escape(folder):
    code, out, err = titrant(folder, "check wrong.yaml", PYTHONIOENCODING="latin-1")
    assert (code, out) == (2, b"wrong.yaml: 3 findings\n")
    assert "n\xe4me\\u2192\\ud83d\\udd2c" in err.decode("latin-1")
    _, out, _ = titrant(folder, "check --json wrong.yaml", PYTHONIOENCODING="ascii")
    assert any("näme→🔬" in one["message"] for one in json.loads(out))


def test_writes_what_the_c_locale_lacks_as_an_escape(folder):
    code, _, err = titrant(folder, "check wrong.yaml", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert code == 2
    assert b"n\\u00e4me\\u2192\\ud83d\\udd2c" in err


@pytest.mark.parametrize("redirected", [">&-", "2>&-", ">&- 2>&-", "2>/dev/full", "| true; exit ${PIPESTATUS[0]}"])
@pytest.mark.parametrize("arguments", ["check wrong.yaml", "plan wrong.yaml --json"])
def test_keeps_its_exit_code_when_nobody_reads(folder, arguments, redirected):
    code, _, err = titrant(folder, arguments, redirected)
    assert code == 2
    assert b"Traceback" not in err


def test_says_that_its_answer_could_not_be_written(folder):
    code, _, err = titrant(folder, "show schema", "> /dev/full")
    assert code == 2
    assert err.startswith(b"error[P017]: the answer cannot be written: no space left on device")
    code, _, err = titrant(folder, "plan wrong.yaml --json", "> /dev/full")
    assert code == 2
    assert b"error[R012]" in err
    assert b"error[P017]" in err


def test_says_so_too_of_an_answer_in_json(folder, capsys, monkeypatch):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["show", "operators", "--json"]) == 2
    assert capsys.readouterr().err.startswith("error[P017]: the answer cannot be written: no space left on device")


def test_shows_no_control_character_of_a_file_name(folder, capsys):
    name = "a\x1b[31m\nb.yaml"
    (folder / name).write_text(WRONG, "utf-8")
    assert main(["check", name]) == 2
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert "--> a·[31m·b.yaml:2:1" in printed.err


@pytest.mark.parametrize("file", ["wrong.yaml", "wrong.yaml/x.yaml", "/proc/x.yaml", "/proc/x/y.yaml", "link.yaml"])
def test_copies_a_recipe_only_to_where_nothing_stands(folder, file, capsys):
    (folder / "link.yaml").symlink_to("nowhere.yaml")
    assert main(["recipes", "cp", "digits_cnn", file]) == 2
    assert capsys.readouterr().err.startswith("error[")
    assert (folder / "wrong.yaml").read_text("utf-8") == WRONG
    assert not (folder / "nowhere.yaml").exists()


def test_explains_a_code_in_any_letters_within_the_width(folder, capsys):
    assert main(["explain", "r012"]) == 0
    explained = capsys.readouterr().out
    assert explained.startswith("R012: ")
    assert max(map(len, explained.splitlines())) <= 100


def test_lists_recipes_with_a_whole_sentence_each():
    assert all(sentence.endswith(".") and len(sentence) < 100 for sentence in recipes().values())


def test_says_which_file_of_a_run_is_damaged_when_it_explains_a_step(folder, capsys):
    run = folder / "home" / "runs" / "20260101T000000Z-demo-00000000"
    run.mkdir(parents=True)
    (run / "plan.json").write_text("{}")
    assert main(["explain", "latest", "fit"]) == 2
    assert "plan.json" in capsys.readouterr().err
    step = {"id": "fit", "operator": "train.fit", "because": "", "params": {}, "inputs": {}}
    (run / "plan.json").write_text(json.dumps({"steps": [step]}))
    (run / "journal.jsonl").write_text('{"event": "started", "step": "fit", "time": "now"}\n{"event": oops}\n')
    assert main(["explain", "latest", "fit"]) == 0
    assert "now started" in capsys.readouterr().out
    (run / "environment.json").write_text("[]")
    assert main(["status"]) == 0
    assert "environment.json" in capsys.readouterr().err


def test_says_that_the_current_folder_is_gone(folder, capsys, monkeypatch):
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    assert main(["plan", str(folder / "wrong.yaml")]) == 2
    message = "error[P018]: the folder that this was started in is gone\n  help: cd to one that exists\n"
    assert capsys.readouterr().err == message
