"""One file that was optimized elsewhere is the only candidate, whatever the recipe would make."""

import importlib.util
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.compiler.given.file import GivenFile, refuse_other
from titrant.compiler.given.rules import rules
from titrant.schema.diagnostics.diagnostics import InfeasibleError, RecipeError
from titrant.schema.facts import TensorSpec

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)


def decided(operator, *changes, engine=""):
    file = GivenFile(Path("/models/small.bin"), operator, {}, 9000, case.MODEL, engine)
    bound = case.bound(case.RECIPE, "level=balanced", *changes)
    return case.decide(bound, case.VNNI, case.MODEL, case.DATA, instead=rules(file))


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("quantization.method=ort.static",),
        ("quantization.adapt=[none, ort.static]",),
        ("search.budget={evaluations: 1}",),
        ("export=[{format: onnx, name: tumor}, {format: torchscript}]",),
        ("quantization={method: ort.static, skip: [net.0]}",),
    ],
)
def test_the_file_is_all_that_is_judged(changes):
    answer = decided("model.load_onnx", *changes)
    (chain,) = answer.settled.chains
    assert (chain.id, chain.method, chain.engine, chain.format) == ("given", "given", "onnxruntime", "onnx")
    assert (chain.before, chain.first, chain.last, chain.mix, answer.settled.ladder) == ((), (), (), 0, ())
    (request,) = answer.settled.exports
    assert (request.format, request.name) == ("onnx", "tumor" if "tumor" in "".join(changes) else "model")
    (line,) = [line for line in answer.decisions if line.subject == "quantization.method"]
    assert (line.chosen, line.rule) == ("given", "method.given")
    assert "small.bin" in line.because


@pytest.mark.parametrize(
    ("operator", "form"), [("model.load_torchscript", "torchscript"), ("model.load_exported", "exported")]
)
def test_its_kind_chooses_engine_and_format(operator, form):
    (chain,) = decided(operator).settled.chains
    assert (chain.engine, chain.format) == ("torch", form)


def test_the_plain_conversion_of_its_engine_and_format_is_timed_beside_it():
    (plain,) = decided("model.load_onnx").settled.plain
    assert (plain.id, plain.method) == ("onnx-fp32", "none")


@pytest.mark.parametrize("lacking", ["not run", "not installed"])
def test_an_engine_that_cannot_judge_it_here_is_refused(lacking):
    engine, changes = ("", ("target.engine=onnxruntime",)) if lacking == "not run" else ("openvino", ())
    operator = "model.load_torchscript" if lacking == "not run" else "model.load_onnx"
    with pytest.raises(InfeasibleError, match=r"P144.*small\.bin cannot be judged in"):
        decided(operator, *changes, engine=engine)


SPECS = st.builds(
    TensorSpec,
    st.sampled_from(["x", "y"]),
    st.lists(st.sampled_from([1, 3, "batch", "steps"]), max_size=3).map(tuple),
    st.sampled_from(["float32", "int64"]),
)


@given(SPECS, SPECS)
def test_inputs_fit_by_name_type_and_every_size_that_both_fix(asked, found):
    sizes = list(zip(asked.shape[1:], found.shape[1:], strict=False))
    same = len(asked.shape) == len(found.shape) and all(
        left == right for left, right in sizes if isinstance(left, int) and isinstance(right, int)
    )
    fits = same and asked.name == found.name and asked.dtype == found.dtype
    with nullcontext() if fits else pytest.raises(RecipeError, match="P143"):
        refuse_other("takes", [asked], [found])
