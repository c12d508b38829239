"""Transforms inside a file: plain onnxruntime answers raw columns as the model answers what the transforms make."""

import numpy as np
import onnx  # noqa: TID253 - graphs are its subject
import onnxruntime  # noqa: TID253 - what is joined runs in it alone
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253 - graphs are its subject
from PIL import Image

from titrant.runtime.backends.onnxruntime.columns_nodes import filter_weights
from titrant.runtime.backends.onnxruntime.inside import joined
from titrant.runtime.data.elsewhere import load_elsewhere, with_outputs
from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.data.raw import raw_columns
from titrant.runtime.data.transforms import apply, fit
from titrant.runtime.operators.data.transform import wire
from titrant.runtime.values import Transforms
from titrant.schema.diagnostics.diagnostics import PreconditionError, StepError


def model(shape, name="features", *, opset=17, output="logits", dtype=TensorProto.FLOAT, hidden="hidden"):
    """Write a model of one input that gives back its input, flattened, through a tensor called `hidden`."""
    nodes = [
        helper.make_node("Cast", [name], [hidden], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Flatten", [hidden], [output], name="flatten", axis=1),
    ]
    ends = (
        helper.make_tensor_value_info(name, dtype, ["batch", *shape]),
        helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", None]),
    )
    graph = helper.make_graph(nodes, "model", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(made, feed):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 2  # a warning of an unused constant would be printed
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


def fitted(columns, *steps):
    inputs, dtypes, unstacked = wire(columns, ())
    made = fit([TransformStep.model_validate(step) for step in steps], columns)
    return Transforms(made, inputs, dtypes, unstacked=unstacked)


def both(columns, *steps, **options):
    """Return what the joined file answers on raw columns, and what the transforms make of them."""
    transforms = fitted(columns, *steps)
    [(name, values)] = apply(transforms, columns).items()
    dtype = helper.np_dtype_to_tensor_dtype(values.dtype)
    made = joined(model(values.shape[1:], name, dtype=dtype, **options), transforms, raw_columns(transforms, columns))
    onnx.checker.check_model(made)
    answers = run(made, raw_columns(transforms, columns))
    return answers, values.reshape(len(values), -1).astype(np.float32)


NUMBERS = {
    "float64": st.sampled_from([-3.25, 0.0, 0.1, 41.7, 2e6, 1e-9]),
    "float32": st.sampled_from([-3.25, 0.0, 0.1, 41.7]),
    "gaps": st.sampled_from([float("nan"), 0.1, 7.0, 9.5]),
    "int64": st.sampled_from([-1, 0, 3, 2024, 10**9]),
    "bool": st.booleans(),
}
TEXTS = {"text": st.sampled_from(["a", "ü b", "10", "NA"]), "holes": st.sampled_from(["", "a", "b"])}
DTYPES = {"gaps": "float64", "text": "U", "holes": "U"}


@st.composite
def tables(draw):
    """Draw columns of every sort in any order, and transforms of some or all of them that can be fitted."""
    rows = 7
    sorts = draw(st.lists(st.sampled_from([*NUMBERS, *TEXTS]), min_size=1, max_size=6))
    columns = {}
    for place, sort in enumerate(sorts):
        values = draw(st.lists({**NUMBERS, **TEXTS}[sort], min_size=rows, max_size=rows))
        first = 1.0 if sort == "gaps" else "a" if sort == "holes" else values[0]
        column = np.array([first, *values[1:]])
        columns[f"c{place} {sort}"] = column.astype(DTYPES.get(sort, sort))
    texts = [name for name, sort in zip(columns, sorts, strict=True) if sort in TEXTS]
    numeric = [name for name in columns if name not in texts]
    gaps = [name for name, sort in zip(columns, sorts, strict=True) if sort == "gaps"]
    steps = [{"name": "impute"}] if gaps or draw(st.booleans()) else []
    coded = [*texts, *draw(st.lists(st.sampled_from(numeric), unique=True) if numeric else st.just([]))]
    if coded:
        steps.append({"name": "one_hot", "columns": tuple(coded)})
    for name in draw(st.lists(st.sampled_from(["standardize", "normalize"]), max_size=3)):
        some = draw(st.lists(st.sampled_from([*columns]), min_size=1, unique=True))
        figures = {"mean": 1.5, "std": 0.7} if name == "normalize" else {}
        steps.append({"name": name, "columns": tuple(some), **figures})
    return columns, steps


@settings(max_examples=50, deadline=None)
@given(tables())
def test_computes_what_the_transforms_compute(table):
    columns, steps = table
    answers, values = both(columns, *steps)
    scaled = [name for step in steps if step["name"] in ("standardize", "normalize") for name in step["columns"]]
    if len(scaled) == len({*scaled}):
        assert np.array_equal(answers, values)
    else:  # between two transforms of one column onnxruntime keeps the wider number
        np.testing.assert_allclose(answers, values, rtol=1e-6, atol=1e-6)


@settings(max_examples=24, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["uint8", "float32"]))
@example(35, 22, "uint8")  # one pixel lies so near to a half that the order of both directions decides
def test_resizes_as_the_transform_does(given_size, made_size, dtype):
    generator = np.random.default_rng(given_size)
    image = generator.integers(0, 256, (2, 3, given_size, 8)).astype(np.uint8)
    columns = {"image": image if dtype == "uint8" else (image / 255).astype(np.float32)}
    steps = {"name": "resize", "height": made_size, "width": 5}, {"name": "normalize", "mean": 0.5, "std": 0.25}
    answers, values = both(columns, *steps)
    np.testing.assert_allclose(answers, values, rtol=0, atol=1e-6)


def test_weighs_pixels_as_pillow_does():
    for given_size, made_size in ((10, 3), (3, 10), (7, 7), (1, 4), (50, 1)):
        line = np.random.default_rng(0).random((1, given_size)).astype(np.float32)
        resized = np.asarray(Image.fromarray(line).resize((made_size, 1), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(filter_weights(given_size, made_size) @ line[0], resized[0], atol=1e-6)


def test_treats_gaps_and_unknown_text_of_later_rows_as_the_transforms_do():
    columns = {"n": np.array([1.0, 3.0]), "t": np.array(["a", "b"])}
    transforms = fitted(columns, {"name": "impute"}, {"name": "one_hot"}, {"name": "standardize"})
    made = joined(model([3]), transforms, raw_columns(transforms, columns))
    later = {"n": np.array([np.nan, 2.0]), "t": np.array(["", "new"])}
    answers = run(made, raw_columns(transforms, later))
    assert np.array_equal(answers, apply(transforms, later)["features"])


def test_lets_columns_be_called_as_the_models_own_tensors():
    columns = {"features": np.array([1.0, 2.0]), "hidden": np.array([3.0, 5.0])}
    answers, values = both(columns, {"name": "standardize"})
    assert np.array_equal(answers, values)
    with pytest.raises(StepError, match=r"X243.*logits"):
        both({"logits": np.array([1.0, 2.0]), "b": np.array([1.0, 2.0])}, {"name": "standardize"})


def test_keeps_the_names_of_the_models_nodes():
    transforms = fitted({"a": np.array([1.0, 2.0])}, {"name": "standardize"})
    made = joined(model([1]), transforms, raw_columns(transforms, {"a": np.array([1.0])}))
    assert [node.name for node in made.graph.node][-2:] == ["cast", "flatten"]


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_joins_models_of_any_operator_set(opset):
    columns = {"n": np.array([1.0, np.nan, 4.0]), "t": np.array(["a", "", "b"])}
    answers, values = both(columns, {"name": "impute"}, {"name": "one_hot"}, {"name": "standardize"}, opset=opset)
    assert np.array_equal(answers, values)


def test_gives_whole_numbers_as_such_and_refuses_to_round_them():
    columns = {"tokens": np.array([[1, 2], [3, 4]])}
    answers, values = both(columns)
    assert np.array_equal(answers, values)
    whole = Transforms((), {"code": ("code",)}, {"code": "int64"}, unstacked=frozenset({"code"}))
    assert raw_columns(whole, {"code": np.array([2.0, 3.0])})["code"].dtype == np.int64
    with pytest.raises(PreconditionError, match="X119"):
        raw_columns(whole, {"code": np.array([0.5])})


def test_keeps_a_number_that_the_recipe_gives_for_all_rows():
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "rate"], ["logits"])],
        "scaled",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1]),
            helper.make_tensor_value_info("rate", TensorProto.FLOAT, []),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
    )
    scaled = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    transforms = Transforms((), {"x": ("a",), "rate": ()}, {"x": "float32", "rate": "float32"}, constants={"rate": 3.0})
    made = joined(scaled, transforms, {"a": np.array([1.0, 2.0])})
    assert [item.name for item in made.graph.input] == ["a"]
    assert run(made, {"a": np.array([1.0, 2.0])}).tolist() == [[3], [6]]


def test_refuses_images_of_many_sizes_by_name():
    images = np.empty(2, dtype=object)
    images[:] = [np.zeros((3, 4, 4), np.float32), np.zeros((3, 5, 4), np.float32)]
    transforms = fitted({"scan": images}, {"name": "resize", "height": 2, "width": 2})
    with pytest.raises(StepError, match=r"X243.*scan"):
        raw_columns(transforms, {"scan": images})


def preparing(path, opset):
    """Write a graph of transforms whose tensors are called as the model's are."""
    ends = [
        helper.make_tensor_value_info("age", TensorProto.FLOAT, [None, 1]),
        helper.make_tensor_value_info("kind", TensorProto.STRING, [None, 1]),
    ]
    nodes = [
        helper.make_node("Sub", ["age", "w"], ["hidden"], name="cast"),
        helper.make_node("OneHotEncoder", ["kind"], ["k3"], domain="ai.onnx.ml", cats_strings=["p", "q"], zeros=1),
        helper.make_node("Reshape", ["k3", "flat"], ["k2"]),
        helper.make_node("Concat", ["hidden", "k2"], ["logits"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.float32(40), "w"),
        numpy_helper.from_array(np.array([-1, 2], np.int64), "flat"),
    ]
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 3])
    graph = helper.make_graph(nodes, "transforms", ends, [answer], constants)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return path


@pytest.mark.parametrize(("first", "second"), [(17, 17), (13, 17), (18, 14), (15, 21)])
def test_joins_a_graph_of_transforms_and_a_model_of_two_operator_sets(first, second, tmp_path):
    columns = {"age": np.array([41.5, 39.0, 60.0]), "kind": np.array(["q", "new", "p"])}
    loaded = with_outputs(load_elsewhere(str(preparing(tmp_path / "t.onnx", first)), columns, None), ["features"])
    transforms = Transforms(loaded.steps, {"features": loaded.columns}, {"features": "float32"})
    made = joined(model([3], opset=second), transforms, raw_columns(transforms, columns))
    onnx.checker.check_model(made)
    answers = run(made, raw_columns(transforms, columns))
    assert np.array_equal(answers, apply(transforms, columns)["features"])
    assert answers.tolist() == [[1.5, 0, 1], [-1, 0, 0], [20, 1, 0]]
