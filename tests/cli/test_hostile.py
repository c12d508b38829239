"""Hostile recipes are refused with bounded work and memory, in real processes, each with one clear error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BASE = """\
titrant: 1
name: demo
task: binary_classification
model: {factory: net:Net}
data: {source: {csv: rows.csv}, label: sick}
train: {epochs: 1}
"""
# Of the processor: two on a quiet machine, and minutes where a guard is missing.
MOST_SECONDS, MOST_BYTES = 20.0, 300 * 2**20


# A process begins with the peak memory of whoever started it, so a small one stands between it and the tests.
MEASURE = """\
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
used = [os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]
json.dump(used, open("used.json", "w"))
"""


def checked(folder: Path, *files: str) -> list[dict]:
    """Run `titrant check --json` within the limits of processor time and memory; return its findings."""
    command = [sys.executable, "-c", MEASURE, sys.executable, "-m", "titrant", "check", "--json", *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True)
    code, seconds, peak_bytes = json.loads((folder / "used.json").read_text())
    assert code == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert seconds <= MOST_SECONDS
    assert peak_bytes <= MOST_BYTES
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "net.py").write_text("class Net: ...\n")
    (folder / "rows.csv").write_text("a,sick\n1,0\n")
    return folder


def test_refuses_files_that_would_fill_the_memory(folder):
    (folder / "large.yaml").write_bytes(b"a" * 50_000_000)
    steps = zip("abcdefgh", "bcdefghi", strict=True)
    (folder / "keys.yaml").write_text("".join(f"k{number}: 1\n" for number in range(1_000_000)))
    (folder / "deep.yaml").write_text("a: " + "[" * 10_000)
    (folder / "deep_keys.yaml").write_text("".join(" " * level + "a:\n" for level in range(1_000)))
    links = [f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in steps]
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(links)
    (folder / "bomb.yaml").write_text(bomb)
    (folder / "sparse.yaml").touch()
    os.truncate(folder / "sparse.yaml", 10**12)
    found = checked(folder, "large.yaml", "keys.yaml", "deep.yaml", "deep_keys.yaml", "bomb.yaml", "sparse.yaml")
    assert {"R003", "R008"} <= {one["code"] for one in found}
    assert [one["message"] for one in found if one["code"] == "R003"] == [
        "large.yaml is larger than 1 MiB",
        "keys.yaml is larger than 1 MiB",
        "more than 50 levels lie inside each other",
        "more than 50 levels lie inside each other",
        "sparse.yaml is larger than 1 MiB",
    ]


def test_refuses_what_hides_or_leads_elsewhere(folder):
    (folder / "hidden.yaml").write_text(BASE.replace("demo", "demo\u202e"))
    (folder / "escape.yaml").write_text(BASE.replace("demo", "de\x1b[31mmo"))
    (folder / "away.yaml").write_text(BASE.replace("demo", "../../x"))
    (folder / "export.yaml").write_text(BASE + "export: [{format: onnx, name: ../../x}]\n")
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "ring.yaml").write_text("titrant: 1\nextends: loop.yaml\n")
    os.mkfifo(folder / "pipe.yaml")
    (folder / "device.yaml").write_text(BASE.replace("rows.csv", "/dev/zero"))
    (folder / "waits.yaml").write_text(BASE.replace("rows.csv", "pipe.yaml"))
    names = ("hidden", "escape", "away", "export", "loop", "ring", "pipe", "device", "waits")
    found = checked(folder, *(f"{name}.yaml" for name in names))
    assert [one["code"] for one in found] == [
        "R004", "R004", "R018", "R018", "R001", "R023", "R001", "R102", "R102",
    ]  # fmt: skip


def test_refuses_code_from_elsewhere_unless_it_is_trusted(folder, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Net: ...\n")
    (folder / "linked.py").symlink_to(tmp_path / "evil.py")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name, module in (("outside", "evil"), ("linked", "linked"), ("main", "__main__"), ("dots", "..evil")):
        (folder / f"{name}.yaml").write_text(BASE.replace("net:Net", f"'{module}:Net'"))
    found = checked(folder, "outside.yaml", "linked.yaml", "main.yaml", "dots.yaml")
    assert [one["code"] for one in found] == ["R105", "R105", "R104", "R018"]
    assert not (tmp_path / "ran").exists()
