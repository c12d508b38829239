"""`titrant show operators`: what there is, and on which devices it has been run."""

import json
from dataclasses import replace

import pytest

from titrant.cli.main import main
from titrant.runtime import catalog


@pytest.fixture
def never_run(monkeypatch):
    """Let one operator be written and never have been run."""
    name = "quantize.ort_static"
    monkeypatch.setitem(catalog._catalog, name, replace(catalog.get(name), verified=()))
    return name


def test_says_on_which_devices_each_operator_has_been_run(never_run, capsys):
    assert main(["show", "operators"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert "verified on" in head
    by_name = {words[0]: words[1] for line in lines if len(words := line.split()) > 2 and "." in words[0]}
    assert by_name[never_run] == "-"
    assert by_name["quantize.ort_dynamic"] == "CPU"


def test_says_the_same_as_json(never_run, capsys):
    assert main(["show", "operators", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(catalog.names())
    assert (rows[never_run]["verified"], rows["model.load"]["verified"]) == ([], ["cpu"])


def test_shows_json_only_of_what_is_a_list(capsys):
    assert main(["show", "recipes", "--json"]) == 2
    assert main(["show", "operators", "model.load", "--json"]) == 2
    assert "show operators" in capsys.readouterr().out
