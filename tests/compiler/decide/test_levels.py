"""What levels and sizes mean to the methods, and never to the contract; how `auto` finds its methods."""

import importlib.util
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime import catalog
from titrant.runtime.operators import quantize
from titrant.schema.diagnostics.diagnostics import InfeasibleError

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)
decided = case.decided

LARGE = replace(case.MODEL, weight_bytes=2 * 10**9)
NEW = '''
"""Quantize with a method of tomorrow."""

from titrant.runtime.catalog import Params, operator
from titrant.runtime.method import Method
from titrant.schema.cost import Unmet
from titrant.schema.plan import Prediction


class NewParams(Params):
    """Nothing to choose."""


def requires(params, hardware, model):
    """Need an instruction set."""
    return () if "avx2" in hardware.identity.instructions else (Unmet("it needs avx2", "use a machine that has it"),)


def predict(params, hardware, model, work):
    """Count half a byte a parameter."""
    return Prediction(output_bytes={size}, basis="modelled")


@operator(
    "quantize.{name}", version=1, family="quantize", params=NewParams, inputs={{"model": "onnx"}},
    outputs={{"model": "onnx"}}, requires=requires, predict=predict,
    method=Method("{name}", takes="onnx", engine="onnxruntime", format="onnx", bits=({bits},), rank=3),
)
def new(params, context, *, model):
    """Quantize."""
    return {{"model": model}}
'''


def ids(found):
    return [chain.id for chain in found.settled.chains if not chain.mends]


def line(found, subject):
    return next(one for one in found.decisions if one.subject == subject)


@pytest.fixture
def new_operator(tmp_path, monkeypatch):
    """Put an operator's file beside the real ones."""

    def put(name, bits=8, size=10):
        (tmp_path / "quantize" / f"{name}.py").write_text(NEW.format(name=name, bits=bits, size=size), "utf-8")
        catalog._files.cache_clear()

    for name in catalog.names():
        catalog.get(name)
    for file in catalog._FOLDER.glob("*/*.py"):
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        (tmp_path / file.parent.name / file.name).symlink_to(file)
    monkeypatch.setattr(catalog, "_catalog", dict(catalog._catalog))
    monkeypatch.setattr(catalog, "_FOLDER", tmp_path)
    monkeypatch.setattr(quantize, "__path__", [*quantize.__path__, str(tmp_path / "quantize")])
    yield put
    catalog._files.cache_clear()


def test_considers_a_method_as_soon_as_its_file_exists(new_operator):
    assert "newest" not in ids(decided(case.RECIPE, "level=balanced"))
    new_operator("newest")
    assert "newest" in ids(decided(case.RECIPE, "level=balanced"))
    without = decided(case.RECIPE, "level=balanced", hardware=case.machine("sse"))
    rejected = {one.value: one.reason for one in line(without, "quantization.method").rejected}
    assert rejected["newest"] == "it needs avx2: use a machine that has it"


def test_ranks_methods_of_one_rank_by_the_size_that_they_predict(new_operator):
    new_operator("larger", size=10**9)
    new_operator("tiny", size=1)
    found = ids(decided(case.RECIPE, "level=balanced"))
    assert found.index("larger") < found.index("ort.dynamic") < found.index("tiny") < found.index("ort.static")


def test_refuses_fewer_bits_than_8_under_medical_safeguards_even_by_name(new_operator):
    new_operator("four", bits=4)
    assert ids(decided(case.RECIPE, "level=aggressive", "quantization.bits=4")) == ["four", "ort.nbits"]
    four = asking_for("four", "level=aggressive", "preserve=medical")
    with pytest.raises(
        InfeasibleError, match="P061: four cannot run here: it gives 4 bits, and preserve medical allows"
    ):
        case.decide(four, case.AVX2, case.MODEL, case.DATA)
    assert ids(case.decide(asking_for("four", "level=aggressive"), case.AVX2, case.MODEL, case.DATA)) == ["four"]


def asking_for(method, *changes):
    """Bind a recipe that names a method which the recipe language does not know yet."""
    bound = case.bound(case.RECIPE, *changes)
    section = bound.recipe.quantization.model_copy(update={"method": method})
    return replace(bound, recipe=bound.recipe.model_copy(update={"quantization": section}))


def test_says_that_no_method_gives_the_bits_that_are_asked_for(monkeypatch):
    monkeypatch.setattr("titrant.compiler.decide.methods.quantization_methods", lambda: ("ort.static", "cast"))
    with pytest.raises(InfeasibleError) as caught:
        decided(case.RECIPE, "quantization.bits=4")
    (found,) = caught.value.diagnostics
    assert (found.code, found.where.text) == ("P026", "quantization.bits=4")
    assert found.help == "write 8 or 16, or leave it out"


def test_does_not_quantize_a_small_model_unasked_under_auto():
    assert ids(decided()) == ["torchscript-fp32", "onnx-fp32"]
    assert "ort.static" in ids(decided(case.RECIPE, "quantization.method=auto"))
    assert "ort.static" in ids(decided(case.RECIPE, "level=balanced"))


@given(
    weights=st.integers(5_000, 20_000_000),
    share=st.floats(0.01, 4),
    form=st.sampled_from(("auto", "onnx", "torchscript")),
    level=st.sampled_from(("auto", "minimal", "balanced", "aggressive")),
)
def test_quantizes_a_small_model_under_auto_where_its_size_asks_for_it(weights, share, form, level):
    size = max(1, int(4 * weights * share))
    model = replace(case.MODEL, parameters=weights, weight_bytes=4 * weights)
    changes = (f"level={level}", f"target.size={size} B", f"export=[{{format: {form}}}]")
    found = decided(case.RECIPE, *changes, model=model)
    quantized = {chain.method for chain in found.settled.chains} - {"none"}
    if level == "minimal" or (level == "auto" and share > 1.5 and weights > 50_000):
        assert not quantized
    elif share < 1 or level != "auto":
        assert quantized
    because = line(found, "quantization.method").because
    assert ("in 32 bits the file takes" in because) == (level == "auto" and bool(quantized))
    assert [gate for gate in found.settled.contract.gates if gate.preset != "target"] == gates_without_target(level)


@cache
def gates_without_target(level):
    return list(decided(case.RECIPE, f"level={level}").settled.contract.gates)


@pytest.mark.parametrize("limit", ["latency.p95=5 ms", "throughput=100", "peak_memory=1 GiB"])
def test_measures_methods_under_auto_where_only_measuring_tells_whether_32_bits_keep_the_limit(limit):
    found = decided(case.RECIPE, f"target.{limit}")
    assert {"onnx-fp32", "ort.static"} <= set(ids(found))
    assert f"whether 32 bits keep target.{limit.partition('.')[0].partition('=')[0]} is known once it is measured" in (
        line(found, "quantization.method").because
    )


def test_considers_every_method_for_a_large_model_and_says_what_is_not_there_yet():
    found = decided(model=LARGE)
    assert "ort.static" in ids(found)
    told = line(found, "size")
    assert told.chosen == "every method down to 4 bits is considered; no threshold moves"
    memory = ["memory.gradient_checkpointing", "memory.offload", "memory.layout", "memory.guard"]
    assert [one.value for one in told.rejected] == [*memory, "reduction.pruning"]


def test_says_of_each_memory_option_why_it_is_not_taken_for_a_large_model():
    trained = {option.value: option for option in line(decided(model=LARGE), "size").rejected}
    assert trained["memory.gradient_checkpointing"].because == "a step would compute activations twice"
    assert trained["memory.offload"].because.startswith("a step would wait for the disk")
    assert "{offload: auto}" in trained["memory.offload"].remedy
    plain = line(decided(case.RECIPE, "train=none", "model.weights=included", model=LARGE), "size").rejected
    told = {option.value: option.because for option in plain if not option.remedy}
    for name in ("memory.gradient_checkpointing", "memory.offload"):
        assert told[name] == ("it is about activations of a training, and nothing is trained; weights stay in memory")
    asked = decided(case.RECIPE, "memory={gradient_checkpointing: 0.5, offload: auto}", model=LARGE)
    assert [option.value for option in line(asked, "size").rejected] == [
        "memory.layout", "memory.guard", "reduction.pruning",
    ]  # fmt: skip


def test_lets_no_size_move_the_contract():
    contracts = {
        str(decided(model=replace(case.MODEL, weight_bytes=size)).settled.contract)
        for size in (10**5, 5 * 10**8, 2 * 10**9)
    }
    assert len(contracts) == 1


def test_says_nothing_of_size_where_the_level_is_named():
    assert not [one for one in decided(case.RECIPE, "level=balanced", model=LARGE).decisions if one.subject == "size"]


@pytest.mark.parametrize("gate", ["safety=0.9", "clinical_relevance=0.9"])
def test_takes_a_safety_or_clinical_gate_for_a_medical_model(gate):
    found = decided(case.RECIPE, f"validation.{gate}")
    assert found.settled.level == "medical_critical"
    assert found.settled.contract.require == "proof"


def test_keeps_the_safeguards_for_a_large_medical_model():
    found = decided(case.RECIPE, "validation.safety=0.9", model=LARGE)
    assert line(found, "size").chosen.startswith("every method down to 8 bits")


def test_makes_every_medical_adjustment_a_decision_with_what_was_asked():
    found = decided(case.RECIPE, "level=aggressive", "preserve=medical", "validation.retention=0.9")
    adjusted = {one.subject: (one.asked, one.chosen) for one in found.decisions if one.because.startswith("preserve")}
    assert adjusted["validation.retention"] == ("at least 0.9", "at least 0.98")
    assert adjusted["validation.require"][1] == "proof"
    assert {"validation.safety.kept", "validation.bias", "validation.clinical_relevance"} <= set(adjusted)
