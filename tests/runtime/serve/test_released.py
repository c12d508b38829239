"""A released folder answers raw rows by itself."""

import json
import shutil

import numpy as np
import pytest

from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.data.transforms import fit
from titrant.runtime.serve.released import load
from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.home import open_home
from titrant.runtime.store.run_folder import place_outputs, prepare_outputs
from titrant.runtime.values import OnnxModel, Transforms
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError
from titrant.schema.facts import HardwareIdentity
from titrant.schema.gate import Contract, Gate
from titrant.schema.plan import Candidate, CandidateSearch, Plan, Step

MACHINE = HardwareIdentity("linux", "x86_64", "toy", ("avx2", "avx512_vnni"), 2, None, (), "3.11.0", {})


def linear(path, weights, batch="batch"):
    """Write x @ weights as an ONNX file."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["features", "weights"], ["scores"])],
        "linear",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, weights.shape[0]])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, weights.shape[1]])],
        [helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.ravel())],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return OnnxModel(path)


@pytest.fixture
def release(tmp_path):
    """Release a model into a run folder as a run does."""

    def released(weights, point, *, classes=("benign", "malignant"), positive=1, batch="batch", folder="outputs",
                 kind="text", rung="", most_bytes=None, facts=None):  # fmt: skip
        store = Store(open_home(tmp_path / "home"))
        model = linear(tmp_path / "any.onnx", np.asarray(weights, "f4"), batch)
        scaled = fit((TransformStep(name="standardize", columns=("a",)),), {"a": np.array([8.0, 12.0])})
        transforms = Transforms(
            scaled, {"features": ("a", "b")}, {"features": "float32"}, classes, positive, class_kind=kind
        )
        artifacts = {
            "c.model": store.put("onnx", model),
            "transform.transforms": store.put("transforms", transforms),
            "point.point": store.put("value", point),
        }
        gates = () if most_bytes is None else (Gate("size", "target", "size", "all", "at_most", most_bytes, "", ""),)
        judged = Step("c.contract", "validate.contract", 1,
                      {"task": "binary_classification", "output": "", "kinds": {}}, {}, 1, "judge", "c")  # fmt: skip
        plan = Plan(
            name="toy", recipe_digest="", language=1, task="binary_classification", hardware=MACHINE, model_digest="",
            data_digest="", threads=1, timing_threads=1, deterministic=True, original="o.model",
            original_engine="onnxruntime", decisions=(), steps=(judged,),
            candidates=(Candidate("c", "none", "onnxruntime", "onnx", 0, "c.model", "", "", "c.contract.judgement"),),
            searches=(CandidateSearch("auto", "tumor", ("c",), ("latency",), 4, "t.timings", rung=rung),),
            contract=Contract(gates, 0.95, "evidence"),
            shipped={"transforms": "transform.transforms", "operating_point": "point.point"},
        )  # fmt: skip
        run = tmp_path / "run"
        run.mkdir(exist_ok=True)
        prepare_outputs(run / folder, plan, store, artifacts, {"tumor": "c"}, facts=facts or {})
        place_outputs(run / folder)
        return run

    return released


ARGMAX = {"kind": "argmax", "threshold": None, "source": ""}
ROWS = {"a": [14.0, 6.0, 10.0], "b": [0.0, 0.0, 1.0], "unused": ["x", "y", "z"]}
# Scores of the standardized rows (2, 0), (-2, 0), (0, 1).
WEIGHTS = [[0.0, 1.0], [0.0, -1.0]]


def frame(rows):
    import pandas as pd

    return pd.DataFrame(rows)


def test_says_nothing_of_itself_in_a_file_that_would_outgrow_its_contract_by_that(release, tmp_path):
    said, facts = [], {"c": {"verdict": "PASS"}}
    judged = linear(tmp_path / "judged.onnx", np.asarray(WEIGHTS, "f4")).path.stat().st_size
    for number, most_bytes in enumerate((judged, judged + 100, None)):
        folder = release(WEIGHTS, ARGMAX, folder=f"outputs{number}", most_bytes=most_bytes, facts=facts)
        (model,) = json.loads((folder / f"outputs{number}" / "titrant.json").read_text())["models"]
        said.append((model.get("stamp"), (folder / f"outputs{number}" / "tumor.onnx").stat().st_size == judged))
    assert said == [(None, True), (facts["c"], False), (facts["c"], False)]


@pytest.mark.parametrize("give", [dict, frame, lambda rows: np.array([rows["a"], rows["b"]]).T])
def test_answers_raw_rows_in_whatever_form_they_come(release, give):
    model = load(release(WEIGHTS, ARGMAX))
    answer = model(give(ROWS))
    assert model.judged_instructions == ("avx2", "avx512_vnni")
    np.testing.assert_allclose(answer.outputs["scores"][:, 1], [2, -2, -1])
    np.testing.assert_allclose(answer.probabilities[:, 1], 1 / (1 + np.exp([-2, 2, 1])))
    assert list(answer.decisions) == ["malignant", "benign", "benign"]


@pytest.mark.parametrize(
    ("kind", "classes", "expected"),
    [
        ("integer", ("0", "7"), np.array([7, 0, 0])),
        ("boolean", ("false", "true"), np.array([True, False, False])),
        ("text", ("007", "1"), np.array(["1", "007", "007"])),
    ],
)
def test_answers_with_classes_as_the_label_has_them(release, kind, classes, expected):
    decisions = load(release(WEIGHTS, ARGMAX, classes=classes, kind=kind))(ROWS).decisions
    assert decisions.dtype.kind == expected.dtype.kind
    assert decisions.tolist() == expected.tolist()


def test_gives_the_rung_that_is_asked_for(release):
    run = release(WEIGHTS, ARGMAX, rung="ort.static")
    assert [load(run).rung, load(run, rung="ort.static").rung] == ["ort.static", "ort.static"]
    with pytest.raises(RecipeError, match=r"X264: .* holds no rung none \(it holds ort.static\)"):
        load(run, rung="none")
    with pytest.raises(ValueError, match="give one of them"):
        load(run, rung="ort.static", name="tumor")


@pytest.mark.parametrize("rung", ["ort.static", ""])
def test_names_in_each_answer_the_variant_that_gave_it(release, rung):
    answer = load(release(WEIGHTS, ARGMAX, rung=rung))(ROWS)
    assert (answer.candidate, answer.rung) == ("c", rung)


def test_says_that_a_release_without_a_ladder_has_no_rungs(release):
    run = release(WEIGHTS, ARGMAX)
    assert load(run).rung == ""
    with pytest.raises(RecipeError, match=r"X264: .*quantization\.adapt"):
        load(run, rung="none")


def test_decides_at_the_operating_point(release):
    model = load(release(WEIGHTS, {"kind": "threshold", "threshold": 0.25, "source": ""}))
    assert list(model(ROWS).decisions) == ["malignant", "benign", "malignant"]


def test_takes_the_first_class_as_critical_where_the_data_says_so(release):
    point = {"kind": "threshold", "threshold": 0.9, "source": ""}
    model = load(release(WEIGHTS, point, classes=("malignant", "benign"), positive=0))
    # Of these, the first class has the probabilities .12, .88 and .73.
    assert list(model(ROWS).decisions) == ["benign", "benign", "benign"]


def test_reads_a_single_column_as_the_score_of_the_critical_class(release):
    model = load(release([[1.0], [0.0]], ARGMAX))
    np.testing.assert_allclose(model(ROWS).probabilities[:, 1], 1 / (1 + np.exp([-2, 2, 0])), rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_gives_the_same_answers_for_every_batch_size(release, batch):
    assert list(load(release(WEIGHTS, ARGMAX))(ROWS, batch=batch).decisions) == ["malignant", "benign", "benign"]


def test_fills_up_batches_for_a_file_that_insists_on_a_size(release):
    assert len(load(release(WEIGHTS, ARGMAX, batch=2))(ROWS).decisions) == 3


def centred(path, batch):
    """Write x less the batch's mean as an ONNX file: an answer depends on who shares the batch."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["features"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["features", "mean"], ["scores"]),
        ],
        "centred",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 2])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return OnnxModel(path)


def test_answers_as_it_was_judged_even_where_batches_are_filled_up(release, tmp_path, monkeypatch):
    from titrant.runtime.backends.session import predict_rows
    from titrant.runtime.values import Rows

    monkeypatch.setitem(globals(), "linear", lambda path, _, batch: centred(path, batch))
    rows = {"a": np.linspace(6.0, 14.0, 6), "b": np.array([0.0, 3.0, 1.0, 7.0, 2.0, 9.0])}
    answer = load(release(WEIGHTS, ARGMAX, batch=4))(rows)
    scaled = np.stack([(rows["a"] - 10) / 2, rows["b"]], axis=1).astype(np.float32)
    numbers = np.arange(6)
    judged = predict_rows(
        OnnxModel(tmp_path / "any.onnx"), Rows("evaluation", {"features": scaled}, None, numbers, numbers),
        engine_name="onnxruntime", threads=1, batch=64, device="cpu", progress=lambda *_: None,
    )  # fmt: skip
    np.testing.assert_allclose(answer.outputs["scores"], judged.arrays["scores"], atol=1e-6)


def test_decides_nothing_from_an_answer_that_is_not_a_number(release):
    with pytest.raises(StepError, match=r"X401.*NaN or infinite for 1 of 3 rows"):
        load(release([[1e38, 0.0], [0.0, 0.0]], ARGMAX))(ROWS | {"a": [10.0, 10.0, 1e3]})


def test_says_that_there_are_no_rows(release):
    with pytest.raises(StepError, match="X342: there are no rows"):
        load(release(WEIGHTS, ARGMAX))({"a": [], "b": []})


def test_works_from_a_copy_of_the_outputs_folder_alone(release, tmp_path):
    copied = shutil.copytree(release(WEIGHTS, ARGMAX) / "outputs", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "home")
    assert (copied / "tumor.onnx").is_file()
    about = json.loads((copied / "titrant.json").read_text())
    assert about["data"]["classes"] == ["benign", "malignant"]
    assert list(load(copied)(ROWS).decisions) == ["malignant", "benign", "benign"]


def test_refuses_a_file_that_is_not_what_was_released(release):
    run = release(WEIGHTS, ARGMAX)
    (run / "outputs" / "operating_point.json").write_text(json.dumps(ARGMAX | {"threshold": 0.1}))
    with pytest.raises(StepError, match=r"operating_point\.json is not the file that was released"):
        load(run)


def test_refuses_what_lies_in_quarantine(release):
    with pytest.raises(RecipeError, match="did not keep its contract"):
        load(release(WEIGHTS, ARGMAX, folder="quarantine"))


def test_names_the_models_that_there_are(release):
    with pytest.raises(RecipeError, match=r"holds no model named x.*it holds tumor"):
        load(release(WEIGHTS, ARGMAX), name="x")


def test_says_what_form_rows_must_have(release):
    with pytest.raises(StepError, match=r"rows of shape \(3,\) .* with a, b"):
        load(release(WEIGHTS, ARGMAX))([1, 2, 3])


def test_names_a_missing_column(release):
    with pytest.raises(RecipeError, match="b"):
        load(release(WEIGHTS, ARGMAX))({"a": [1.0]})


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"files": 5}'])
def test_says_that_the_list_of_released_files_is_damaged(release, text):
    run = release(WEIGHTS, ARGMAX)
    (run / "outputs" / "titrant.json").write_text(text)
    with pytest.raises(StepError, match=r"X341: .*titrant\.json"):
        load(run)


def test_refuses_columns_of_different_lengths(release):
    with pytest.raises(StepError, match="X342: the columns differ in length: 1, 2 rows"):
        load(release(WEIGHTS, ARGMAX))({"a": [1.0, 2.0], "b": [1.0], "unused": [1.0, 2.0, 3.0]})


def test_refuses_numbers_that_mean_nothing_and_a_model_that_was_closed(release):
    run = release(WEIGHTS, ARGMAX)
    with pytest.raises(ValueError, match="threads is a whole number, 1 or more, not 0"):
        load(run, threads=0)
    with load(run) as model, pytest.raises(ValueError, match="batch is a whole number"):
        model(ROWS, batch=0)
    model.close()
    with pytest.raises(ValueError, match="was closed"):
        model(ROWS)
