"""`titrant inspect` shows what a released file says of itself, whatever its format."""

import json
import zipfile

import pytest

from titrant.cli.main import main
from titrant.runtime.backends import backend
from titrant.runtime.backends.stamp import write

FACTS = {
    "titrant": "1", "recipe": "hearts", "recipe_digest": "d1", "plan": "p1", "candidate": "c", "method": "none",
    "engine": "torch", "format": "exported", "verdict": "PASS", "passed": ["retention"], "open": [],
    "machine": "x86_64", "processor": "a cpu", "instructions": ["avx2"], "threads": 1, "batch": 64,
}  # fmt: skip
GRAPH = '<?xml version="1.0"?><net name="n"><rt_info><a value="1" /></rt_info></net>'


@pytest.mark.parametrize("kind", ["torchscript", "exported", "aoti", "ir"])
def test_shows_the_release_of_what_it_cannot_look_into(kind, tmp_path, capsys):
    stamp = backend.kinds()[kind].stamp
    file = tmp_path / stamp.file
    if kind == "ir":
        file.write_text(GRAPH, "utf-8")
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("model/data", "0")
    write(stamp, file, FACTS)
    assert main(["inspect", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "hearts, digest d1" in shown
    assert "PASS: retention passed" in shown
    subject = str(tmp_path if kind == "ir" else file)
    assert main(["inspect", subject, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["release"]["plan"] == "p1"


def test_says_that_it_takes_no_such_file_where_that_says_nothing(tmp_path, capsys):
    (tmp_path / "model.xml").write_text(GRAPH, "utf-8")
    assert main(["inspect", str(tmp_path / "model.xml")]) == 2
    assert "P080" in capsys.readouterr().err
