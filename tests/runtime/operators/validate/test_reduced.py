"""validate.reduced: what a user's own check may answer, and what becomes of it."""

import sys

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject

from titrant.schema.diagnostics.diagnostics import StepError

CHECKS = """
import numpy, torch
def agrees(module, rows): return True
def number(module, rows): return 0.25
def tensor(module, rows): return torch.tensor(0.5)
def array(module, rows): return numpy.float32(0.5)
def refuses(module, rows): return False
def numpy_refuses(module, rows): return numpy.bool_(False)
def reason(module, rows): return "three lesions are lost"
def nothing(module, rows): return None
def several(module, rows): return [1, 2]
def lost(module, rows): return float("nan")
def breaks(module, rows): raise ValueError(rows.labels)
def changes(module, rows):
    for value in module.parameters(): value.data.zero_()
    return bool(module(torch.from_numpy(rows.inputs["x"])).abs().sum() == 0) and len(rows.labels) == 40
"""


@pytest.fixture
def check(tmp_path, monkeypatch, torch_model, rows, apply):
    (tmp_path / "own_checks.py").write_text(CHECKS, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_checks", raising=False)
    model = torch_model("Stack", 5, widths=[5, 4, 2])

    def run(name):
        inputs = {"model": model, "tuning": rows(5, labels=np.arange(40) % 2)}
        done = apply("validate.reduced", inputs, {"check": f"own_checks:{name}"})
        assert done.outputs["model"].module is model.module
        return done.measurements["check"], model

    return run


@pytest.mark.parametrize(("name", "number"), [("agrees", 1), ("number", 0.25), ("tensor", 0.5), ("array", 0.5)])
def test_goes_on_where_it_agrees_and_keeps_its_number(check, name, number):
    assert check(name)[0] == number


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("refuses", "X553: own_checks:refuses refuses the reduced model: it answers False"),
        ("numpy_refuses", "X553: own_checks:numpy_refuses refuses the reduced model: it answers False"),
        ("reason", "X553: own_checks:reason refuses the reduced model: three lesions are lost"),
        ("lost", "X553: own_checks:lost refuses the reduced model: it answers nan"),
        ("nothing", "X554: own_checks:nothing answers with a NoneType"),
        ("several", "X554: own_checks:several answers with a list"),
        ("breaks", "X108: reduction.pruning.validate: own_checks:breaks raised ValueError"),
        ("missing", "X150: own_checks:missing: own_checks has no missing"),
    ],
)
def test_stops_where_it_does_not(check, name, said):
    with pytest.raises(StepError, match=said):
        check(name)


def test_gives_it_a_copy_and_the_rows(check):
    number, model = check("changes")
    assert number == 1
    assert any(bool(value.any()) for value in model.module.parameters())
    assert torch.is_grad_enabled()
