"""Two models in memory are judged on rows in memory: released, or kept back with exit 5, as a recipe would."""

import os
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd  # noqa: TID253 - what people hold
import pytest

import titrant
from titrant.api.live.rows_to_judge import recipe_of
from titrant.schema.diagnostics.diagnostics import RecipeError, TitrantError

torch = pytest.importorskip("torch")

S, Rows = titrant.sections, titrant.RowsToJudge
DRAWN = np.random.default_rng(0)
SICK = DRAWN.integers(0, 2, 1500)
X = (DRAWN.normal(size=(1500, 4)) + SICK[:, None] * 1.2).astype(np.float32)
SEX = np.where(DRAWN.integers(0, 2, 1500) > 0, "F", "M")
ROWS = Rows("binary_classification", {"x": X}, SICK, contract=S.Validation(retention=0.9), positive=1)


def net(scale=1.0):
    """What tells the sick from the healthy by the sum of four numbers."""
    module = torch.nn.Linear(4, 2)
    module.weight.data = torch.tensor([[-scale] * 4, [scale] * 4])
    module.bias.data = torch.tensor([2.4, -2.4])
    return torch.nn.Sequential(module)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory, warm_workers):
    place = tmp_path_factory.mktemp("home")
    with mock.patch.dict(os.environ, {"TITRANT_HOME": str(place)}):
        yield place


def test_releases_a_live_model_that_keeps_the_contract(home):
    original, smaller = net(), net(1.002)
    rows = replace(ROWS, subgroups={"sex": SEX})
    record = titrant.validate(original, smaller, rows)
    assert (record.verdict, record.exit, record.released) == ("PASS", 0, ("given",))
    assert original.training
    assert smaller.training
    folder = home / "runs" / record.run
    assert (folder / "report.html").is_file()
    again = titrant.validate(original, smaller, rows)
    assert again.run == record.run


def test_keeps_back_one_that_does_not(tmp_path):
    file = titrant.export(net(), "onnx", tmp_path / "original.onnx", inputs={"input": X[:4]}).path
    broken = titrant.export(net(-1.0), "onnx", tmp_path / "broken.onnx", inputs={"input": X[:4]}).path
    record = titrant.validate(file, broken, replace(ROWS, rows={"input": torch.from_numpy(X)}))
    assert (record.verdict, record.exit, record.released) == ("FAIL", 5, ())


@pytest.mark.parametrize("handed", ["value", "path"])
def test_judges_what_apply_made_of_a_live_module(handed, tmp_path):
    """Of one output on each side names do not decide: a module answers logits, and the file says output."""
    original = net()
    made = titrant.apply("quantize.ort_dynamic", original, rows={"input": X[:4]}, scratch=tmp_path).outputs["model"]
    rows = replace(ROWS, rows={"input": X})
    record = titrant.validate(original, made if handed == "value" else made.path, rows)
    assert (record.exit, record.released) == (0, ("given",))
    answer = titrant.load(record.run)({"input": X[:9]})
    assert list(answer.outputs) == ["output"]
    assert answer.decisions.tolist() == net()(torch.from_numpy(X[:9])).argmax(1).tolist()


def test_judges_a_module_that_apply_rewrote():
    made = titrant.apply("prune.magnitude", net(), {"sparsity": 0.0}, rows={"input": X[:4]}).outputs["model"]
    assert titrant.validate(net(), made, replace(ROWS, rows={"input": X})).released == ("given",)


@pytest.mark.parametrize(("original", "rows", "words"), [
    (net(), replace(ROWS, labels=SICK[:100]), "X623: there are 1500 rows, and 100 values of label"),
    (net(), replace(ROWS, labels=None), "X623: binary_classification is judged by labels"),
    (net(), replace(ROWS, subgroups={"sex": SEX[1:]}), "X623: there are 1500 rows, and 1499 values of sex"),
    (net(), replace(ROWS, subgroups={"age": X[:, 0]}), r"X623: age holds fractions.*np\.digitize"),
    (net(), replace(ROWS, subgroups={"x": SEX}), "X623: x is an input of the model"),
    (net(), replace(ROWS, contract=S.Validation(bias=0.8)), r"R110: `bias` compares subgroups"),
    (net(), replace(ROWS, rows=(row for row in X)), "X232: rows: the rows are a generator"),
    (net(), {"x": X}, "X623: .*RowsToJudge, and this is of type dict"),
    ("recipe", ROWS, "X623: there is no recipe whose model"),
    (Path("missing.onnx"), ROWS, "P142: there is no file"),
    (len, ROWS, "X621: the original is a builtin_function_or_method"),
])  # fmt: skip
def test_says_what_does_not_go_together(original, rows, words):
    with pytest.raises(RecipeError, match=words):
        titrant.validate(original, net(), rows)


def test_knows_no_other_task_or_level():
    with pytest.raises(RecipeError, match=r"X623: there is no task binary_clasification \(did you mean binary_class"):
        titrant.RowsToJudge("binary_clasification", {"x": X})
    with pytest.raises(RecipeError, match=r"X623: there is no level best \(one of auto, minimal"):
        replace(ROWS, level="best")
    with pytest.raises(RecipeError, match=r"X623: classes is the text 'ab', and lists the classes"):
        replace(ROWS, classes="ab")


def test_takes_the_order_of_classes_and_leaves_missing_numbers_in_no_group(tmp_path):
    ward = np.where(SICK > 0, 2.0, np.nan)
    asked = replace(ROWS, labels=np.array(["well", "sick"])[SICK], positive="sick", subgroups={"ward": ward})
    made = recipe_of(replace(asked, classes=["well", "sick"]), {"onnx": "net.onnx"}, tmp_path).recipe.data
    assert (made.classes, made.subgroups["ward"].values) == (("well", "sick"), {"2.0": (2.0,)})


@pytest.mark.parametrize("kind", ["object", "string", "category"])
def test_takes_text_as_pandas_holds_it(kind, tmp_path):
    """An array of Python objects would be pickled, and refused as a file that nobody wrote."""
    sick, ward = pd.Series(np.array(["well", "sick"])[SICK]), pd.Series(np.array(["a", "b"])[SICK])
    ward[:9] = None
    asked = replace(ROWS, labels=sick.astype(kind), positive="sick", units=ward.fillna("c").astype(kind))
    made = recipe_of(replace(asked, subgroups={"ward": ward.astype(kind)}), {"onnx": "net.onnx"}, tmp_path).recipe.data
    assert made.subgroups["ward"].values == {"a": ("a",), "b": ("b",)}
    with np.load(made.source.npz) as kept:
        assert kept["label"].tolist() == sick.tolist()
        assert kept["ward"][:9].tolist() == [""] * 9


def test_takes_one_class_a_row_in_a_column_for_one_class_a_row(tmp_path):
    made = recipe_of(replace(ROWS, labels=SICK[:, None]), {"onnx": "net.onnx"}, tmp_path).recipe.data
    assert made.split.stratify
    with pytest.raises(TitrantError, match="label holds mixed int, str"):
        recipe_of(replace(ROWS, labels=np.array(["a", 1] * 750, object)), {"onnx": "net.onnx"}, tmp_path)


def test_tokens_and_embeddings_need_no_labels(tmp_path):
    tokens = DRAWN.integers(0, 9, (64, 6))
    for task, rows in (("language_modeling", {"tokens": tokens}), ("embedding", {"x": X[:64]})):
        judged = recipe_of(Rows(task, rows), {"onnx": "net.onnx"}, tmp_path).recipe
        assert (judged.task, judged.data.label) == (task, None)
    with pytest.raises(RecipeError, match="X623: segmentation is judged by labels"):
        recipe_of(Rows("segmentation", {"x": X}), {"onnx": "net.onnx"}, tmp_path)
