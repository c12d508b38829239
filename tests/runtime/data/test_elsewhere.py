"""Transforms that were fitted elsewhere: those of a run, and ONNX graphs that take columns."""

import numpy as np
import onnxruntime  # noqa: TID253 - graphs are its subject
import pytest
from onnx import TensorProto, helper  # noqa: TID253 - graphs are its subject

from titrant.runtime.data.elsewhere import load_elsewhere, with_outputs
from titrant.runtime.data.parameters import File, TransformStep
from titrant.runtime.data.saved_transforms import save_transforms
from titrant.runtime.data.transforms import apply, fit
from titrant.runtime.operators.data.split import DataSplitParams, split
from titrant.runtime.operators.data.transform import DataTransformParams, transform, wire
from titrant.runtime.values import Table, Tables, Transforms
from titrant.schema.diagnostics.diagnostics import PreconditionError, RecipeError, StepError

COLUMNS = {"age": np.array([40.0, 60.0, 80.0]), "kind": np.array(["q", "p", "new"])}


@pytest.fixture
def shipped(tmp_path):
    columns = {"age": np.array([40.0, 60.0]), "kind": np.array(["p", "q"])}
    steps = fit([TransformStep(name="one_hot"), TransformStep(name="standardize")], columns)
    inputs, dtypes, unstacked = wire(columns, ())
    folder = tmp_path / "transforms"
    folder.mkdir()
    save_transforms(Transforms(steps, inputs, dtypes, unstacked=unstacked), folder)
    return folder


def graph(path, *, stacked=0, texts=(), output="features"):
    """Write a graph: text columns one-hot as p and q, numbers halved; or one input of several places, halved."""
    names = ["X"] if stacked else ["age", *texts]
    ends = [
        helper.make_tensor_value_info(
            name, TensorProto.STRING if name in texts else TensorProto.FLOAT, [None, stacked or 1]
        )
        for name in names
    ]
    nodes = [helper.make_node("Mul", [names[0], "half"], [output if not texts else "halved"])]
    for name in texts:
        nodes.append(
            helper.make_node(
                "OneHotEncoder", [name], [f"{name}3"], domain="ai.onnx.ml", cats_strings=["p", "q"], zeros=1
            )
        )
        nodes.append(helper.make_node("Reshape", [f"{name}3", "flat"], [f"{name}2"]))
    if texts:
        nodes.append(helper.make_node("Concat", ["halved", *(f"{name}2" for name in texts)], [output], axis=1))
    constants = [
        helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("flat", TensorProto.INT64, [2], [-1, 2]),
    ]
    answer = helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, None])
    made = helper.make_graph(nodes, "transforms", ends, [answer], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    path.write_bytes(helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString())
    return path


def transformed(path, columns, **params):
    tables = Tables({"source": Table({**columns, "y": np.arange(len(columns["age"])) % 2})})
    roles = split(DataSplitParams(roles={"evaluation": {"source": 1.0}}), tables, seed=0)
    given = {"task": "binary_classification", "label": "y", **params}
    rows, fitted = transform(
        DataTransformParams(transform_from=File(path=str(path), digest="0"), **given), tables, roles
    )
    return rows["evaluation"].inputs, fitted


def refused(path, columns=COLUMNS, listed=None):
    with pytest.raises(RecipeError) as caught:
        load_elsewhere(str(path), columns, listed)
    [diagnostic] = caught.value.diagnostics
    return diagnostic.code, diagnostic.message, diagnostic.help


def test_takes_a_runs_transforms_and_fits_nothing(shipped):
    inputs, fitted = transformed(shipped, COLUMNS)
    assert inputs["features"].tolist() == [[-1, 0, 1], [1, 1, 0], [3, 0, 0]]
    assert [step.name for step in fitted.steps] == ["one_hot", "standardize"]


def test_keeps_the_order_of_the_training_whatever_that_of_the_data(shipped):
    turned = dict(reversed({**COLUMNS, "unused": np.zeros(3)}.items()))
    inputs, _ = transformed(shipped, turned)
    assert inputs["features"].tolist() == [[-1, 0, 1], [1, 1, 0], [3, 0, 0]]


def test_needs_no_rows_to_fit_on(shipped):
    tables = Tables({"source": Table({"age": COLUMNS["age"], "y": np.array([0, 1, 0])})})
    roles = split(DataSplitParams(roles={"evaluation": {"source": 1.0}}), tables, seed=0)
    params = DataTransformParams(
        task="binary_classification", label="y", transforms=(TransformStep(name="standardize"),)
    )
    with pytest.raises(PreconditionError, match="X127"):
        transform(params, tables, roles)
    assert transformed(shipped, COLUMNS)[0]["features"].shape == (3, 3)


def test_names_a_column_that_is_not_there_and_one_that_is_too_many(shipped):
    code, message, help_text = refused(shipped, {"Age": COLUMNS["age"], "kind": COLUMNS["kind"]})
    assert (code, "`age`" in message, "`Age`" in help_text) == ("X241", True, True)
    code, message, _ = refused(shipped, {**COLUMNS, "z": COLUMNS["age"]}, ["age", "kind", "z"])
    assert (code, "`z`" in message) == ("X241", True)


@pytest.mark.parametrize("damage", [b"{", b"{}", b'{"steps": [], "inputs": 3}'])
def test_refuses_a_damaged_folder(shipped, damage):
    (shipped / "transforms.json").write_bytes(damage)
    assert refused(shipped)[0] == "X241"


def test_runs_a_graph_that_takes_columns_by_name_and_text_as_text(tmp_path):
    file = graph(tmp_path / "pre.onnx", texts=("kind",))
    inputs, fitted = transformed(file, dict(reversed(COLUMNS.items())))
    assert inputs["features"].tolist() == [[20, 0, 1], [30, 1, 0], [40, 0, 0]]
    file.unlink()  # what is kept and shipped holds the graph itself
    assert apply(fitted, COLUMNS)["features"].tolist() == inputs["features"].tolist()


def test_takes_served_columns_of_a_graph_for_what_they_were(tmp_path):
    _, fitted = transformed(graph(tmp_path / "pre.onnx", texts=("kind",)), COLUMNS)
    nothing, age = np.array([np.nan]), np.array([40.0])
    [step] = fitted.steps
    session = onnxruntime.InferenceSession(step.arrays["graph"].tobytes())
    untold = {"age": age[:, None].astype(np.float32), "kind": np.array([[""]], dtype=object)}
    for kind in (nothing, np.array([""])):
        answered = apply(fitted, {"age": age, "kind": kind})["features"]
        np.testing.assert_array_equal(answered, session.run(None, untold)[0])
    with pytest.raises(StepError, match="X122: kind is numbers, and was text where the graph was made"):
        apply(fitted, {"age": age, "kind": np.array([7])})
    with pytest.raises(StepError, match="X122: age is text, and was numbers where the graph was made"):
        apply(fitted, {"age": np.array(["40"]), "kind": np.array(["p"])})


def test_keeps_a_graph_with_the_transforms_of_a_run(tmp_path):
    _, fitted = transformed(graph(tmp_path / "pre.onnx", texts=("kind",)), COLUMNS)
    folder = tmp_path / "kept"
    folder.mkdir()
    save_transforms(fitted, folder)
    again, _ = transformed(folder, COLUMNS)
    assert again["features"].tolist() == [[20, 0, 1], [30, 1, 0], [40, 0, 0]]


def test_asks_for_the_order_of_columns_that_a_graph_does_not_name(tmp_path):
    file = graph(tmp_path / "pre.onnx", stacked=2)
    columns = {"b": np.array([2.0]), "a": np.array([8.0])}
    code, message, help_text = refused(file, columns)
    assert (code, "without names" in message, "data: {inputs: [b, a, …]}" in help_text) == ("X242", True, True)
    loaded = with_outputs(load_elsewhere(str(file), columns, ["a", "b"]), ["features"])
    values = apply(Transforms(loaded.steps, {"features": ("a", "b")}, {"features": "float32"}), columns)
    assert values["features"].tolist() == [[4, 1]]
    assert refused(file, columns, ["a"])[0] == "X242"


def test_refuses_text_for_numbers_inputs_without_a_column_and_what_is_no_graph(tmp_path):
    file = graph(tmp_path / "pre.onnx", texts=("kind",))
    assert refused(file, {"age": COLUMNS["kind"], "kind": COLUMNS["kind"]})[0] == "X242"
    assert refused(file, {"age": COLUMNS["age"], "kind": COLUMNS["age"]})[0] == "X242"
    assert refused(file, {"age": COLUMNS["age"], "sort": COLUMNS["kind"]})[0] == "X242"
    file.write_bytes(b"no graph")
    assert refused(file)[0] == "X241"


def test_matches_the_outputs_of_a_graph_by_name_where_the_model_has_several(tmp_path):
    loaded = load_elsewhere(str(graph(tmp_path / "pre.onnx", output="a")), COLUMNS, None)
    assert with_outputs(loaded, ["x"]).steps[0].params["outputs"] == {"x": "a"}
    with pytest.raises(RecipeError, match="X242"):
        with_outputs(loaded, ["a", "b"])
