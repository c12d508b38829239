"""The code that a report shows does what the contract judged."""

import copy

import numpy as np
import pytest

from titrant.runtime.report.page import page
from titrant.runtime.report.record_view import read_record


@pytest.fixture
def released_file(tmp_path, monkeypatch):
    """An ONNX model that answers its input, where a run would put it."""
    import onnx
    from onnx import TensorProto, helper

    spec = helper.make_tensor_value_info
    shape = ["batch", 2]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [spec("x", TensorProto.FLOAT, shape)], [spec("y", TensorProto.FLOAT, shape)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "outputs").mkdir()
    onnx.save(model, tmp_path / "outputs" / "breast-cancer.onnx")
    monkeypatch.chdir(tmp_path)


def ran(record, batch):
    (usage,) = [story.usage for story in page(read_record(record)).stories]
    names = {"batch": batch}
    exec(usage.without, names)
    return names


def test_decides_at_the_operating_point(records, released_file):
    batch = np.log(np.array([[0.7, 0.3], [0.2, 0.8]], dtype=np.float32))
    made = copy.deepcopy(records.released())
    assert ran(made, batch)["positive"].tolist() == [True, False]
    made["values"]["point"]["threshold"] = 0.1
    assert ran(made, batch)["positive"].tolist() == [True, True]


@pytest.mark.parametrize("kind", ["logits", "probabilities", "log_probabilities"])
def test_reads_the_output_as_it_was_judged(records, released_file, kind):
    made = copy.deepcopy(records.released())
    made["values"]["point"]["threshold"] = 0.25
    made["plan"]["steps"][-1]["params"] |= {"output": "y", "kinds": {"x": "values", "y": kind}}
    probabilities = np.array([[0.7, 0.3], [0.2, 0.8]], dtype=np.float32)
    batch = probabilities if kind == "probabilities" else np.log(probabilities)
    assert ran(made, batch)["positive"].tolist() == [True, False]


def test_decides_by_the_largest_score(records, released_file):
    made = copy.deepcopy(records.released())
    made["values"]["point"] = {"kind": "argmax", "threshold": None, "source": ""}
    assert ran(made, np.array([[1, 2], [4, 3]], dtype=np.float32))["decisions"].tolist() == [1, 0]


def test_says_what_the_batch_must_be(records):
    (story,) = page(read_record(records.released())).stories
    assert "# batch is (batch, 30) float32 after standardize as fitted in outputs/." in story.usage.without


def test_is_not_shown_for_what_was_not_released(records):
    (story,) = page(read_record(records.failed())).stories
    assert story.usage is None
