"""Feasibility: what proves that a plan cannot be carried out on a machine."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.predict.memory import check_feasible
from titrant.schema.cost import Unmet
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.facts import Layer
from titrant.schema.gate import Gate
from titrant.schema.plan import Decision, Prediction, Rejected

specification = importlib.util.spec_from_file_location("toy_plan", Path(__file__).parents[1] / "toy_plan.py")
toys = importlib.util.module_from_spec(specification)
specification.loader.exec_module(toys)

SIZE = Gate("size", "target", "size", "all", "at_most", 1024, "counted", "x.yaml:3:4", "B")


def sized(basis="counted", small=5000, tiny=3000):
    """Make a plan with a size limit of 1 KiB and predicted sizes."""
    plan = toys.toy_plan()
    for name, size in (("small", small), ("tiny", tiny)):
        plan = toys.changed(plan, name, prediction=Prediction(output_bytes=size, basis=basis))
        judge = next(step for step in plan.steps if step.id == f"{name}.contract")
        gates = [*judge.params["gates"], {"id": "size"}]
        plan = toys.changed(plan, judge.id, params={**judge.params, "gates": gates})
    return replace(plan, contract=replace(plan.contract, gates=(*plan.contract.gates, SIZE)))


def refusal(plan, hardware=toys.HARDWARE, declare=toys.declare):
    with pytest.raises(InfeasibleError) as caught:
        check_feasible(plan, hardware, toys.MODEL, declare=declare)
    assert caught.value.exit_code == 3
    return caught.value.diagnostics


def test_refuses_a_size_that_no_candidate_can_have():
    (diagnostic,) = refusal(sized())
    assert diagnostic.code == "P023"
    assert diagnostic.message == (
        "the smallest file that can be made here has 2.9 KiB or more, and the limit is 1.0 KiB (x.yaml:3:4)"
    )
    assert diagnostic.help.startswith("write target.size: 3 KiB or more, which tiny is expected to keep")


def test_leaves_a_size_that_is_only_estimated_to_the_gate():
    check_feasible(sized("modelled"), toys.HARDWARE, toys.MODEL, declare=toys.declare)


def test_refuses_a_size_below_the_weights_in_the_fewest_bits():
    large = replace(toys.MODEL, parameters=3000, layers=(Layer("fc", "Linear", 3000, 12000, (100, 30)),))
    with pytest.raises(InfeasibleError, match=r"P023: the smallest .* has 1\.5 KiB or more"):
        check_feasible(sized("guess"), toys.HARDWARE, large, declare=toys.declare)
    fits = replace(large, layers=(Layer("fc", "Linear", 2000, 8000, (100, 20)),))
    check_feasible(sized("guess"), toys.HARDWARE, fits, declare=toys.declare)


def test_counts_no_weights_twice_nor_those_that_no_forward_pass_reads():
    first = Layer("a", "Linear", 2000, 8000, (100, 20))
    tied = Layer("b", "Linear", 0, 0, (100, 20))
    unread = Layer("c", "Linear", 9000, 36000, (100, 90), unread=True)
    model = replace(toys.MODEL, parameters=11000, layers=(first, tied, unread))
    check_feasible(sized("guess"), toys.HARDWARE, model, declare=toys.declare)


def test_lets_one_candidate_that_fits_be_enough():
    check_feasible(sized(tiny=1000), toys.HARDWARE, toys.MODEL, declare=toys.declare)


def test_says_once_what_operators_lack_and_how_to_get_it():
    lacking = toys.toy(
        "quantize.shrink", {"model": "onnx"}, {"model": "onnx"}, toys.Bits,
        requires=lambda params, hardware, model: (Unmet("the engine x is not installed", "pip install x"),),
        method=toys.SHRINK,
    )  # fmt: skip
    (diagnostic,) = refusal(toys.toy_plan(), declare={**toys.OPERATORS, "quantize.shrink": lacking}.__getitem__)
    assert diagnostic.code == "P021"
    assert diagnostic.message == "step small cannot run here: the engine x is not installed"
    assert diagnostic.help == "pip install x"


def test_tells_why_no_candidate_is_left():
    plan = toys.toy_plan()
    decision = Decision("quantization.method", "auto", "nothing", "", "rank", (Rejected("ort.static", "no rows"),))
    empty = replace(plan, searches=(replace(plan.searches[0], candidates=()),), decisions=(decision,))
    (diagnostic,) = refusal(empty)
    assert (diagnostic.code, diagnostic.help) == ("P022", "ort.static: no rows")
