"""A model of a thousand outputs on rows of ten classes, heads of one and two numbers, and files of scikit-learn."""

import numpy as np
import onnx  # noqa: TID253 - the tests build tiny graphs
import pytest
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.runtime.api import apply
from titrant.runtime.backends.session import open_session, predict_rows
from titrant.runtime.contract.answers import class_probabilities
from titrant.runtime.contract.reading import Reading
from titrant.runtime.inspect.inspect import inspect
from titrant.runtime.values import OnnxModel

WIDTH, ROWS = 16, 400
ROLES = {"tuning": {"source": 0.5}, "evaluation": {"source": 0.5}}


def quiet(fraction, total, note):
    """Hear of progress."""


def linear(path, outputs, column=None, name="logits"):
    """Write x @ w, cut to one output where `column` is given; returns the file and its answers."""
    drawn = np.random.default_rng(1)
    weights, x = drawn.normal(size=(WIDTH, outputs)).astype("f4"), drawn.normal(size=(ROWS, WIDTH)).astype("f4")
    kept = weights if column is None else weights[:, 1:2] - weights[:, :1]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], [name])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", kept.shape[1]])],
        [numpy_helper.from_array(kept, "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path, x, (x @ weights).argmax(axis=1)


def facts(tmp_path, file, x, y, task="multiclass_classification", **more):
    np.savez(tmp_path / "d.npz", x=x, y=y)
    steps = {
        "data.load": {"sources": {"source": {"npz": {"path": str(tmp_path / "d.npz"), "digest": ""}}}, "label": "y"},
        "data.split": {"roles": ROLES, "label": "y", "stratify": False},
        "data.transform": {"task": task, "label": "y", **more},
        "model.load_onnx": {"onnx": {"path": str(file), "digest": ""}},
    }
    return inspect({"seed": 1, "steps": steps}), steps


def rows_of(steps, **more):
    tables = apply("data.load", {}, steps["data.load"]).outputs["tables"]
    split = apply("data.split", {"tables": tables}, steps["data.split"]).outputs["split"]
    given = {"tables": tables, "split": split}
    return apply("data.transform", given, {**steps["data.transform"], **more}).outputs["evaluation"]


def decided(file, rows, task):
    outputs = predict_rows(
        OnnxModel(file), rows, engine_name="onnxruntime", threads=1, batch=64, device="cpu", progress=quiet
    )
    return class_probabilities(Reading(task=task), rows, outputs).argmax(axis=1)


def test_judges_a_thousand_outputs_on_rows_of_ten_classes(tmp_path):
    file, x, best = linear(tmp_path / "m.onnx", 1000)
    shown = np.unique(best)[:10]
    kept = np.isin(best, shown)
    x, best = np.tile(x[kept], (8, 1)) + 1e-4 * np.arange(8 * kept.sum())[:, None], np.tile(best[kept], 8)
    answer, steps = facts(tmp_path, file, x, best)
    assert answer["data"]["classes"] == [str(place) for place in range(1000)]
    evaluation = answer["data"]["roles"]["evaluation"]["classes"]
    assert {name for name, count in evaluation.items() if count} <= {str(place) for place in shown}
    assert len(evaluation) == 1000
    rows = rows_of(steps, classes=answer["data"]["class_values"])
    assert (decided(file, rows, "multiclass_classification") == rows.labels).mean() > 0.98


def test_leaves_classes_alone_that_are_named_or_stated_or_as_many_as_outputs(tmp_path):
    file, x, best = linear(tmp_path / "m.onnx", 4)
    assert facts(tmp_path, file, x, best)[0]["data"]["class_values"] == []
    few = best < 3
    named = np.array(["ant", "bee", "cat"])[best[few]]
    assert facts(tmp_path, file, x[few], named)[0]["data"]["classes"] == ["ant", "bee", "cat"]
    stated = facts(tmp_path, file, x[few], best[few], classes=[3, 2, 1, 0])[0]["data"]
    assert (stated["classes"], stated["class_values"]) == (["3", "2", "1", "0"], [])


@pytest.mark.parametrize("column", [None, 1])
@pytest.mark.parametrize("dtype", ["int64", "bool", "float32"])
def test_reads_binary_heads_of_one_and_two_numbers(column, dtype, tmp_path):
    file, x, best = linear(tmp_path / "m.onnx", 2, column)
    answer, steps = facts(
        tmp_path, file, x, best.astype(dtype)[:, None], "binary_classification", positive=dtype == "bool" or 1
    )
    assert len(answer["data"]["classes"]) == 2
    rows = rows_of(steps)
    assert (decided(file, rows, "binary_classification") == rows.labels).all()


@pytest.mark.parametrize("strings", [False, True])
@pytest.mark.parametrize("mapped", [False, True])
def test_takes_the_files_of_scikit_learn(strings, mapped, tmp_path):
    drawn = np.random.default_rng(2)
    weights, x = drawn.normal(size=(3, WIDTH)).astype("f4"), drawn.normal(size=(ROWS, WIDTH)).astype("f4")
    labels = {"classlabels_strings": ["no", "yes", "maybe"]} if strings else {"classlabels_ints": [0, 1, 2]}
    node = helper.make_node(
        "LinearClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml", coefficients=weights.ravel().tolist(),
        intercepts=[0.0] * 3, multi_class=0, post_transform="SOFTMAX", **labels,
    )  # fmt: skip
    key = TensorProto.STRING if strings else TensorProto.INT64
    nodes, answers = [node], [helper.make_tensor_value_info("label", key, ["batch"])]
    if mapped:
        sort = "classlabels_strings" if strings else "classlabels_int64s"
        nodes.append(helper.make_node("ZipMap", ["p"], ["output_probability"], domain="ai.onnx.ml",
                                      **{sort: next(iter(labels.values()))}))  # fmt: skip
        kind = helper.make_map_type_proto(key, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        answers.append(helper.make_value_info("output_probability", helper.make_sequence_type_proto(kind)))
    else:
        answers.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, ["batch", 3]))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])], answers
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    file = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), file)
    answer, _ = facts(tmp_path, file, x, drawn.integers(0, 3, ROWS))
    name = "output_probability" if mapped else "p"
    assert {"name": name, "shape": ["batch", 3], "dtype": "float32"} in answer["model"]["outputs"]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    model = apply("model.load_onnx", {}, {"onnx": {"path": str(file), "digest": ""}}, scratch=scratch).outputs["model"]
    with open_session("onnxruntime", model, threads=1) as session:
        assert ("label" in session.output_names) is not strings
        given = session.run({"x": x})[name]
    assert (given.argmax(axis=1) == (x @ weights.T).argmax(axis=1)).all()


def test_gives_a_number_a_batch_to_rows_that_share_it(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "s"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH]),
         helper.make_tensor_value_info("s", TensorProto.FLOAT, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", WIDTH])],
    )  # fmt: skip
    file = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    drawn = np.random.default_rng(3)
    x = drawn.normal(size=(20, WIDTH)).astype("f4")
    with open_session("onnxruntime", OnnxModel(file), threads=1) as session:
        for s in (np.full(20, 1.5, "f4"), drawn.integers(1, 4, 20).astype("f4"), np.repeat([1, 2], 10).astype("f4")):
            np.testing.assert_array_equal(session.run({"x": x, "s": s})["y"], x * s[:, None])
