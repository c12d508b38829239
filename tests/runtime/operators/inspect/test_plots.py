"""`inspect.plots` calls the user's functions with what a model answers; one that fails stops nothing."""

from types import SimpleNamespace

import numpy as np
import torch  # noqa: TID253 - the model

from titrant.runtime.operators.inspect.plots import PlotsParams, inspect_plots
from titrant.runtime.values import Rows, TorchModel

MODULE = '''
def counts(cases):
    """How many there are.

    More of it.
    """
    assert cases.module is not None and not next(iter(cases.outputs.values())).flags.writeable
    return {"cases": len(cases), "ones": (cases.labels == 1).sum(), "inputs": len(cases.inputs["x"])}


def raises(cases):
    raise KeyError("patient 17")
'''


def test_keeps_what_functions_return_and_goes_on_where_one_fails(tmp_path, monkeypatch):
    (tmp_path / "own_figures.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    rows = Rows(
        "tuning", {"x": np.ones((9, 3), np.float32)}, np.arange(9) % 2, np.arange(9), np.arange(9).astype(np.uint64),
        classes=("a", "b"),
    )  # fmt: skip
    said, unused = [], []
    context = SimpleNamespace(
        note=said.append, do_not_reuse=unused.append, progress=lambda *_: None, measure=lambda *_: None
    )
    model = TorchModel(torch.nn.Linear(3, 2), "net:Net", {}, "", (("x", ("batch", 3), "float32"),), ("logits",))
    functions = ("own_figures:counts", "own_figures:raises", "own_figures:none")
    params = PlotsParams(functions=functions, rows=5)
    plots = inspect_plots(params, context, model=model, rows=rows)["seen"]["plots"]
    assert plots[0]["numbers"] == {"cases": 5.0, "ones": 2.0, "inputs": 5.0}
    assert plots[0]["title"] == "How many there are"
    assert [bool(plot["failed"]) for plot in plots] == [False, True, True]
    assert "KeyError" in plots[1]["failed"]
    assert "patient" not in str(plots) + str(said)
    assert said[0].startswith("own_figures:raises drew nothing of original: KeyError")
    assert len(said) == len(unused) == 2
