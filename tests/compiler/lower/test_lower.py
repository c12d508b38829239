"""Lowering: the steps that recipes and decisions become."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.decide.rule import Chain, ExportRequest
from titrant.compiler.lower.lower import lower
from titrant.compiler.lower.verify import problems
from titrant.compiler.passes import passes
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.facts import Layer
from titrant.schema.gate import Gate
from titrant.schema.plan import identity, plan_digest

HERE = Path(__file__).parents[1]
specification = importlib.util.spec_from_file_location("small_recipes", HERE / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)

FIT = {"epochs": 2}
IR = Chain("ir", "none", None, "openvino", "openvino", 0)


def lowered(folder, *chains, text=small.TABULAR, model=small.MODEL, files=None, **choices):
    bound = small.bind(text, folder, **(files or {}))
    return lower(bound, small.decisions(*chains, **choices), small.HARDWARE, model, small.DATA)


def compiled(*args, **choices):
    return passes.run(lowered(*args, **choices))


def ids(plan, stage=None):
    return [step.id for step in plan.steps if stage in (None, step.stage)]


def by_id(plan, identifier):
    return next(step for step in plan.steps if step.id == identifier)


def detector(folder, *chains, **choices):
    return lowered(
        folder, *chains, text=small.UNLABELED, model=small.ONNX, files={"model__onnx": "detector.onnx"},
        original_engine="onnxruntime", **choices,
    )  # fmt: skip


def test_lowers_a_recipe_with_training_to_steps_as_people_would_name_them(tmp_path):
    plan = compiled(tmp_path, small.PLAIN, small.DYNAMIC, small.STATIC, training=FIT)
    assert ids(plan) == [
        "load", "split", "transform", "model", "fit", "original.repeats", "baseline.tuning", "point",
        "original.reference", "onnx", "onnx.executed", "onnx.tuning", "onnx.quality",
        "onnx.ort.dynamic", "onnx.ort.dynamic.executed",
        "onnx.ort.dynamic.tuning", "onnx.ort.dynamic.quality",
        "onnx.ort.static", "onnx.ort.static.executed",
        "onnx.ort.static.tuning", "onnx.ort.static.quality",
        "latency", "baseline.evaluation",
        "onnx.repeats", "onnx.invariance", "onnx.evaluation", "onnx.contract",
        "onnx.ort.dynamic.repeats", "onnx.ort.dynamic.invariance", "onnx.ort.dynamic.evaluation",
        "onnx.ort.dynamic.contract",
        "onnx.ort.static.repeats", "onnx.ort.static.invariance", "onnx.ort.static.evaluation",
        "onnx.ort.static.contract", "report",
    ]  # fmt: skip
    assert plan.original == "fit.model"
    assert plan.warnings == ("a warning",)


def test_tries_more_rows_in_other_company_where_scales_are_found_from_the_batch_or_a_gate_asks(tmp_path):
    plan = compiled(tmp_path, small.PLAIN, small.DYNAMIC, small.STATIC, training=FIT)
    tried = {step.id: step.params["rows"] for step in plan.steps if step.operator == "validate.batch_invariance"}
    assert tried == {"onnx.invariance": 32, "onnx.ort.dynamic.invariance": 256, "onnx.ort.static.invariance": 32}
    company = Gate("b", "batch_invariance", "batch_invariance", "all", "at_least", 0.98, "exact_binomial", "here")
    gated = compiled(tmp_path, small.PLAIN, training=FIT, gates=(small.RETENTION, company))
    step = by_id(gated, "onnx.company")
    assert (step.params["rows"], step.inputs["rows"], step.stage) == (512, "transform.evaluation", "judge")
    assert by_id(gated, "onnx.contract").inputs["invariance"] == "onnx.company.invariance"
    many = compiled(tmp_path, small.PLAIN, training=FIT, gates=(replace(company, needed_cases=900),))
    assert by_id(many, "onnx.company").params["rows"] == 900


def test_judges_the_original_by_its_own_gates_in_a_step_of_the_plan(tmp_path):
    asked = Gate("baseline", "baseline", "accuracy", "all", "at_least", 0.9, "exact_binomial", "x.yaml:1:1")
    plan = compiled(tmp_path, small.PLAIN, small.STATIC, training=FIT, gates=(small.RETENTION, asked, small.LATENCY))
    assert plan.original_judgement == "original.contract.judgement"
    step = by_id(plan, "original.contract")
    assert (step.stage, step.candidate, step.inputs["model"]) == ("judge", "", plan.original)
    assert step.inputs["original"] == step.inputs["candidate"] == "baseline.evaluation.outputs"
    assert "timings" not in step.inputs
    assert (step.params["candidate"], [gate["id"] for gate in step.params["gates"]]) == ("original", ["baseline"])
    judged = [gate["id"] for gate in by_id(plan, "onnx.contract").params["gates"]]
    assert judged == ["retention", "baseline", "latency"]
    assert problems(replace(plan, original_judgement="nobody.judgement")) == (
        "the original's judgement is nobody.judgement, which no step gives",
    )


def test_asks_nothing_of_the_original_without_a_gate_of_its_own(tmp_path):
    plan = compiled(tmp_path, small.PLAIN, training=FIT)
    assert plan.original_judgement == ""
    assert "original.contract" not in ids(plan)
    assert "original_judgement" not in identity(plan)


def test_judges_the_original_on_tuning_rows_by_what_it_can_miss_as_a_candidate_can(tmp_path):
    limit = Gate("floor", "gates", "sensitivity", "all", "at_least", 0.9, "exact_binomial", "x.yaml:1:1")
    kept = replace(limit, id="kept", metric="kept")
    gates = (small.RETENTION, limit, kept, small.LATENCY)
    plan = compiled(tmp_path, small.PLAIN, small.STATIC, training=FIT, gates=gates)
    assert plan.original_limits == "original.limits.judgement"
    step = by_id(plan, "original.limits")
    assert (step.stage, step.candidate, step.inputs["rows"]) == ("prepare", "", "transform.tuning")
    assert step.inputs["original"] == step.inputs["candidate"] == "baseline.tuning.outputs"
    assert [gate["id"] for gate in step.params["gates"]] == ["floor"]
    assert ids(plan).index("original.limits") < ids(plan).index("onnx")
    assert problems(replace(plan, original_limits="nobody.judgement")) == (
        "what the original misses is nobody.judgement, which no step gives",
    )
    without = compiled(tmp_path, small.PLAIN, training=FIT, gates=(small.RETENTION, kept))
    assert (without.original_limits, "original_limits" in identity(without)) == ("", False)


def test_exports_once_for_all_methods_that_take_onnx(tmp_path):
    plan = compiled(tmp_path, small.DYNAMIC, small.STATIC, training=FIT)
    assert [step.id for step in plan.steps if step.operator == "export.onnx"] == ["onnx"]
    assert by_id(plan, "onnx.ort.static").inputs == {"model": "onnx.model", "calibration": "transform.calibration"}
    assert by_id(plan, "onnx").inputs == {"model": "fit.model", "example": "transform.tuning"}


def test_makes_the_file_that_a_mixture_is_searched_with_before_the_search(tmp_path):
    mixed = replace(small.STATIC, id="onnx.ort.static.mix1", mends=small.STATIC.id, mix=1, bits=8)
    plan = lowered(tmp_path, small.STATIC, mixed, training=FIT)
    assert problems(plan) == ()
    order, searching = ids(plan), by_id(plan, f"{plan.candidates[-1].id}.sensitivity")
    assert order.index(searching.inputs["model"].rpartition(".")[0]) < order.index(searching.id)


def test_times_the_original_and_every_candidate_together(tmp_path):
    latency = by_id(lowered(tmp_path, small.PLAIN, small.SCRIPT, training=FIT), "latency")
    assert latency.inputs["models"] == {
        "original": "fit.model", "onnx": "onnx.model", "torchscript": "torchscript.model",
    }  # fmt: skip
    assert latency.params["engines"] == {"original": "torch", "onnx": "onnxruntime", "torchscript": "torch"}
    assert latency.params["batches"] == [1, 8]


def test_fuses_before_torchscript_only_where_there_is_batch_normalization(tmp_path):
    normalized = replace(small.MODEL, layers=(*small.MODEL.layers, Layer("bn", "BatchNorm2d", 4, 16, (2,))))
    with_fuse = lowered(tmp_path, small.SCRIPT, model=normalized, training=FIT)
    assert by_id(with_fuse, "torchscript").inputs["model"] == "torchscript.fused.model"
    kept = passes.run(with_fuse, passes.standard(normalized))
    assert by_id(kept, "torchscript").inputs["model"] == "torchscript.fused.model"
    plain = passes.run(lowered(tmp_path, small.SCRIPT, training=FIT), passes.standard(small.MODEL))
    assert "torchscript.fused" not in ids(plain)
    assert by_id(plain, "torchscript").inputs["model"] == "fit.model"
    assert "onnx.fused" not in ids(lowered(tmp_path, small.PLAIN, model=normalized, training=FIT))


def test_takes_a_given_model_as_the_original_when_nothing_trains(tmp_path):
    files = {"model__weights": "net.safetensors", "data__sources__a__csv": "a.csv", "data__sources__b__npz": "b.npz"}
    plan = compiled(tmp_path, small.PLAIN, text=small.PARTS, files=files)
    assert plan.original == "model.model"
    assert "fit" not in ids(plan)


def test_lowers_an_onnx_model_without_labels_by_the_same_way(tmp_path):
    plan = passes.run(detector(tmp_path, small.PLAIN, replace(small.STATIC, id="ort.static")))
    assert ids(plan, "make") == [
        "onnx.executed", "onnx.quality", "ort.static", "ort.static.executed", "ort.static.tuning", "ort.static.quality",
    ]  # fmt: skip
    assert plan.candidates[0].answers == "baseline.tuning.outputs"
    assert plan.candidates[0].repeats == "original.repeats.repeats"
    assert plan.fitness == ("original.repeats.repeats", "original.reference.reference")
    assert plan.candidates[0].model == plan.original == "model.model"
    assert plan.candidates[0].predicted_bytes == 400
    assert by_id(plan, "ort.static").inputs["model"] == "model.model"
    assert by_id(plan, "load").params["random"] == [
        {"name": "image", "shape": ["batch", 3, 32, 32], "dtype": "float32"}
    ]


def test_says_what_cannot_be_converted(tmp_path):
    with pytest.raises(InfeasibleError, match="P020: torchscript: nothing here turns onnx into torchscript"):
        detector(tmp_path, small.SCRIPT)


def test_makes_one_search_for_each_requested_file(tmp_path):
    requests = (ExportRequest("onnx", "model", 17), ExportRequest("torchscript", "script"))
    plan = compiled(tmp_path, small.PLAIN, small.STATIC, small.SCRIPT, exports=requests, training=FIT)
    assert [(search.name, search.candidates) for search in plan.searches] == [
        ("model", ("onnx", "onnx.ort.static")),
        ("script", ("torchscript",)),
    ]
    assert by_id(plan, "onnx").params["opset"] == 17


def test_makes_another_candidate_for_another_opset_of_one_format(tmp_path):
    requests = (ExportRequest("onnx", "old", 15), ExportRequest("onnx", "new", 18))
    plan = compiled(tmp_path, small.PLAIN, exports=requests, training=FIT)
    assert [search.candidates for search in plan.searches] == [("onnx",), ("onnx.opset18",)]
    assert by_id(plan, "onnx.opset18").params["opset"] == 18


def test_lets_a_judgement_depend_on_timings_only_for_a_gate_about_time(tmp_path):
    assert "timings" not in by_id(lowered(tmp_path, small.PLAIN, training=FIT), "onnx.contract").inputs
    timed = lowered(tmp_path, small.PLAIN, training=FIT, gates=(small.RETENTION, small.LATENCY))
    assert by_id(timed, "onnx.contract").inputs["timings"] == "onnx.latency.timings"
    assert problems(timed) == ()


def test_judges_time_on_runs_of_the_candidate_and_the_original_that_chose_nothing(tmp_path):
    gates = (small.RETENTION, small.LATENCY)
    plan = compiled(tmp_path, small.PLAIN, small.STATIC, training=FIT, gates=gates)
    anew = by_id(plan, "onnx.ort.static.latency")
    assert (anew.stage, anew.candidate) == ("judge", "onnx.ort.static")
    assert anew.inputs == {
        "models": {"original": "fit.model", "onnx": "onnx.model", "onnx.ort.static": "onnx.ort.static.model"},
        "rows": "transform.evaluation",
    }  # fmt: skip
    assert by_id(plan, "onnx.latency").inputs["models"] == {"original": "fit.model", "onnx": "onnx.model"}
    assert anew.params["batches"] == [1]
    chose = by_id(plan, "latency")
    assert {name: anew.params[name] for name in ("threads", "device", "iterations", "warmup")} == {
        name: chose.params[name] for name in ("threads", "device", "iterations", "warmup")
    }
    memory = replace(small.LATENCY, id="memory", metric="peak_memory", unit="B")
    both = compiled(tmp_path, small.PLAIN, training=FIT, gates=(*gates, memory))
    assert by_id(both, "onnx.latency").params["batches"] == [1, 8]


def plain_names(plan):
    return {candidate.id: candidate.plain for candidate in plan.candidates}


def test_times_a_plain_conversion_beside_a_named_method_and_makes_no_candidate_of_it(tmp_path):
    beside = replace(small.PLAIN, id="onnx-fp32")
    gates = (small.RETENTION, small.LATENCY)
    plan = compiled(tmp_path, small.STATIC, plain=(beside,), training=FIT, gates=gates)
    assert plain_names(plan) == {"onnx.ort.static": "onnx-fp32"}
    assert [search.candidates for search in plan.searches] == [("onnx.ort.static",)]
    # The export is made once: the method starts from the same file.
    assert [step.id for step in plan.steps if step.operator == "export.onnx"] == ["onnx-fp32"]
    assert [step for step in plan.steps if step.id.startswith("onnx-fp32.")] == []
    models = {"original": "fit.model", "onnx-fp32": "onnx-fp32.model", "onnx.ort.static": "onnx.ort.static.model"}
    assert by_id(plan, "latency").inputs["models"] == models
    assert by_id(plan, "onnx.ort.static.latency").inputs["models"] == models
    assert by_id(plan, "latency").params["engines"]["onnx-fp32"] == "onnxruntime"
    assert by_id(plan, "latency").params["chooses"]
    assert by_id(plan, "latency").params["beside"] == ["onnx-fp32"]
    assert {"chooses", "beside"}.isdisjoint(by_id(plan, "onnx.ort.static.latency").params)
    assert problems(plan) == ()


def test_compares_with_the_plain_candidate_where_there_is_one(tmp_path):
    plan = compiled(tmp_path, small.PLAIN, small.STATIC, small.SCRIPT, training=FIT)
    assert plain_names(plan) == {"onnx": "", "onnx.ort.static": "onnx", "torchscript": ""}
    assert set(by_id(plan, "latency").inputs["models"]) == {"original", "onnx", "onnx.ort.static", "torchscript"}
    assert "beside" not in by_id(plan, "latency").params  # it competes


def test_compares_with_the_original_where_the_engine_runs_it_as_it_is(tmp_path):
    assert plain_names(detector(tmp_path, small.STATIC)) == {"onnx.ort.static": "original"}


def test_times_a_plain_conversion_of_the_same_opset(tmp_path):
    requests = (ExportRequest("onnx", "old", 15), ExportRequest("onnx", "new", 18))
    beside = replace(small.PLAIN, id="onnx-fp32")
    plan = compiled(tmp_path, small.STATIC, plain=(beside,), exports=requests, training=FIT)
    assert plain_names(plan) == {"onnx.ort.static": "onnx-fp32", "onnx.ort.static.opset18": "onnx-fp32.opset18"}
    assert by_id(plan, "onnx-fp32.opset18").params["opset"] == 18


def test_writes_the_parameters_of_a_step_in_full(tmp_path):
    plan = lowered(tmp_path, small.PLAIN, training=FIT)
    assert by_id(plan, "split").params["overlap"] == "error"
    assert by_id(plan, "model").params["args"] == {"features": 30, "classes": 2}
    assert by_id(plan, "model").params["outputs"] == [{"name": "logits", "shape": ["batch", 2], "dtype": "float32"}]
    assert by_id(plan, "onnx.contract").params["gates"][0]["threshold"] == 0.95
    assert all(step.seed == 42 for step in plan.steps)


def test_hands_a_method_its_options_and_width(tmp_path):
    chain = replace(small.STATIC, options={"reduce_range": True})
    assert by_id(lowered(tmp_path, chain, training=FIT), chain.id).params["reduce_range"] is True


def test_casts_and_then_exports(tmp_path):
    cast = Chain("onnx.cast", "cast", 16, "onnxruntime", "onnx", 1)
    plan = lowered(tmp_path, cast, training=FIT)
    assert by_id(plan, "onnx.cast").inputs == {"model": "fit.model"}
    assert by_id(plan, "onnx.cast.onnx").inputs["model"] == "onnx.cast.model"
    assert plan.candidates[0].model == "onnx.cast.onnx.model"


def test_has_an_identity_that_neither_paths_nor_reasons_enter(tmp_path):
    text = small.PARTS
    digests = set()
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "renamed").write_bytes(b"a.csv")
        files = {"model__weights": "net.safetensors", "data__sources__a__csv": "renamed", "data__sources__b__npz": "b"}
        plan = lowered(folder, small.PLAIN, text=text, files=files)
        assert str(folder) in json.dumps(by_id(plan, "load").params)
        assert str(folder) not in json.dumps(identity(plan))
        digests.add(plan_digest(plan))
    assert len(digests) == 1


def test_gives_the_same_identity_in_every_process_folder_and_time_zone(tmp_path):
    code = f"""
import sys, pathlib
sys.path.insert(0, {str(HERE)!r})
import small_recipes as small
from titrant.compiler.passes import passes
from titrant.compiler.lower.lower import lower
from titrant.schema.values.canonical import canonical_json
from titrant.schema.plan import identity
bound = small.bind(small.TABULAR, pathlib.Path({str(tmp_path)!r}))
chosen = small.decisions(small.PLAIN, small.DYNAMIC, small.STATIC, training={FIT!r})
print(canonical_json(identity(passes.run(lower(bound, chosen, small.HARDWARE, small.MODEL, small.DATA)))))
heavy = {{"torch", "onnx", "onnxruntime", "sklearn", "scipy", "pandas", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""
    answers = set()
    for zone, folder, seed in (("UTC", "/", "1"), ("Asia/Tokyo", str(tmp_path), "2")):
        environment = {"TZ": zone, "PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        answers.add(done.stdout)
    assert len(answers) == 1


def test_knows_an_output_without_a_name_by_its_place(tmp_path):
    text = small.TABULAR.replace("model:\n", "model:\n  output: {kind: probabilities}\n")
    assert text != small.TABULAR
    plan = lowered(tmp_path, small.PLAIN, text=text, training=FIT)
    name = small.MODEL.outputs[0].name
    for step in ("point", "onnx.quality", "onnx.contract"):
        params = by_id(plan, step).params
        assert (params["output"], params["kinds"]) == (name, {name: "probabilities"}), step


def test_takes_other_loaded_transforms_for_another_thing_to_be_judged(tmp_path):
    def judged(name, content):
        (tmp_path / name).write_text(content)
        text = small.TABULAR.replace("transform: [standardize]", f"transform_from: {name}")
        files = {"data__transform_from": name}
        return lowered(tmp_path, small.PLAIN, text=text, training=FIT, files=files).judged

    first = judged("one.onnx", "of one training")
    assert judged("copy.onnx", "of one training") == first
    assert judged("one.onnx", "of another training") != first


def test_settles_the_layers_of_a_mixture_between_the_float_graph_and_its_method(tmp_path):
    mixture = replace(small.STATIC, id="onnx.ort.static.mix1", mends=small.STATIC.id, mix=1)
    plan = compiled(tmp_path, small.PLAIN, small.STATIC, mixture, training=FIT)
    order = {step.id: place for place, step in enumerate(plan.steps)}
    making = by_id(plan, mixture.id)
    read = by_id(plan, making.inputs["allocation"].rpartition(".")[0])
    assert order[making.inputs["model"].rpartition(".")[0]] < order[read.id] < order[making.id]
    assert problems(plan) == ()


@pytest.mark.parametrize(("least", "named"), [(5, None), (30, None), (31, 31)])
def test_names_no_stratum_of_fewer_cases_than_the_report_shows(tmp_path, least, named):
    text = small.TABULAR.replace("data:\n", "data:\n  strata: site\n") + f"report: {{min_cell: {least}}}\n"
    params = by_id(lowered(tmp_path, small.PLAIN, text=text, training=FIT), "onnx.contract").params
    assert params["stratified"] is True
    assert params.get("named_from") == named


def test_calls_plots_of_the_users_own_for_the_original_and_each_candidate(tmp_path):
    (tmp_path / "figures.py").write_text("def one(cases): return {}\n")
    text = f"{small.TABULAR}report: {{plots: ['figures:one']}}\n"
    plan = compiled(tmp_path, small.PLAIN, text=text, training=FIT)
    steps = [step for step in plan.steps if step.stage == "observe"]
    assert [(step.id, step.params["subject"], step.params["engine"]) for step in steps] == [
        ("original.plots", "original", "torch"), ("onnx.plots", "onnx", "onnxruntime"),
    ]  # fmt: skip
    assert {step.because for step in steps} == {"report.plots"}
    assert all(step.params["functions"] == ["figures:one"] for step in steps)


def test_looks_inside_each_file_that_the_operator_takes(tmp_path):
    plan = compiled(tmp_path, text=f"{small.TABULAR}inspect: {{summary: true}}\n")
    (step,) = [step for step in plan.steps if step.stage == "observe"]
    assert (step.id, step.operator, step.candidate, step.because) == (
        "original.summary", "inspect.summary", "", "inspect.summary"
    )  # fmt: skip
    assert step.inputs == {"model": plan.original}
    assert ids(compiled(tmp_path), "observe") == []


def test_names_what_was_asked_to_be_looked_at_and_cannot_be(tmp_path):
    plan = compiled(tmp_path, IR, text=f"{small.TABULAR}inspect: {{summary: true}}\n", training=FIT)
    reason = "it is an OpenVINO IR, and inspect.summary reads a torch module, ONNX, TorchScript, torch.export"
    assert plan.unobserved == {"inspect.summary": {"ir": reason}}
    assert "unobserved" not in identity(plan)


@pytest.mark.parametrize(("keys", "because", "trace"), [
    ("layers: true", "profile.layers", False), ("trace: true", "profile.trace", True),
    ("layers: true, trace: true", "profile.layers", True),
])  # fmt: skip
def test_times_the_layers_of_the_original_and_of_every_candidate_in_its_engine(tmp_path, keys, because, trace):
    text = f"{small.TABULAR}profile: {{{keys}}}\ntarget: {{latency: {{p95: 5 ms, batch: 4}}}}\n"
    plan = compiled(tmp_path, small.PLAIN, text=text, training=FIT)
    original, candidate = [step for step in plan.steps if step.stage == "observe"]
    assert (original.id, candidate.id, candidate.candidate) == ("original.layers", "onnx.layers", "onnx")
    assert {original.because, candidate.because} == {because}
    assert (original.params["engine"], candidate.params["engine"]) == ("torch", "onnxruntime")
    assert candidate.params["batch"] == 4
    assert candidate.params["trace"] is trace
    assert original.params["layers"] == {}  # its own
    assert candidate.params["layers"] == {layer.name: layer.type for layer in small.MODEL.layers}
    assert candidate.inputs["rows"] == "transform.tuning"


def test_looks_at_health_and_attention_on_tuning_rows_and_names_tokens_only_where_the_report_may(tmp_path):
    asked = "inspect: {health: true, attention: true}\n"
    plan = compiled(tmp_path, text=f"{small.TABULAR}{asked}report: {{tokens: true}}\n")
    steps = {step.id: step for step in plan.steps if step.stage == "observe"}
    assert steps["original.health"].inputs["rows"] == "transform.tuning"
    assert {step.params.get("tokens") for step in steps.values() if step.operator == "inspect.attention"} == {True}
    plan = compiled(tmp_path, text=f"{small.TABULAR}{asked}")
    steps = [step for step in plan.steps if step.operator == "inspect.attention"]
    assert not any(step.params.get("tokens") for step in steps)


@pytest.mark.parametrize(
    ("asked", "is_same"),
    [("{layout: contiguous}", True), ("{offload: auto}", True), ("{layout: channels_last}", False)],
)
def test_takes_another_layout_for_another_model_to_be_judged(asked, is_same, tmp_path):
    plain = lowered(tmp_path, small.PLAIN, training=FIT).judged
    other = lowered(tmp_path, small.PLAIN, text=f"{small.TABULAR}memory: {asked}\n", training=FIT).judged
    assert (other == plain) is is_same


def test_lays_out_behind_all_that_changes_a_module_and_before_the_file_is_made(tmp_path):
    chain = replace(small.SCRIPT, id="torchscript.channels_last", layout="channels_last")
    plan = lowered(tmp_path, chain, training=FIT)
    made = [step for step in plan.steps if step.candidate == chain.id and step.stage == "make"]
    assert [step.operator for step in made][:3] == ["model.fuse", "model.layout", "export.torchscript"]
    assert by_id(plan, f"{chain.id}.layout").params == {"layout": "channels_last"}
    assert plan.candidates[0].layout == "channels_last"
