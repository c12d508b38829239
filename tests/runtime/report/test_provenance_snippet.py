"""The code that a report shows does what the contract judged."""

import copy

import numpy as np
import pytest

from titrant.runtime.report.page import page
from titrant.runtime.report.provenance import rerun_lines
from titrant.runtime.report.record_view import read_record


@pytest.fixture
def release(tmp_path, monkeypatch):
    """Put an ONNX model where a run would, of some nodes, inputs, outputs and a shape."""

    def place(nodes, ends, shape):
        import onnx
        from onnx import TensorProto, helper

        sides = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in side] for side in ends]
        graph = helper.make_graph([helper.make_node(*node) for node in nodes], "g", *sides)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        (tmp_path / "outputs").mkdir(exist_ok=True)
        onnx.save(model, tmp_path / "outputs" / "breast-cancer.onnx")
        monkeypatch.chdir(tmp_path)

    return place


@pytest.fixture
def released_file(release):
    """An ONNX model that answers its input, where a run would put it."""
    release([("Identity", ["x"], ["y"])], ("x", "y"), ["batch", 2])


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


@pytest.mark.parametrize(("kind", "numbers"), [("logits", [[-1.1], [0.4]]), ("probabilities", [[0.25], [0.6]])])
@pytest.mark.parametrize("shape", [["batch"], ["batch", 1]])
def test_decides_by_one_number(records, release, kind, numbers, shape):
    release([("Identity", ["x"], ["y"])], ("x", "y"), shape)
    made = copy.deepcopy(records.released())
    made["plan"]["steps"][-1]["params"] |= {"kinds": {"y": kind}}
    batch = np.array(numbers, dtype=np.float32).reshape([-1, *shape[1:]])
    point = {"kind": "threshold", "threshold": 0.3, "source": ""}
    for scored, is_positive in ((0, [False, True]), (1, [True, True])):  # the positive class is the first
        made["values"]["point"] = {**point, "scored": scored}
        assert ran(made, batch)["positive"].tolist() == is_positive
    made["values"]["point"] = {"kind": "argmax", "threshold": None, "source": "", "scored": 1}
    assert ran(made, batch)["decisions"].tolist() == [0, 1]


def test_takes_the_judged_output_of_several_and_every_input(records, release):
    release([("Add", ["a", "b"], ["y"]), ("Sub", ["a", "b"], ["x"])], ("ab", "xy"), ["batch", 2])
    made = copy.deepcopy(records.released())
    made["values"]["point"] = {"kind": "argmax", "threshold": None, "source": ""}
    made["plan"]["steps"][-1]["params"] |= {"output": "y"}
    (rows,) = [step for step in made["plan"]["steps"] if step["operator"] == "data.transform"]
    rows["params"]["model_inputs"] = [{"name": name, "shape": ["batch", 2], "dtype": "float32"} for name in "ab"]
    arrays = {"a": np.array([[0, 1]], np.float32), "b": np.array([[5, 0]], np.float32)}
    assert ran(made, arrays)["decisions"].tolist() == [0]  # of x it would be 1
    (story,) = page(read_record(made)).stories
    assert "# batch is a dict of each input's array: a (batch, 2) float32, b (batch, 2) float32" in story.usage.without


def test_says_what_the_batch_must_be(records):
    (story,) = page(read_record(records.released())).stories
    assert "# batch is (batch, 30) float32 after standardize as fitted in outputs/." in story.usage.without


def test_is_not_shown_for_what_was_not_released(records):
    (story,) = page(read_record(records.failed())).stories
    assert story.usage is None


def test_names_a_lock_only_where_a_run_of_the_recipe_writes_one(records):
    """A judgement of a file from elsewhere writes none, and a recipe that was built in Python is no file."""
    record = records.released()
    assert "--locked" in page(read_record(record)).rerun
    assert "--locked" not in page(read_record({**record, "recipe_file": "recipe in Python"})).rerun
    record["plan"]["candidates"][0]["method"] = "given"
    assert "--locked" not in rerun_lines(read_record(record))
