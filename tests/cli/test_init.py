"""`titrant init`: a starter recipe that works at once, and questions where nothing can be known."""

import numpy as np
import onnx  # noqa: TID253 - the tests build a tiny graph
import pytest
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

import titrant
from titrant.api.draft import recipe_text
from titrant.api.starter.lines import Starter, recipe_name
from titrant.api.starter.questions import UnansweredError
from titrant.runtime.inspect.starter import describe_source
from titrant.schema.diagnostics.diagnostics import RecipeError, TitrantError
from titrant.schema.language.parse import parse

STARTED = """\
# A starter recipe for net:Net: edit it, commit it, and run it with `titrant run`.
# A comment says what a line was taken from, or, behind a question mark, what could be added.
titrant: 1
name: net
level: balanced  # minimal, balanced, aggressive or medical_critical: the thresholds come with it
task: binary_classification  # sick has 2 values: 0 192, 1 208
model:
  factory: net:Net
  args: {features: auto, classes: auto}  # auto: from the data
data:
  source: {csv: ../rows.csv}  # 400 rows, 4 columns beside the label
  label: sick
  # ? positive: 0 or 1: the critical class, which safety gates protect
  transform:
    - standardize
  split: {train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3}  # ? by: a column, such as the patient
train: {epochs: 20}  # leave it out where `model.weights` names trained ones
# ? target: {latency: {p95: 10 ms, batch: 1}, size: 5 MiB}   what the model must fit
# ? validation: {retention: 0.97}   what it must keep; the level supplies the rest
export: [{format: auto}]  # ? onnx or torchscript, where something downstream needs one of them
"""


def test_writes_a_recipe_that_can_be_planned_at_once_and_never_over_a_file(place):
    (place.folder / "recipes").mkdir()
    (place.folder / "net.py").rename(place.folder / "recipes" / "net.py")
    asked = ("init", "net:Net", "--data", "rows.csv", "--label", "sick", "--out", "recipes/net.yaml")
    done = place.titrant(*asked)
    assert done.code == 0, done.all
    assert done.out == "recipes/net.yaml\n"
    file = place.folder / "recipes" / "net.yaml"
    assert file.read_text("utf-8") == STARTED
    assert place.here("check", file).code == 0
    planned = place.here("plan", file)
    assert planned.code == 0, planned.all
    again = place.titrant(*asked)
    assert (again.code, "is there already" in again.err) == (2, True)
    assert file.read_text("utf-8") == STARTED


def test_starts_from_an_onnx_file(place):
    weights = numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("a b", 3), ("y", 2))
    )
    graph = helper.make_graph([helper.make_node("MatMul", ["a b", "w"], ["y"])], "g", [x], [y], [weights])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), place.folder / "M1.onnx"
    )
    done = place.here("init", "M1.onnx")
    assert done.code == 0, done.all
    text = (place.folder / "m1.yaml").read_text("utf-8")
    assert "  onnx: M1.onnx\n" in text
    assert "    - {name: a b, shape: [batch, 3], dtype: float32}\n" in text
    assert "task: unlabeled" in text
    assert place.here("check", "m1.yaml").code == 0


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        ("gone.onnx", {}, "there is no file"),
        ("net", {}, "neither an .onnx file nor a factory"),
        ("w.pt", {}, "there is no file w.pt"),
        (".", {}, "has no .onnx file"),
        (__file__, {}, "of no kind that titrant knows"),
        ("net:Net", {}, "nothing says what the model takes"),
        ("net:Net", {"data": "gone.csv"}, "there is no gone.csv"),
        ("net:Net", {"input_specs": [], "label": "y"}, "there is no data"),
    ],
)
def test_refuses_what_cannot_become_a_recipe(tmp_path, monkeypatch, model, more, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.safetensors").write_bytes(b"")
    given = {name: str(tmp_path / value) if name == "data" else value for name, value in more.items()}
    with pytest.raises(RecipeError) as caught:
        titrant.init(model, tmp_path / "out.yaml", **given)
    assert caught.value.diagnostics[0].code == "P081"
    assert message.replace("gone.csv", str(given.get("data", "gone.csv"))) in caught.value.diagnostics[0].message
    assert not (tmp_path / "out.yaml").exists()


def column(name, dtype="float64", **more):
    return {
        "name": name, "dtype": dtype, "shape": [], "missing": 0, "distinct": 50, "unlike": 0.1, "standard": False,
    } | more  # fmt: skip


def label(values, **more):
    told = {"name": "y", "values": values, "distinct": len(values), "whole": True, "text": False, "missing": 0}
    return told | more


def starter(columns=(), answer=None, **more):
    data = {
        "rows": 100, "columns": list(columns) or [column("a")], "left": [], "label": answer, "notes": [],
        "candidates": [],
    }  # fmt: skip
    given = {
        "model": "net:Net", "onnx": None, "arguments": [], "args": {}, "weights": None, "inputs": None,
        "source": ("csv", "t.csv"), "data": data,
    }  # fmt: skip
    return Starter(**{**given, **more})


def test_takes_transforms_from_what_the_columns_hold(tmp_path):
    names = column("name", "text", unlike=1.0, distinct=100)
    columns = [column("age", missing=3), column("note: x", "text", missing=2), names, column("same", distinct=1)]
    columns += [column("gone", distinct=0), column("day", "text", distinct=90), column("id", "int64", unlike=1.0)]
    columns += [column("sex", "text", distinct=2)]
    text = recipe_text(starter(columns, label({"no": 60, "yes": 40})))
    data = parse(text, "x.yaml", folder=tmp_path).recipe.data
    assert [(step.name, step.columns) for step in data.transform] == [
        ("impute", ("age",)), ("impute", ("note: x",)), ("one_hot", None), ("standardize", None),
    ]  # fmt: skip
    assert data.inputs == ("age", "note: x", "day", "id", "sex")
    assert "# ? gone is left out of the inputs: it has no value anywhere" in text
    assert "# ? day has 90 different texts, and each becomes an input: derive numbers from dates" in text
    assert "# ? id has another whole number in each row: leave it out if it only names them" in text
    assert "# ? name is left out of the inputs: 100 different texts" in text
    assert "# ? same is left out of the inputs: it has one value everywhere" in text
    assert "# ? positive: no or yes" in text
    assert "# missing values: age 3, note: x 2" in text
    assert "# ? subgroups: {age: {column: age, bins: [40, 65]}}" in text
    assert "# ? subgroups: {sex: {column: sex}}" in text
    assert data.positive is None


@pytest.mark.parametrize(
    ("answer", "task"),
    [
        (None, "unlabeled"),
        (label({"0": 50, "1": 50}), "binary_classification"),
        (label({"a": 1, "b": 50, "c": 49}), "multiclass_classification"),
        (label({"1": 1}, distinct=300), "regression"),
        (label({"1.5": 9, "2.5": 9}, whole=False), "regression"),
    ],
)
def test_takes_the_task_from_the_label(tmp_path, answer, task):
    recipe = parse(recipe_text(starter(answer=answer, source=("npz", "t.npz"))), "x.yaml", folder=tmp_path).recipe
    assert recipe.task == task
    assert recipe.data.split.stratify is (task != "multiclass_classification")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"answer": label({"a": 1}, distinct=300, text=True)}, "300 different texts, more than the 100 classes"),
        ({"data": {"rows": 1, "label": label({"a": 1})}}, "t.csv has 1 row, too few for 4 roles"),
        ({"answer": label({"1": 9})}, "one value everywhere"),
        ({"answer": label({"1": 9, "2": 9}, missing=4)}, "4 of 100 rows have no y"),
        ({"arguments": [{"name": "depth", "required": True}]}, "needs a value for `depth`"),
        ({"columns": [column("a", distinct=1)]}, "no column that the model could take"),
    ],
)
def test_refuses_with_what_would_make_it_possible(given, message):
    with pytest.raises(RecipeError, match=message) as caught:
        recipe_text(starter(**given))
    assert caught.value.diagnostics[0].help


GRAPH = {"parameters": 3, "layers": [], "notes": ["opset 17"], "inputs": []}


def answering(*outputs):
    named = [{"name": name, "shape": list(shape), "dtype": "float32"} for name, *shape in outputs]
    return GRAPH | {"outputs": named, "inputs": [{"name": "x", "shape": ["batch", 1], "dtype": "float32"}]}


@pytest.mark.parametrize(
    ("outputs", "answer", "offered"),
    [
        # The order of named classes, and of fewer than there are outputs, is known to nobody but the model's maker.
        ([("y", "batch", 2)], label({"yes": 60, "no": 40}, text=True), ["yes", "no"]),
        ([("y", "batch", 9)], label({"ant": 60, "bee": 40}, text=True), ["ant", "bee", "…"]),
        ([("y", "batch", 9)], label({"10": 60, "20": 40}), [10, 20, "…"]),
        ([("y", "batch", 2)], label({"0": 60, "1": 40}), None),
        ([("y", "batch", 9)], label({"0": 60, "4": 40}), None),
    ],
)
def test_asks_for_the_order_of_a_trained_models_classes(tmp_path, outputs, answer, offered):
    given = {"model": "m.onnx", "onnx": answering(*outputs), "answer": answer, "source": ("npz", "t.npz")}
    if offered is None:
        parse(recipe_text(starter(**given)), "x.yaml", folder=tmp_path)
        return
    with pytest.raises(UnansweredError) as caught:
        recipe_text(starter(**given))
    assert [(item.key, item.choices[0].value) for item in caught.value.questions] == [("data.classes", offered)]
    answers = {"data": {"classes": ["a", "b", *answer["values"]]}}
    recipe = parse(recipe_text(starter(**given, answers=answers)), "x.yaml", folder=tmp_path).recipe
    assert [str(name) for name in recipe.data.classes] == answers["data"]["classes"]


def test_takes_the_order_of_classes_from_a_file_that_holds_it(tmp_path):
    named = label({"no": 60, "yes": 40}, text=True)
    given = {"model": "m.onnx", "onnx": answering(("y", "batch", 3)), "answer": named, "source": ("npz", "t.npz")}
    hints = {"classes": ["yes", "no", "maybe"], "kinds": {}, "prepares": False, "pixels": None}
    recipe = parse(recipe_text(starter(**given, hints=hints)), "x.yaml", folder=tmp_path).recipe
    assert (recipe.task, recipe.data.classes) == ("multiclass_classification", ("yes", "no", "maybe"))
    with pytest.raises(UnansweredError):
        recipe_text(starter(**given, hints=hints | {"classes": ["a", "b", "c"]}))


@pytest.mark.parametrize("shape", [("batch",), ("batch", 1)])
def test_asks_which_class_one_number_is_about(tmp_path, shape):
    hints = {"classes": None, "kinds": {"y": "probabilities"}, "prepares": False, "pixels": None}
    named = label({"no": 60, "yes": 40}, text=True)
    given = {"model": "m.onnx", "onnx": answering(("y", *shape)), "source": ("npz", "t.npz"), "hints": hints}
    with pytest.raises(UnansweredError) as caught:
        recipe_text(starter(**given, answer=named))
    (question,) = caught.value.questions
    assert question.asks == "which class is the model's one number about?"
    assert question.choices[0].means == "its number is about yes"
    text = recipe_text(starter(**given, answer=named, answers={"data": {"classes": ["no", "yes"]}}))
    assert "output: {name: y, kind: probabilities}" in text


def test_asks_nothing_of_the_classes_of_a_model_that_is_trained_here():
    named = label({"yes": 60, "no": 40}, text=True)
    assert "classes" not in recipe_text(starter(answer=named))
    with pytest.raises(UnansweredError, match="which output of the model is which class"):
        recipe_text(starter(answer=named, weights="w.pt", source=("npz", "t.npz")))


@pytest.mark.parametrize(
    ("outputs", "line"),
    [
        ([("label", "batch"), ("probabilities", "batch", 2)], "output: {name: probabilities, kind: probabilities}"),
        ([("output_probability", "batch", 2)], "output: {name: output_probability, kind: probabilities}"),
        ([("label", "batch"), ("scores", "batch", 2)], "output: {name: scores, kind: logits}"),
        ([("logits", "batch", 2), ("probs", "batch", 2)], None),
    ],
)
def test_names_the_output_that_classes_are_decided_from(tmp_path, outputs, line):
    answer = label({"0": 60, "1": 40})
    text = recipe_text(starter(model="m.onnx", onnx=answering(*outputs), answer=answer, source=("npz", "t.npz")))
    parse(text, "x.yaml", folder=tmp_path)
    assert line in text if line else "output:" not in text


def test_asks_which_of_several_outputs_is_judged():
    onnx = answering(("head", "batch", 2), ("other", "batch", 2))
    given = {"model": "m.onnx", "onnx": onnx, "answer": label({"0": 60, "1": 40}), "source": ("npz", "t.npz")}
    with pytest.raises(UnansweredError, match="which output are classes decided from"):
        recipe_text(starter(**given))
    text = recipe_text(starter(**given, answers={"model": {"output": {"name": "other", "kind": "logits"}}}))
    assert "  output: {name: other, kind: logits}\n" in text


def test_asks_which_of_the_outputs_that_are_about_one_class_each_is_about_the_positive_one():
    onnx = answering(("i0", "batch", 1), ("i1", "batch", 1))
    onnx["outputs"].insert(0, {"name": "chosen", "shape": ["batch"], "dtype": "int64"})
    hints = {"classes": ["well", "sick"], "kinds": {"i0": "probabilities", "i1": "probabilities"}, "prepares": True}
    given = {"model": "m.onnx", "onnx": onnx, "source": ("npz", "t.npz"), "hints": hints | {"pixels": None}}
    with pytest.raises(UnansweredError) as caught:
        recipe_text(starter(**given, answer=label({"0": 60, "1": 40})))
    (question,) = caught.value.questions
    assert question.asks == "which output is about the positive class?"
    assert question.because == "m.onnx answers with i0, i1, each with one number a case."
    assert [(choice.value["name"], choice.value["kind"], choice.means) for choice in question.choices] == [
        ("i0", "probabilities", "class well"),
        ("i1", "probabilities", "class sick"),
    ]
    onnx["outputs"].append({"name": "i2", "shape": ["batch", 1], "dtype": "float32"})
    with pytest.raises(RecipeError, match="zipmap=False"):
        recipe_text(starter(**given, answer=label({"0": 60, "1": 40, "2": 30})))


def test_asks_for_sizes_that_a_graph_leaves_free_where_no_data_says_them(tmp_path):
    graph = {
        "parameters": 3, "layers": [], "notes": ["opset 17"], "outputs": [],
        "inputs": [{"name": "image", "shape": ["batch", 3, "h", "w"], "dtype": "float32"}],
    }  # fmt: skip
    given = {"model": "m.onnx", "onnx": graph, "source": None, "data": None}
    with pytest.raises(UnansweredError, match="leaves image h, w free") as caught:
        recipe_text(starter(**given))
    value = caught.value.questions[0].choices[0].value
    text = recipe_text(starter(**given, inputs=value))
    assert parse(text, "x.yaml", folder=tmp_path).recipe.model.inputs[0].shape == ("batch", 3, 224, 224)


@pytest.mark.parametrize(
    ("model", "name"), [("a/Big Net.onnx", "big-net"), ("p.q:TabularNet", "tabular-net"), ("m:__", "__")]
)
def test_names_the_recipe_after_the_model(model, name):
    assert recipe_name(model) == name


def test_describes_the_columns_that_go_with_the_label(tmp_path):
    file = tmp_path / "t.npz"
    np.savez(file, x=np.zeros((6, 4), np.float32), y=np.array([[0], [1], [1], [0], [1], [1]]), other=np.zeros(3))
    found = describe_source({"npz": str(file)}, "y")
    assert found["label"]["values"] == {"0": 2, "1": 4}
    assert [(one["name"], one["shape"]) for one in found["columns"]] == [("x", [4])]
    assert found["left"] == ["other"]


def test_notices_a_file_without_a_header(tmp_path):
    (tmp_path / "t.csv").write_text("63,1.0,no\n67,4.5,yes\n", "utf-8")
    with pytest.raises(TitrantError, match="no header line"):
        describe_source({"csv": str(tmp_path / "t.csv")}, None)


@pytest.mark.parametrize(
    "names", [range(6), [0, 1, 10, 11, *range(2, 10)], range(6, 0, -1), [400.5, 401, 402.5, 403, 409]]
)
def test_takes_columns_that_are_called_by_their_places_or_wavelengths(tmp_path, names):
    """As pandas writes an array: 0, 1, 2 …, the label."""
    header, row = ",".join([*map(str, names), "y"]), ",".join(["0.5"] * (len(names) + 1))
    (tmp_path / "t.csv").write_text(f"{header}\n{row}\n", "utf-8")
    described = describe_source({"csv": str(tmp_path / "t.csv")}, None)
    assert [column["name"] for column in described["columns"]] == [*map(str, names), "y"]


def test_asks_about_a_column_that_gives_the_label_away(place):
    rows = (place.folder / "rows.csv").read_text("utf-8").splitlines()
    label = [row.split(",")[rows[0].split(",").index("sick")] for row in rows]
    code = ["discharge_code", *("J18" if value == "1" else "Z00" for value in label[1:])]
    text = "\n".join(f"{row},{value}" for row, value in zip(rows, code, strict=True))
    (place.folder / "rows.csv").write_text(text + "\n", "utf-8")
    assert place.here("init", "net:Net", "--data", "rows.csv", "--label", "sick").code == 0
    started = (place.folder / "net.yaml").read_text("utf-8")
    assert "# ? discharge_code gives the label away alone (balanced accuracy 1.000): leave it out" in started
    assert started.count("gives the label away") == 1
    planned = place.here("plan", "net.yaml")
    assert planned.code == 0, planned.all
    assert "! `discharge_code` gives the label away alone: balanced accuracy 1.000 on 240 train and" in planned.out


def test_reads_a_file_that_is_separated_otherwise_and_says_so(tmp_path):
    (tmp_path / "t.csv").write_text("a;y\n1,5;2\n", "utf-8")
    described = describe_source({"csv": str(tmp_path / "t.csv")}, "y")
    assert [column["name"] for column in described["columns"]] == ["a"]
    assert described["notes"] == ["t.csv is read as separator semicolon, decimal comma"]


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("x,y,7\nx,y,8\n", "label", "seems to have no header line: 1 of its 3 columns are called by numbers"),
        ("a,b\n1,2\n", "label", "t.csv has no column `label`"),
        ("a,label\n", "label", "t.csv has no rows"),
    ],
)
def test_says_what_a_file_is_that_is_no_table_with_named_columns(tmp_path, text, label, message):
    (tmp_path / "t.csv").write_text(text, "utf-8")
    with pytest.raises(RecipeError, match=message):
        describe_source({"csv": str(tmp_path / "t.csv")}, label)


def test_says_of_a_label_with_several_numbers_which_tasks_take_it(tmp_path):
    np.savez(tmp_path / "t.npz", image=np.zeros((4, 1, 2, 2)), mask=np.zeros((4, 2, 2)))
    with pytest.raises(RecipeError, match="mask has 2 × 2 numbers a case") as caught:
        describe_source({"npz": str(tmp_path / "t.npz")}, "mask")
    assert "task: segmentation" in caught.value.diagnostics[0].help


def test_asks_on_a_terminal_until_it_can_write(place, monkeypatch, capsys):
    from titrant.cli import console
    from titrant.cli.main import main

    place.write("rows.csv", (place.folder / "rows.csv").read_text("utf-8").replace("one,", "label,", 1))
    lines = (place.folder / "rows.csv").read_text("utf-8").splitlines()
    named = [lines[0], *(f"{number % 2},{line.partition(',')[2]}" for number, line in enumerate(lines[1:]))]
    place.write("rows.csv", "\n".join(named).replace("sick", "target") + "\n")
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("TITRANT_HOME", str(place.home))
    monkeypatch.setattr(console, "can_ask", lambda: True)
    given = iter(["", "7"])
    monkeypatch.setattr(console, "ask", lambda prompt: next(given))
    assert main(["init", "net:Net", "--data", "rows.csv"]) == 2
    said = capsys.readouterr().err
    assert "data.label: which column holds the answer? rows.csv has 2 that could: `label`, `target`." in said
    assert "  1. label\n  2. target\n  3. none    there is none\n" in said
    assert "rows.csv has no column `7`" in said
    given = iter(["2"])
    assert main(["init", "net:Net", "--data", "rows.csv"]) == 0
    assert "  label: target\n" in (place.folder / "net.yaml").read_text("utf-8")
