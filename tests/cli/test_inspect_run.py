"""`titrant inspect RUN`: what was planned for each layer of a run's candidates, and what their engines ran."""

import json

import pytest

from titrant.cli.main import main


def run_folder(home, layers):
    folder = home / "runs" / "20260101T000000Z-net-1234abcd"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text("{}", "utf-8")
    candidate = {"candidate": "ort.static", "layers": layers}
    record = {"released": ["ort.static"], "candidates": [candidate, {"candidate": "gone"}]}
    (folder / "record.json").write_text(json.dumps(record), "utf-8")
    return folder


LAYERS = [
    {"name": "stem", "planned": "int8", "executed": "int8", "engine_op": "QLinearConv"},
    {"name": "head", "planned": "fp32", "executed": "int8", "engine_op": "QGemm"},
    {"name": "lost", "planned": "int8", "executed": "unknown", "engine_op": ""},
]


@pytest.mark.parametrize("name", ["latest", "20260101", "20260101T000000Z-net-1234abcd"])
def test_shows_of_a_run_what_was_planned_and_what_its_engines_ran(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path))
    run_folder(tmp_path, LAYERS)
    assert main(["inspect", name]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "20260101T000000Z-net-1234abcd",
        "",
        "ort.static · released · 1 layer unlike planned",
        "  layer  planned  executed  operator",
        "  stem   int8     int8      QLinearConv",
        "  head   fp32     ✕ int8    QGemm",
        "  lost   int8     unknown   –",
        "",
        "gone",
        "  nothing was read back of it",
    ]
    assert main(["inspect", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"]["ort.static"] == LAYERS


def test_lists_in_one_line_what_was_not_tried(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path))
    file = run_folder(tmp_path, LAYERS) / "record.json"
    record = json.loads(file.read_text("utf-8"))
    record["candidates"] += [{"candidate": f"ort.static.mix{place}", "status": "not tried"} for place in (1, 2)]
    file.write_text(json.dumps(record), "utf-8")
    assert main(["inspect", "latest"]) == 0
    assert capsys.readouterr().out.endswith("\n\nnot tried: ort.static.mix1, ort.static.mix2\n")
    assert main(["inspect", "latest", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["not_tried"] == ["ort.static.mix1", "ort.static.mix2"]
    assert [*shown["layers"]] == ["ort.static", "gone"]


def test_refuses_what_has_nothing_to_act_on_in_a_run_and_a_record_that_is_damaged(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path))
    folder = run_folder(tmp_path, LAYERS)
    assert main(["inspect", "latest", "--level", "balanced"]) == 2
    assert "P014" in capsys.readouterr().err
    (folder / "record.json").write_text('{"candidates": [{"layers": [{"name": 1}]}]}', "utf-8")
    assert main(["inspect", "latest"]) == 2
    (folder / "record.json").unlink()
    assert main(["inspect", str(folder)]) == 2
    assert "did not come to its end" in capsys.readouterr().err


DAMAGES = {
    "regions": [
        {"name": "net.0", "layers": ["net.0"], "kl": 2e-3},
        {"name": "net.2..net.4", "layers": ["net.2", "net.4"], "kl": 0.0, "inseparable": True},
        {"name": "out", "layers": ["out"], "kl": 3e-5},
    ],
    "whole": 2.4e-3,
    "rows": 256,
    "check": {
        "rows": 900,
        "regions": {"net.0": 1.8e-3, "net.2..net.4": 0.0, "out": 4e-5},
        "whole": 2.1e-3,
        "spearman": 1.0,
        "ratio": 0.93,
    },
}


def reported(damages):
    return {"format": 1, "record": {"values": {"sensitivity": {"ort-static": damages}}}}


def test_shows_what_each_region_of_a_searched_mixture_does_to_the_answers(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path))
    folder = run_folder(tmp_path, LAYERS)
    (folder / "report.json").write_text(json.dumps(reported(DAMAGES)), "utf-8")
    assert main(["inspect", "latest"]) == 0
    table = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    assert table == [
        "ort-static · sensitivity of 3 regions on 256 rows · rank correlation with all rows 1.00",
        "  region        layers  damage  on 900 rows",
        "  net.0         1       0.002   0.0018",
        "  out           1       3e-05   4e-05",
        "  net.2..net.4  2       0       0",
        "  all at once   4       0.0024  0.0021",
        "  net.2..net.4: its blocks cannot be parted",
    ]
    assert main(["inspect", "latest", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sensitivity"]["ort-static"]["whole"] == 0.0024
    (folder / "report.json").write_text(json.dumps(reported({"regions": 1})), "utf-8")
    assert main(["inspect", "latest"]) == 4
    assert "X500" in capsys.readouterr().err
