"""What `titrant hardware --bench` measures, each once."""

import json
import os
import subprocess
import sys

from titrant.runtime.machine.bench import (
    PRODUCTS,
    disk_bytes_per_second,
    flops_per_second,
    fp32_products,
    int8_products,
    memory_bytes_per_second,
)


def test_measures_both_kinds_of_product():
    rates = flops_per_second({"fp32": fp32_products(), "int8": int8_products()}, rounds=1)
    assert len(int8_products()) == len(PRODUCTS)
    # A thread of some CPU, however busy: wrong units would be out by a thousand or more.
    assert all(1e7 < rate < 1e13 for rate in rates.values())


def test_measures_memory_and_disk(tmp_path):
    assert 1e7 < memory_bytes_per_second(4 << 30, rounds=1) < 1e13
    written, read = disk_bytes_per_second(tmp_path, rounds=1)
    assert written > 1e4
    assert read is None or read > 1e4
    assert list(tmp_path.iterdir()) == []


def test_leaves_out_what_cannot_be_measured(tmp_path):
    assert memory_bytes_per_second(64 << 20) is None
    assert disk_bytes_per_second(tmp_path / "nowhere") == (None, None)


def test_names_an_engine_that_is_broken_and_one_that_ends_the_process(tmp_path, monkeypatch):
    from titrant.api.doctor_machine import _tried

    (tmp_path / "broken_engine.py").write_text("print('noise'); raise OSError('no libfast.so')")
    (tmp_path / "deadly_engine.py").write_text("import os; print('noise', flush=True); os.abort()")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    found = dict(_tried(["broken_engine", "deadly_engine", "json"]))
    assert found["broken_engine"]["problem"] == "OSError: no libfast.so"
    assert "ends the process" in found["deadly_engine"]["problem"]
    assert found["json"]["problem"] == ""


def test_says_what_it_tries_before_it_tries_it():
    command = [sys.executable, "-P", "-m", "titrant.runtime.machine.engines", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    trying, found = map(json.loads, done.stdout.splitlines())
    assert trying == {"trying": "json"}
    assert found["module"] == "json"
