"""Chains: any sequence of steps from model to model, with the conversions that lie between them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.compiler.decide.rule import Chain, ExportRequest, ReductionStep
from titrant.compiler.lower.chains import Original, RequestedCandidate, file_steps, links
from titrant.compiler.lower.plan_graph import StepMaker
from titrant.runtime import catalog
from titrant.runtime.catalog import Declaration, Params, Port, no_requirement, unknown_cost
from titrant.runtime.method import Method
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.facts import Hardware, HardwareIdentity, ModelFacts

HARDWARE = Hardware(HardwareIdentity("linux", "x86_64", "toy", (), 1, None, (), "3.11", {}))
MODEL = ModelFacts("factory", "m", 10, 10, 40, (), (), ())
ORIGINAL = Original("model.model", "torch")


class Share(Params):
    """How much goes."""

    share: float = 0.5


def toy(name, kind):
    """Declare a reduction of a kind of model."""
    ports = {"model": Port((kind,))}
    return Declaration(
        name, 1, "prune", Share, ports, {"model": kind}, (), "exact", no_requirement, unknown_cost, (), False, dict, "",
        Method(name, takes=kind),
    )  # fmt: skip


TOYS = {
    operator.name: operator for operator in (toy("prune.a", "torch"), toy("prune.b", "torch"), toy("prune.c", "onnx"))
}
MAKER = StepMaker(lambda name: TOYS.get(name) or catalog.get(name), HARDWARE, MODEL, 7)


def steps_of(chain):
    entry = RequestedCandidate("it", chain, ExportRequest(chain.format, "model"))
    return tuple(file_steps("it", links(entry, ORIGINAL, MAKER), ORIGINAL, MAKER))


def chain_of(names, method="none", form="onnx", engine="onnxruntime"):
    before = tuple(ReductionStep(name, {"share": 0.25}, "asked for") for name in names)
    return Chain("it", method, 8 if method != "none" else None, engine, form, 0, before=before)


def test_puts_a_conversion_where_a_reduction_takes_another_kind():
    operators = [step.operator for step in steps_of(chain_of(["prune.a", "prune.c"], "ort.dynamic"))]
    assert operators == ["prune.a", "export.onnx", "prune.c", "quantize.ort_dynamic"]


def test_prepares_a_script_after_what_was_reduced_before():
    operators = [step.operator for step in steps_of(chain_of(["prune.a"], "cast", "torchscript", "torch"))]
    assert operators == ["prune.a", "model.fuse", "model.cast", "export.torchscript"]


def test_calls_the_last_step_as_the_candidate_and_every_other_by_its_own_name():
    steps = steps_of(chain_of(["prune.a", "prune.b"], "ort.dynamic"))
    assert [step.id for step in steps] == ["it.prune.a", "it.prune.b", "it.onnx", "it"]
    assert [step.id for step in steps_of(chain_of(["prune.a"]))] == ["it.prune.a", "it"]


def test_refuses_a_format_that_what_was_reduced_cannot_become():
    with pytest.raises(InfeasibleError, match="P020: it: nothing here turns onnx into torchscript"):
        steps_of(chain_of(["prune.c"], "none", "torchscript", "torch"))


TORCH = st.lists(st.sampled_from(["prune.a", "prune.b"]), unique=True, max_size=2)
FILES = st.lists(st.just("prune.c"), max_size=1)


@given(TORCH, FILES, st.sampled_from(["none", "ort.dynamic", "ort.static"]))
def test_chains_any_sequence_each_reading_what_the_one_before_gave(live, exported, method):
    chain = chain_of([*live, *exported], method)
    steps = steps_of(chain)
    reductions = [step.operator for step in steps if step.operator.startswith(("prune.", "quantize."))]
    assert reductions == [*live, *exported, *([f"quantize.{method.replace('.', '_')}"] if method != "none" else [])]
    kind, reference = ORIGINAL.kind, ORIGINAL.reference
    for step in steps:
        declaration = MAKER.declare(step.operator)
        assert step.inputs["model"] == reference
        assert kind in declaration.inputs["model"].kinds
        assert step.params["share"] == 0.25 if step.operator.startswith("prune.") else True
        kind, reference = declaration.outputs["model"], f"{step.id}.model"
    assert kind == "onnx"
    assert len({step.id for step in steps}) == len(steps)
    assert steps[-1].id == "it"


def test_lets_a_method_be_followed_by_another_with_the_options_that_both_have():
    options = {"alpha": 0.7, "rows": 64, "reduce_range": False, "leave": ("head",)}
    chain = Chain("it", "smoothquant", 8, "onnxruntime", "onnx", 0, options)
    smoothing, conversion, last = steps_of(chain)
    assert [step.operator for step in (smoothing, conversion, last)] == [
        "quantize.smoothquant", "export.onnx", "quantize.ort_static",
    ]  # fmt: skip
    assert (smoothing.params["alpha"], smoothing.params["rows"]) == (0.7, 64)
    assert (last.params["rows"], last.params["reduce_range"], last.id) == (64, False, "it")
    assert [*last.params["leave"]] == ["head"]
    assert smoothing.inputs["calibration"] == last.inputs["calibration"]
