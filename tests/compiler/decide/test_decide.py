"""Decisions: what is chosen for hand-made facts, and why, as whole texts.

`UPDATE_GOLDEN=1 pytest` writes the texts in `decided/` anew, for a person to read before they are kept.
"""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.decide.target import int8_methods
from titrant.compiler.machine.profile import shipped_profile
from titrant.schema.diagnostics.diagnostics import InfeasibleError, RecipeError
from titrant.schema.facts import Bench, Gpu, GpuSpeed, Layer, RoleFacts, TensorSpec

HERE = Path(__file__).parents[1]
specification = importlib.util.spec_from_file_location("case", HERE / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

decided = case.decided
CRITICAL = case.RECIPE + "level: medical_critical\nvalidation: {operating_point: {sensitivity: 0.99}}\n"
LARGE = replace(case.MODEL, weight_bytes=300 * 10**6)
WITH_T4, WITH_H200 = (
    replace(case.AVX2, identity=replace(case.AVX2.identity, gpus=(gpu,)))
    for gpu in (Gpu(0, "Tesla T4", "cuda", 15 << 30, "7.5"), case.H200)
)
WITH_METAL = case.machine("neon", "bf16", "fp16", kind="arm64", gpus=(Gpu(0, "Apple M2", "mps"),))
ORT_GPU = replace(WITH_H200.identity, packages={**case.PACKAGES, "onnxruntime-gpu": "1.31.1"})
CASES = {
    "auto device beside an H200": (case.RECIPE, ("level=balanced",), {"hardware": WITH_H200}),
    "auto device on the profile nvidia-h100": (
        case.TRAINED,
        ("level=balanced",),
        {"hardware": shipped_profile("nvidia-h100").hardware},
    ),
    "cuda on an H200": (case.RECIPE, ("level=balanced", "target.device=cuda"), {"hardware": WITH_H200}),
    "cuda on a T4": (case.RECIPE, ("level=balanced", "target.device=cuda"), {"hardware": WITH_T4}),
    "cuda with onnxruntime-gpu": (
        case.RECIPE,
        ("level=balanced", "target.device=cuda"),
        {"hardware": replace(WITH_H200, identity=ORT_GPU)},
    ),
    "mps on an Apple M2": (case.RECIPE, ("level=balanced", "target.device=mps"), {"hardware": WITH_METAL}),
    "auto level, small model": (case.RECIPE, (), {}),
    "balanced": (case.RECIPE, ("level=balanced",), {}),
    "minimal": (case.RECIPE, ("level=minimal",), {}),
    "aggressive on VNNI": (case.RECIPE, ("level=aggressive",), {"hardware": case.VNNI}),
    "medical critical": (CRITICAL, (), {}),
    "one explicit method": (
        case.TRAINED,
        ("level=balanced", "quantization.method=ort.static", "export=[{format: onnx}]", "target.latency.p99=5 ms"),
        {},
    ),
    "unlabeled with random inputs": (case.UNLABELED, ("level=balanced",), {}),
}


def text_of(found):
    settled, threads = found.settled, found.settled.threads
    lines = [f"level {settled.level} · device {settled.device} · threads {threads.making} and {threads.timing}"]
    for one in found.decisions:
        lines.append(f"{one.subject}: {one.asked} → {one.chosen}")
        lines.append(f"    {one.because} ({one.rule})" + (f" [{one.where}]" if one.where else ""))
        lines += [f"    not {rejected.value}: {rejected.reason}" for rejected in one.rejected]
    lines.append("")
    lines += [
        f"{one.rank} {one.id}: {one.method} {one.bits} in {one.engine} as {one.format} {dict(one.options)}"
        for one in settled.chains
    ]
    lines.append(f"training {dict(settled.training) if settled.training else None}")
    lines.append(f"arguments {dict(settled.model_args)}")
    lines.append(f"profile {dict(settled.profile)} · point {dict(settled.operating_point)}")
    lines += [f"warning: {warning}" for warning in found.warnings]
    return "\n".join(lines) + "\n"


def ids(found):
    return [chain.id for chain in found.settled.chains if not chain.mends]


def line(found, subject):
    return next(one for one in found.decisions if one.subject == subject)


@pytest.mark.parametrize("name", CASES)
def test_chooses_and_says_why(name):
    recipe, changes, facts = CASES[name]
    written = text_of(decided(recipe, *changes, **facts))
    file = HERE / "decided" / f"{name.replace(' ', '_').replace(',', '')}.txt"
    if "UPDATE_GOLDEN" in os.environ:
        file.write_text(written, "utf-8")
    assert written == file.read_text("utf-8")


def test_gives_the_same_decisions_for_the_same_facts():
    assert decided() == decided()


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        (("validation.retention=0.99",), "balanced"),
        (("validation.safety=0.99",), "medical_critical"),
        (("validation.clinical_relevance=0.9",), "medical_critical"),
        (("validation.safety=none",), "balanced"),
    ],
)
def test_takes_the_level_that_the_contract_calls_for(changes, level):
    assert decided(case.RECIPE, *changes).settled.level == level


def test_quantizes_a_small_model_only_when_asked():
    assert ids(decided()) == ["torchscript-fp32", "onnx-fp32"]
    assert "ort.static" in ids(decided(case.RECIPE, "quantization.method=auto"))
    assert "ort.static" in ids(decided(case.RECIPE, "level=balanced"))


def test_quantizes_a_large_model_unasked_and_never_loosens_its_contract():
    found = decided(model=LARGE)
    assert "ort.static" in ids(found)
    assert found.settled.contract.gates[0].threshold == 0.95


def test_orders_candidates_from_gentle_to_aggressive():
    found = decided(case.RECIPE, "level=balanced")
    assert ids(found) == [
        "torchscript-fp32",
        "onnx-fp32",
        "torch.dynamic",
        "ort.dynamic",
        "ort.static",
        "ort.nbits-8bit",
    ]
    ranks = {chain.id: chain.rank for chain in found.settled.chains}
    assert [ranks[name] for name in ids(found)] == sorted(ranks[name] for name in ids(found))
    mending = [ranks[chain.id] for chain in found.settled.chains if chain.mends == "ort.static"]
    assert max(mending) < ranks["ort.static"]


def test_considers_scales_that_depend_on_the_batch_where_a_gate_judges_them():
    found = decided(CRITICAL)
    assert ids(found) == [
        "torchscript-fp32",
        "onnx-fp32",
        "torch.dynamic",
        "ort.dynamic",
        "ort.static",
        "ort.nbits-8bit",
    ]
    gate = next(one for one in found.settled.contract.gates if one.id == "batch_invariance")
    assert (gate.metric, gate.comparison, gate.threshold) == ("batch_invariance", "at_least", 0.98)
    assert gate.test == "exact_binomial"


def test_asks_nothing_of_batches_where_the_preset_is_switched_off():
    found = decided(CRITICAL, "validation.batch_invariance=none")
    assert "batch_invariance" not in [gate.id for gate in found.settled.contract.gates]
    assert line(found, "validation.batch_invariance").chosen == "off"


@pytest.mark.parametrize(
    ("hardware", "reduce"),
    [
        (case.AVX2, True),
        (case.VNNI, False),
        (case.machine("avx2", "avx_vnni"), False),
        (case.machine("avx512bw", "avx512f", "avx2"), True),
        (case.machine("neon", "dotprod", kind="aarch64"), False),
        (case.machine(), True),
    ],
)
def test_takes_the_number_format_that_the_instruction_set_sums_exactly(hardware, reduce):
    found = decided(case.RECIPE, "level=balanced", hardware=hardware)
    options = {chain.id: chain.options for chain in found.settled.chains}
    assert options["ort.static"] == {"reduce_range": reduce}
    assert options["torch.dynamic"] == {}


def test_leaves_written_options_alone():
    changes = ("quantization.method=ort.static", "quantization.options.reduce_range=false")
    chains = decided(case.RECIPE, *changes).settled.chains
    assert [chain.options["reduce_range"] for chain in chains] == [False] * len(chains)


def test_says_what_an_explicit_method_gives_up():
    found = decided(case.RECIPE, "level=minimal", "quantization.method=ort.static")
    assert ids(found) == ["ort.static"]
    assert "auto would leave it out: level minimal" in line(found, "quantization.method").because


def test_makes_only_what_is_asked_to_be_exported():
    assert ids(decided(case.RECIPE, "level=balanced", "export=[{format: torchscript}]")) == [
        "torchscript-fp32",
        "torch.dynamic",
    ]
    assert ids(decided(case.RECIPE, "level=balanced", "target.engine=onnxruntime")) == [
        "onnx-fp32",
        "ort.dynamic",
        "ort.static",
        "ort.nbits-8bit",
    ]


def test_only_converts_where_no_method_is_asked_for():
    assert ids(decided(case.RECIPE, "quantization.method=none")) == ["torchscript-fp32", "onnx-fp32"]


def test_gives_somebodys_modules_back_as_they_are_only_where_that_file_is_asked_for():
    named = decided(case.RECIPE, "quantization.method=none", "export=[{format: safetensors}, {format: onnx}]")
    assert ids(named) == ["unchanged", "onnx-fp32"]


def test_keeps_an_onnx_file_as_one_of_the_candidates(tmp_path):
    onnx = replace(case.DIGITS, source="onnx", layers=(Layer("c", "Conv", 320, 1280, (32, 1, 3, 3)),))
    found = decided(case.UNLABELED, "level=balanced", model=onnx)
    assert ids(found) == ["unchanged"]
    assert found.settled.original_engine == "onnxruntime"
    rejected = {one.value: one.because for one in line(found, "quantization.method").rejected}
    assert rejected["torch.dynamic"] == "it takes a torch module, and the original is an ONNX file"
    assert "random inputs calibrate nothing" in rejected["ort.static"]


def test_rejects_what_is_not_installed():
    found = decided(hardware=case.machine("avx2", packages={"torch": "2.13.0"}))
    assert ids(found) == ["torchscript-fp32"]
    rejected = {one.value: one.reason for one in line(found, "quantization.method").rejected}
    assert rejected["onnx-fp32"] == "the engine onnxruntime is not installed: pip install onnxruntime"
    assert rejected["torchao.int8_dynamic"] == "torchao is not installed: pip install 'titrant[torchao]'"


def test_cannot_go_on_when_nothing_is_left():
    with pytest.raises(InfeasibleError) as caught:
        decided(case.RECIPE, "export=[{format: onnx}]", hardware=case.machine(packages={"torch": "2.13.0"}))
    assert caught.value.diagnostics[0].code == "P062"
    with pytest.raises(InfeasibleError) as caught:
        decided(case.RECIPE, "quantization.method=cast")
    (found,) = caught.value.diagnostics
    assert (found.code, found.where.text) == ("P061", "quantization.method=cast")


def test_uses_a_gpu_only_where_the_recipe_names_it():
    with_gpu = replace(case.AVX2, identity=replace(case.AVX2.identity, gpus=(case.H200,)))
    assert decided(hardware=with_gpu).settled.device == "cpu"
    named = decided(case.RECIPE, "target.device=cuda", "level=balanced", hardware=with_gpu)
    assert named.settled.device == "cuda"
    assert ids(named) == ["torchscript-fp32", "cast"]
    with pytest.raises(InfeasibleError) as caught:
        decided(case.RECIPE, "target.device=cuda:1", hardware=with_gpu)
    assert caught.value.diagnostics[0].help == "this machine has cuda:0 (NVIDIA H200), and cpu"


def test_takes_a_16_bit_method_for_what_the_accelerator_does_and_not_its_processor():
    amx = case.machine("amx_bf16", "avx2", gpus=WITH_T4.identity.gpus)
    written = (case.RECIPE, "quantization.method=cast", "quantization.options.dtype=bf16")
    assert decided(*written, hardware=amx).settled.chains[0].options == {"dtype": "bf16"}
    with pytest.raises(InfeasibleError) as caught:
        decided(*written, "target.device=cuda", hardware=amx)
    (found,) = caught.value.diagnostics
    assert (found.code, found.help) == ("P061", "set quantization.options.dtype to fp16")
    with pytest.raises(InfeasibleError) as caught:
        decided(case.RECIPE, "quantization.method=cast", hardware=WITH_H200)
    assert "bf16 is emulated on this processor" in caught.value.diagnostics[0].message


def test_tells_what_each_device_is_expected_to_take_without_deciding_by_it():
    slow = replace(WITH_H200, bench=Bench(1e6, gpus={"cuda:0": GpuSpeed(1e15, 1e15, 1e13, measured=True)}))
    found, usual = decided(hardware=slow), decided(hardware=WITH_H200)
    assert found.settled.device == usual.settled.device == "cpu"
    device, other = line(found, "target.device"), line(usual, "target.device")
    assert "(modelled)" in device.because
    assert "(guess)" in other.because
    assert "(modelled)" in device.rejected[0].because
    assert device.rejected[0].because.endswith("to use it all the same write target.device: cuda")
    unseen = line(decided(hardware=WITH_H200, model=replace(case.MODEL, flops=None)), "target.device")
    there, elsewhere = int8_methods("cpu"), int8_methods("cuda")
    assert unseen.because == f"{len(there)} int8 methods run there, and {len(elsewhere)} on cuda"


def test_names_no_method_whose_kernels_the_gpu_is_too_old_for():
    (older,), (newer,) = (line(decided(hardware=each), "target.device").rejected for each in (WITH_T4, WITH_H200))
    assert "and no int8 method runs;" in older.because
    assert "torchao.fp8" in newer.because
    auto = line(decided(case.RECIPE, "level=balanced", hardware=WITH_T4), "quantization.method")
    (reason,) = (each.reason for each in auto.rejected if each.value == "torchao.fp8")
    assert reason.startswith(
        "torchao.fp8 has kernels for CUDA devices of compute capability 8.9 and more only, and here"
    )


def test_warns_of_activations_that_are_expected_not_to_fit_on_the_gpu():
    heavy = replace(case.MODEL, activation_bytes=1 << 30)
    on_it = ("target.device=cuda", "profile.batches=[1, 14]")
    assert decided(case.RECIPE, *on_it, hardware=WITH_T4, model=heavy).warnings == ()
    (found,) = decided(
        case.RECIPE, *on_it, "target.latency={batch: 16, p95: 1 s}", hardware=WITH_T4, model=heavy
    ).warnings
    assert found == (
        "weights and the activations of a batch of 16 are expected to take 16.0 GiB on Tesla T4, which has 15.0 GiB: "
        "lower profile.batches, or target.latency.batch"
    )
    assert decided(case.RECIPE, "profile.batches=[99]", hardware=WITH_T4, model=heavy).warnings == ()


def test_says_that_an_onnx_original_cannot_use_the_gpu_beside_it():
    onnx = replace(case.MODEL, source="onnx")
    (rejected,) = line(
        decided(case.RECIPE, "model.weights=included", hardware=WITH_H200, model=onnx), "target.device"
    ).rejected
    assert rejected.because == (
        "on NVIDIA H200 the original does not run: onnxruntime on cuda needs the package onnxruntime-gpu"
    )


def test_warns_of_more_threads_than_cores():
    assert (
        "target.threads is 8, and this machine has 2 usable cores"
        in decided(case.RECIPE, "target.threads=8").warnings[0]
    )


def test_resolves_arguments_from_the_data():
    assert decided().settled.model_args == {"features": 30, "classes": 2}
    with pytest.raises(RecipeError) as caught:
        decided(case.RECIPE, data=replace(case.DATA, inputs=(case.FEATURES, replace(case.FEATURES, name="more"))))
    assert (
        caught.value.diagnostics[0].message
        == "`features: auto` cannot be resolved: the data gives 2 inputs and not one"
    )


def test_fits_the_original_with_what_the_optimizer_starts_well_with():
    assert decided().settled.training["learning_rate"] == 1e-3
    assert decided(case.RECIPE, "train.optimizer=sgd").settled.training["learning_rate"] == 1e-2
    assert decided(case.RECIPE, "train.learning_rate=0.02").settled.training["learning_rate"] == 0.02
    gentle = decided(case.RECIPE, "model.weights=included")
    assert gentle.settled.training["learning_rate"] == pytest.approx(1e-4)


def test_gives_the_fit_operator_parameters_that_it_takes():
    from titrant.runtime import catalog

    told = ("class_weights=balanced", "label_smoothing=0.1", "gradient_clip=1.0", "accumulate=4", "schedule=step")
    every = tuple(f"train.{key}" for key in told)
    for changes in ((), ("train.early_stop=none",), ("train.early_stop.patience=2",), every):
        assert catalog.get("train.fit").params.model_validate(dict(decided(case.RECIPE, *changes).settled.training))


def test_chooses_the_loss_by_the_outputs():
    one = replace(case.MODEL, outputs=(TensorSpec("logit", ("batch", 1), "float32"),))
    assert decided(model=one).settled.training["loss"] == "binary_cross_entropy_with_logits"
    assert decided().settled.training["loss"] == "cross_entropy"


def test_tells_training_what_the_recipe_asks_for_and_says_so():
    found = decided(
        case.RECIPE,
        "train.schedule=cosine",
        "train.gradient_clip=1.5",
        "train.accumulate=4",
        "train.label_smoothing=0.1",
    )
    settled = found.settled.training
    asked = {"schedule": "cosine", "gradient_clip": 1.5, "accumulate": 4, "label_smoothing": 0.1}
    assert {key: settled[key] for key in asked} == asked
    lines = {one.subject: one.chosen for one in found.decisions}
    assert lines["train.accumulate"] == "a step after 4 batches: 256 cases"
    assert lines["train.schedule"] == "down to 0 at the last step, as half a cosine"
    assert lines["train.gradient_clip"] == "gradients with an L2 norm above 1.5 are scaled down to it"
    assert not {"class_weights", "find_learning_rate"} & set(settled)


def test_has_words_for_every_schedule_of_the_language():
    from typing import get_args

    from titrant.compiler.decide.training import SCHEDULES
    from titrant.schema.recipe.train import Schedule

    assert tuple(SCHEDULES) == get_args(Schedule)


def test_looks_for_the_learning_rate_instead_of_taking_one():
    found = decided(case.RECIPE, "train.find_learning_rate=true")
    assert found.settled.training["find_learning_rate"] is True
    assert "learning_rate" not in found.settled.training
    (line,) = (one for one in found.decisions if one.subject == "train.learning_rate")
    assert line.rule == "learning_rate.found"
    assert "from 1e-07 to 10" in line.because


def test_weighs_classes_by_their_train_rows_or_as_the_recipe_says():
    train = replace(case.DATA.roles["train"], classes={"malignant": 10, "benign": 30})
    data = replace(case.DATA, roles={**case.DATA.roles, "train": train})
    order = {name: place for place, name in enumerate(data.classes)}
    balanced = decided(case.RECIPE, "train.class_weights=balanced", data=data).settled.training["class_weights"]
    assert balanced[order["malignant"]] == 2
    assert balanced[order["benign"]] == pytest.approx(2 / 3)
    written = decided(case.RECIPE, "train.class_weights={malignant: 3.0}", data=data)
    assert written.settled.training["class_weights"][order["malignant"]] == 3
    assert written.settled.training["class_weights"][order["benign"]] == 1
    (line,) = (one for one in written.decisions if one.subject == "train.class_weights")
    assert "malignant 3" in line.chosen


def test_gives_a_class_without_train_rows_the_weight_of_a_plain_one():
    train = replace(case.DATA.roles["train"], classes={"benign": 30})
    data = replace(case.DATA, roles={**case.DATA.roles, "train": train})
    assert decided(case.RECIPE, "train.class_weights=balanced", data=data).settled.training["class_weights"] == (1, 1)


def test_takes_given_weights_as_they_are():
    assert decided(case.TRAINED).settled.training is None


def test_moves_no_threshold_without_a_critical_class():
    text = case.RECIPE.replace("  positive: malignant\n", "")
    assert decided(text, data=replace(case.DATA, positive=None)).settled.operating_point == {}
    assert decided().settled.operating_point == {"threshold": 0.5}


def test_times_often_enough_for_the_limit_to_be_provable():
    assert decided().settled.profile["iterations"] is None
    assert decided(case.RECIPE, "target.latency.p99=5 ms").settled.profile["iterations"] == 299
    assert decided(case.RECIPE, "target.latency.p95=5 ms", "profile.iterations=20").settled.profile["iterations"] == 59
    small = decided(case.RECIPE, "target.latency.p95=5 ms", "target.latency.batch=4")
    assert small.settled.profile["batches"] == (1, 4, 8, 32)


def test_rejects_static_quantization_without_calibration_rows():
    roles = {**case.DATA.roles, "calibration": RoleFacts(0, 0)}
    found = decided(case.RECIPE, "level=balanced", data=replace(case.DATA, roles=roles))
    assert "ort.static" not in ids(found)


def test_holds_the_medical_safeguards_on_any_level():
    found = decided(case.RECIPE, "level=aggressive", "preserve=medical", "validation.retention=0.9")
    assert found.settled.contract.require == "proof"
    retention = found.settled.contract.gates[0]
    assert (retention.threshold, retention.origin) == (0.98, "preserve: medical")
    assert line(found, "validation.retention").asked == "at least 0.9"


def test_lets_the_recipe_be_laxer_than_its_level_in_plain_sight():
    found = decided(CRITICAL, "validation.retention=0.9", "validation.require=evidence")
    assert found.settled.contract.require == "evidence"
    assert found.settled.contract.gates[0].threshold == 0.9
    assert "laxer than what level medical_critical supplies" in line(found, "validation.retention").because


def test_imports_neither_torch_nor_scipy():
    program = (
        "import sys; sys.path.insert(0, 'tests/compiler'); import case; case.decided(); "
        "print([name for name in ('torch', 'numpy', 'onnx', 'onnxruntime', 'sklearn', 'scipy') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_shows_what_inspection_noted_of_model_and_data():
    model = replace(case.MODEL, notes=("the prefix `module.` of every name is removed",))
    data = replace(case.DATA, notes=("3 copies are dropped",))
    lines = case.decided(model=model, data=data).decisions
    noted = [(one.subject, one.because, one.where) for one in lines if one.rule.endswith(".noted")]
    assert noted == [
        ("model", "the prefix `module.` of every name is removed", "x.yaml:4:1"),
        ("data", "3 copies are dropped", "x.yaml:7:1"),
    ]


def test_runs_onnx_files_where_only_the_gpu_package_of_the_engine_is_installed():
    packages = {name: version for name, version in case.PACKAGES.items() if name != "onnxruntime"}
    hardware = case.machine("avx2", packages={**packages, "onnxruntime-gpu": "1.31.1"})
    line = next(one for one in case.decided(hardware=hardware).decisions if one.subject == "quantization.method")
    assert "onnx-fp32" in line.chosen
    assert not [one for one in line.rejected if "onnxruntime is not installed" in one.because]


def test_says_that_onnxruntime_does_not_compute_on_metal():
    hardware = case.machine("neon", gpus=(Gpu(0, "M2", "mps"),))
    text = f"{case.RECIPE}target: {{device: mps}}\n"
    lines = case.decided(text, hardware=hardware).decisions
    line = next(one for one in lines if one.subject == "quantization.method")
    told = next(one.reason for one in line.rejected if one.value == "onnx-fp32")
    assert told.startswith("onnxruntime does not compute on Metal: target.engine torch does")


@pytest.mark.parametrize(
    ("counts", "least", "said"),
    [
        ({"f": 40, "m": 30}, 5, "f 40, m 30"),
        ({"d": 3, "f": 40, "m": 30}, 5, "d <5, f 40, m"),
        ({"d": 3, "f": 40, "m": 30, "x": 1}, 5, "d <5, f 40, m 30, x <5"),
        ({"d": 0, "f": 40}, 5, "d 0, f 40"),
        ({"f": 40, "m": 30}, 35, "f, m <35"),
    ],
)
def test_lists_the_values_of_a_subgroup_without_what_gives_small_ones_away(counts, least, said):
    text = case.RECIPE.replace("{column: mean radius, bins: [12]}", "{column: sex}").replace("size:", "sex:")
    columns = (*case.DATA.columns, replace(case.DATA.columns[0], name="sex", dtype="text"))
    judged = replace(case.DATA.roles["evaluation"], subgroups={"sex": counts}, positives={"sex": counts})
    data = replace(case.DATA, columns=columns, roles={**case.DATA.roles, "evaluation": judged})
    found = decided(text, "level=balanced", f"report.min_cell={least}", data=data, model=case.MODEL)
    assert line(found, "data.subgroups.sex").chosen == said
    assert not [one for one in decided(case.RECIPE).decisions if one.rule == "subgroups.found"]


def test_says_which_of_several_outputs_is_judged_and_what_becomes_of_the_others():
    logits, features = (TensorSpec(name, ("batch", 2), "float32") for name in ("logits", "features"))
    both = replace(case.MODEL, outputs=(logits, features))
    line = next(line for line in case.decided(model=both).decisions if line.rule == "output.first")
    assert line.chosen == "logits"
    assert line.because.startswith("the others (features) are compared with nothing: a candidate may change them")
    written = case.decided(case.RECIPE, "model.output={name: features}", model=both).decisions
    assert [line.chosen for line in written if line.rule == "output.written"] == ["features"]
    assert not any(line.rule.startswith("output.") for line in case.decided().decisions)
