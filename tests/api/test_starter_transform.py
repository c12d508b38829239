"""What is done to columns and pixels: as the model's file says, as they are, or a question with likely answers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - the tests build tiny graphs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.api.draft import questions, recipe_text
from titrant.api.starter.lines import Starter
from titrant.api.starter.questions import UnansweredError, answer, answers_of
from titrant.runtime.inspect.starter import describe_source
from titrant.runtime.inspect.starter_model import describe_hints
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.language.parse import node_at, parse
from titrant.schema.language.yaml_tree import plain_value
from titrant.schema.values.canonical import plain

NOTHING = {"classes": None, "kinds": {}, "prepares": False, "pixels": None}
UNIT = {"normalize": {"mean": 0, "std": 1}}
CENTERED = {"normalize": {"mean": 0.5, "std": 0.5}}
TO_BYTES = {"normalize": {"mean": 0, "std": 1, "scale": 255}}
TORCHVISION = {"normalize": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}


def column(name, dtype="float64", shape=(), **more):
    return {
        "name": name, "dtype": dtype, "shape": list(shape), "missing": 0, "distinct": None if shape else 50,
        "unlike": 0.1, "standard": None if shape else False,
    } | more  # fmt: skip


def starter(*columns, kind="csv", **more):
    label = {"name": "y", "values": {"0": 60, "1": 40}, "distinct": 2, "whole": True, "text": False, "missing": 0}
    data = {"rows": 100, "columns": list(columns), "left": [], "label": label, "notes": [], "candidates": []}
    given = {
        "model": "net:Net", "onnx": None, "arguments": [], "args": {}, "weights": "w.pt", "inputs": None,
        "source": (kind, "rows"), "data": data, "hints": NOTHING,
    }  # fmt: skip
    return Starter(**{**given, **more})


def graph(*shape, dtype="float32"):
    outputs = [{"name": "logits", "shape": ["batch", 2], "dtype": "float32"}]
    inputs = [{"name": "x", "shape": ["batch", *shape], "dtype": dtype}]
    return {"parameters": 1, "layers": [], "notes": [], "inputs": inputs, "outputs": outputs}


def offered(given):
    """Return the answers that are offered to the question about transforms, None where there is none."""
    asked = [question for question in questions(given) if question.key == "data.transform"]
    if asked:
        return [choice.value for choice in asked[0].choices]
    assert "  split: " in recipe_text(given)
    return None


def written(given, tmp_path):
    recipe = parse(recipe_text(given), "x.yaml", folder=tmp_path).recipe
    return [step.name for step in recipe.data.transform]


# As they are is with gaps, for trees that were trained on them or a file that fills them.
GAPS = [
    [{"impute": {"strategy": "keep"}}], [{"impute": {"strategy": "median"}}],
    [{"impute": {"strategy": "median"}}, "standardize"],
]  # fmt: skip
IMAGE = column("image", "images", (3,))
PIXELS = column("image", "float32", (3, 32, 48))
BYTES = column("image", "uint8", (3, 32, 48))


@pytest.mark.parametrize(
    ("given", "answers"),
    [
        # Columns as people have them: nobody but whoever trained the model knows.
        (starter(column("a")), [[], ["standardize"]]),
        (starter(column("a", missing=2)), GAPS),
        (starter(column("a", missing=2), hints=NOTHING | {"prepares": True}), GAPS),
        (starter(column("a"), column("b", "text")), [["one_hot", "standardize"]]),
        # What says so itself.
        (starter(column("a", standard=True), column("b", "int64", standard=None)), None),
        (starter(column("a"), hints=NOTHING | {"prepares": True}), None),
        (starter(column("a", shape=(30,)), kind="npz"), None),
        (starter(column("a"), kind="factory"), None),
        # Pixels.
        (starter(PIXELS, kind="npz"), None),
        (starter(PIXELS, kind="image_folder"), [[], [CENTERED], [TORCHVISION], [TO_BYTES]]),
        (starter(BYTES, kind="npz"), [[UNIT], [CENTERED], [TORCHVISION], [TO_BYTES]]),
        (starter(BYTES, kind="npz", onnx=graph(3, 32, 48, dtype="uint8")), None),
        # Sizes: those that a file leaves free are the data's, others are resized only where somebody says so.
        (starter(PIXELS, kind="npz", onnx=graph(3, "h", "w")), None),
        (starter(PIXELS, kind="npz", onnx=graph(3, 32, 48)), None),
        (starter(PIXELS, kind="npz", onnx=graph(3, 224, 224)), [[{"resize": {"height": 224, "width": 224}}]]),
    ],
)  # fmt: skip
def test_asks_what_nothing_says(given, answers):
    assert offered(given) == answers


def test_takes_what_a_file_says_of_pixels(tmp_path):
    hints = NOTHING | {"pixels": {**TORCHVISION, "height": 64, "width": 64, "from": "preprocessor_config.json"}}
    assert written(starter(IMAGE, kind="image_folder", hints=hints), tmp_path) == ["resize", "normalize"]
    text = recipe_text(starter(PIXELS, kind="image_folder", hints=hints, onnx=graph(3, 32, 48)))
    assert "  # as preprocessor_config.json says\n  transform:\n    - {normalize: {mean: [0.485" in text
    # A size that the processor does not resize to as titrant does is a question still.
    other = NOTHING | {"pixels": {**TORCHVISION, "from": "preprocessor_config.json"}}
    (steps,) = offered(starter(IMAGE, kind="image_folder", hints=other))
    assert steps == [{"resize": {"height": 224, "width": 224}}, TORCHVISION]


def test_asks_a_model_that_is_trained_here_for_nothing_but_a_size(tmp_path):
    assert written(starter(PIXELS, kind="image_folder", weights=None), tmp_path) == ["normalize"]
    assert written(starter(PIXELS, kind="npz", weights=None), tmp_path) == []
    assert written(starter(column("a"), weights=None), tmp_path) == ["standardize"]
    (steps,) = offered(starter(IMAGE, kind="image_folder", weights=None))
    assert steps[0] == {"resize": {"height": 224, "width": 224}}


@given(place=st.integers(0, 3), data=st.data())
def test_takes_every_answer_that_it_offers(place, data):
    given = starter(BYTES, kind="npz", hints=NOTHING)
    with pytest.raises(UnansweredError) as caught:
        recipe_text(given)
    (question,) = caught.value.questions
    value = question.choices[place].value
    flag = question.argument(value).removeprefix("--set ").strip("'")
    answers = answers_of([flag])
    assert answers == {"data": {"transform": value}}
    assert offered(starter(BYTES, kind="npz", answers=answers)) is None


def test_refuses_an_answer_that_is_no_list():
    with pytest.raises(RecipeError, match=r"`data\.transform` is a list"):
        recipe_text(starter(column("a"), answers={"data": {"transform": "standardize"}}))


def model(nodes, *, outputs=("y",), opsets=(("", 17), ("ai.onnx.ml", 3)), **stated):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in outputs]
    weight = numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    made = helper.make_model(
        helper.make_graph(nodes, "g", [x], given, [weight]),
        opset_imports=[helper.make_opsetid(*opset) for opset in opsets],
        ir_version=8,
    )
    for key, value in stated.items():
        made.metadata_props.add(key=key.replace("_", "."), value=value)
    return made


def hints(made, tmp_path):
    onnx.save(made, tmp_path / "m.onnx")
    return describe_hints(str(tmp_path / "m.onnx"))


def product(to):
    return helper.make_node("MatMul", ["x", "w"], [to])


def test_reads_what_outputs_are_from_the_nodes_that_give_them(tmp_path):
    nodes = [product("l"), helper.make_node("Softmax", ["l"], ["p"]), helper.make_node("Identity", ["p"], ["y"])]
    assert hints(model(nodes), tmp_path) == NOTHING | {"kinds": {"y": "probabilities"}}
    nodes = [product("l"), helper.make_node("LogSoftmax", ["l"], ["y"])]
    assert hints(model(nodes), tmp_path)["kinds"] == {"y": "log_probabilities"}
    assert hints(model([product("y")]), tmp_path)["kinds"] == {}


@pytest.mark.parametrize(("weights", "after", "kind"), [
    ([0.2, 0.8], "NONE", "probabilities"), ([-0.4, 0.6], "NONE", "logits"), ([-0.4, 0.6], None, "logits"),
    ([-0.4, 0.6], "LOGISTIC", "probabilities"),
])  # fmt: skip
def test_tells_the_margins_of_boosted_trees_from_the_votes_of_a_forest(tmp_path, weights, after, kind):
    trees = helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", class_weights=weights,
        class_ids=[1, 1], class_treeids=[0, 0], class_nodeids=[1, 2], classlabels_int64s=[0, 1],
        nodes_treeids=[0] * 3, nodes_nodeids=[0, 1, 2], nodes_featureids=[0] * 3, nodes_values=[0.5, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        **({} if after is None else {"post_transform": after}),
    )  # fmt: skip
    assert hints(model([trees]), tmp_path)["kinds"] == {"y": kind}


def test_reads_classes_and_a_preparation_from_a_pipeline_of_scikit_learn(tmp_path):
    scaler = helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.0] * 3, scale=[1.0] * 3)
    classifier = helper.make_node(
        "LinearClassifier", ["s"], ["label", "y"], domain="ai.onnx.ml",
        coefficients=[1.0] * 6, classlabels_strings=["sick", "well"],
    )  # fmt: skip
    read = hints(model([scaler, classifier]), tmp_path)
    assert (read["classes"], read["prepares"]) == (["sick", "well"], True)


@pytest.mark.parametrize(("after", "kind"), [("LOGISTIC", "probabilities"), ("SOFTMAX", "probabilities"), ("NONE", "")])
def test_reads_what_a_linear_classifier_makes_of_its_scores_also_where_they_are_parted(tmp_path, after, kind):
    classifier = helper.make_node(
        "LinearClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml", post_transform=after,
        coefficients=[1.0] * 6, classlabels_ints=[0, 1],
    )  # fmt: skip
    ends = [numpy_helper.from_array(np.array([value]), name) for value, name in ((0, "zero"), (1, "one"), (2, "two"))]
    parts = [
        helper.make_node("Slice", ["p", begin, end, "one"], [name])
        for name, begin, end in (("i0", "zero", "one"), ("i1", "one", "two"))
    ]
    made = model([classifier, *parts], outputs=("i0", "i1"))
    made.graph.initializer.extend(ends)
    assert hints(made, tmp_path)["kinds"] == ({"i0": kind, "i1": kind} if kind else {})


def test_reads_pixels_from_the_file_and_from_what_lies_beside_it(tmp_path):
    ranged = hints(model([product("y")], Image_NominalPixelRange="NominalRange_0_255"), tmp_path)
    assert ranged["pixels"]["normalize"] == {"mean": 0, "std": 1, "scale": 255}
    config = {"image_mean": [0.5], "image_std": [0.25], "size": {"height": 8, "width": 9}, "resample": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config), "utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "sick", "1": "well"}}), "utf-8")
    read = hints(model([product("y")]), tmp_path)
    assert read["classes"] == ["sick", "well"]
    assert read["pixels"] == {
        "normalize": {"mean": [0.5], "std": [0.25]}, "height": 8, "width": 9, "from": "preprocessor_config.json",
    }  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config | {"do_center_crop": True}), "utf-8")
    assert "height" not in hints(model([product("y")]), tmp_path)["pixels"]
    plain = {"do_normalize": True, "do_rescale": True, "rescale_factor": 0.00392156862745098, "do_resize": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config | plain), "utf-8")
    assert hints(model([product("y")]), tmp_path)["pixels"] == read["pixels"]
    for other in ({"do_normalize": False}, {"do_rescale": False}, {"rescale_factor": 1 / 127.5},
                  {"rescale_offset": True}, {"do_flip_channel_order": True}):  # fmt: skip
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(config | other), "utf-8")
        assert hints(model([product("y")]), tmp_path)["pixels"] is None
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config | {"do_resize": False}), "utf-8")
    assert "height" not in hints(model([product("y")]), tmp_path)["pixels"]
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": ["a"]', "utf-8")
    assert hints(model([product("y")]), tmp_path)["pixels"] is None


@pytest.mark.parametrize(
    ("columns", "label", "candidates"),
    [
        ({"a": np.linspace(0, 1, 40), "sick": np.arange(40) % 2}, "sick", []),
        ({"a": np.arange(40) % 3, "target": np.arange(40) % 2}, "target", []),
        ({"a": np.arange(40) % 3, "b": np.arange(40) % 2}, None, ["a", "b"]),
        ({"label": np.arange(40) % 3, "Target": np.arange(40) % 2, "c": np.arange(40) % 2}, None, ["label", "Target"]),
        ({"a": np.linspace(0, 1, 40), "n": np.arange(40)}, None, []),
        ({"x": np.arange(40) % 2, "n": np.linspace(0, 1, 40)}, None, []),
    ],
)
def test_takes_the_only_column_that_can_be_a_label(tmp_path, columns, label, candidates):
    np.savez(tmp_path / "rows.npz", **columns)
    read = describe_source({"npz": str(tmp_path / "rows.npz")}, None, {"x"}, pick=True)
    assert (read["label"] and read["label"]["name"], read["candidates"]) == (label, candidates)


KEYS = (
    "name", "task", "seed", "model", "model.inputs", "model.output", "data",
    "data.classes", "data.positive", "data.inputs", "data.transform", "data.split", "data.split.by",
    "data.subgroups", "target", "train", "search.objective", "export", "validation.retention", "nothing.there",
)  # fmt: skip
VALUES = ("none", "5", "true", "a", "[]", "[a, b]", "{}", "{a: 1}", "[{a: 1}]", "0.5", "''", "[[1]]", "~", '"x\\ny"')


@settings(max_examples=120)
@given(
    flags=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), min_size=1, max_size=3),
    given=st.sampled_from([
        starter(column("a")), starter(BYTES, kind="npz"), starter(PIXELS, kind="image_folder", weights=None),
        starter(column("a"), column("b"), onnx=graph(2), weights=None),
        starter(source=None, data=None, onnx=graph(3, "h", 8), weights=None),
    ]),
)  # fmt: skip
def test_takes_an_answer_to_any_key_or_says_what_is_wrong_with_it(flags, given):
    try:
        answers = answers_of([f"{key}={value}" for key, value in flags])
        text = recipe_text(replace(given, answers=answers, inputs=answer(answers, "model.inputs")))
        parsed = parse(text, "x.yaml", folder=Path())
    except RecipeError:
        return
    for path, value in leaves(answers):
        if value == {} and path in {("model",), ("data",)}:  # nothing more is said of what is written anyway
            continue
        assert plain(plain_value(node_at(parsed.source.root, path))) == value, text


def leaves(answers, path=()):
    for key, value in answers.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def unlabelled(column, *outputs):
    onnx = graph(*column["shape"], dtype=column["dtype"])
    onnx["inputs"][0]["name"] = column["name"]
    onnx["outputs"] = [{"name": name, "shape": shape, "dtype": "float32"} for name, shape in outputs]
    data = {"rows": 100, "columns": [column], "left": [], "label": None, "notes": [], "candidates": []}
    return starter(kind="npz", onnx=onnx, data=data, weights=None)


TOKENS = column("input_ids", "int64", (32,))


@pytest.mark.parametrize(
    ("given", "task", "output"),
    [
        (unlabelled(TOKENS, ("logits", ["batch", 32, 512])), "language_modeling", None),
        (
            unlabelled(TOKENS, ("past", ["batch", 4]), ("lm_logits", ["batch", "n", 512])),
            "language_modeling",
            "lm_logits",
        ),
        (unlabelled(TOKENS, ("last_hidden_state", ["batch", 32, 64])), "unlabeled", None),
        (unlabelled(PIXELS, ("image_embeds", ["batch", 64])), "embedding", None),
        (unlabelled(PIXELS, ("logits", ["batch", 3, 32])), "unlabeled", None),
    ],
)
def test_guesses_language_models_and_embeddings_by_what_they_take_and_answer(given, task, output, tmp_path):
    recipe = parse(recipe_text(given), "x.yaml", folder=tmp_path).recipe
    assert recipe.task == task
    assert (recipe.model.output[0].name if recipe.model.output else None) == output


def test_reads_images_as_the_file_takes_them(tmp_path):
    gray = column("image", "float32", (3, 28, 28))
    answers = {"data": {"transform": []}}
    text = recipe_text(starter(gray, kind="image_folder", onnx=graph(1, 28, 28), answers=answers))
    assert "  source: {image_folder: {path: rows, color: gray}}" in text
    whole = starter(gray, kind="image_folder", onnx=graph(3, 28, 28, dtype="uint8"))
    assert [step.scale for step in parse(recipe_text(whole), "x.yaml", folder=tmp_path).recipe.data.transform] == [255]


def test_refuses_a_file_whose_channels_stand_last_for_images_and_not_for_arrays():
    last = column("image", "float32", (28, 28, 3))
    assert offered(starter(last, kind="npz", onnx=graph(28, 28, 3))) is None
    with pytest.raises(RecipeError, match=r"\(batch, 28, 28, 3\) has its channels last.*--inputs-as-nchw x"):
        recipe_text(starter(PIXELS, kind="image_folder", onnx=graph(28, 28, 3), answers={"data": {"transform": []}}))
