"""Verbs that only look leave an empty folder empty, and go on where an old run is damaged."""

import json

import pytest

from titrant.cli.main import main


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv("TITRANT_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status"], 0),
        (["show", "runs"], 0),
        (["explain", "latest", "load"], 2),
        (["report", "latest"], 2),
        (["diff", "latest", "latest"], 2),
        (["store", "verify"], 0),
    ],
)
def test_looking_makes_nothing(nowhere, arguments, code):
    assert main(arguments) == code
    assert list(nowhere.iterdir()) == []


def test_says_that_the_home_is_not_a_folder(nowhere, monkeypatch, capsys):
    (nowhere / "file").write_text("")
    monkeypatch.setenv("TITRANT_HOME", str(nowhere / "file"))
    assert main(["show", "runs"]) == 2
    assert "is not a folder" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"recipe_file": 5}', "[" * 100_000])
def test_status_names_a_damaged_run_in_one_line_and_goes_on(nowhere, capsys, text):
    (nowhere / "other.yaml").write_text("titrant: 2\n")
    whole = json.dumps({"recipe_file": str(nowhere / "other.yaml")})
    for name, content in (("20261121T100000Z-a-11111111", text), ("20261121T100001Z-b-11111111", whole)):
        run = nowhere / ".titrant" / "runs" / name
        run.mkdir(parents=True)
        (run / "environment.json").write_text(content)
    assert main(["status"]) == 2  # of the other run's recipe
    line, *rest = capsys.readouterr().err.splitlines()
    assert "other.yaml" in "".join(rest)
    assert line.startswith("left out: environment.json of the run 20261121T100000Z-a-11111111 is missing or damaged: ")


def test_status_names_a_recipe_that_is_wrong_and_goes_on(nowhere, capsys):
    names = ("first.yaml", "second.yaml")
    for name in names:
        (nowhere / name).write_text("titrant: 2\n")
    assert main(["status", *names]) == 2
    err = capsys.readouterr().err
    assert [err.count(f"{name} cannot be planned:") for name in names] == [1, 1]
    assert main(["status", *names, "--json"]) == 2
    answers = json.loads(capsys.readouterr().out)["recipes"]
    assert [answer["recipe"] for answer in answers] == list(names)
    assert all(answer["errors"] for answer in answers)
    assert main(["status", names[0], "--json"]) == 2
    assert isinstance(json.loads(capsys.readouterr().out), list)  # as every verb says it of the one recipe
