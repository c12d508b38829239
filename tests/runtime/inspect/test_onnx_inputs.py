"""What an ONNX file takes and gives: arrays, with the rows first, or a refusal that names what is none."""

import onnx  # noqa: TID253 - its very subject
import pytest
from onnx import TensorProto, helper  # noqa: TID253 - its very subject

from titrant.runtime.inspect.graph.inputs import check_rows, check_tensors, fit
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError
from titrant.schema.facts import TensorSpec


def model(given, answer):
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [given], [answer])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def array(name, element=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element, ["batch", 3])


def test_refuses_what_is_no_array():
    sequence = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    with pytest.raises(StepError, match=r"X162: m.onnx gives `y` as sequence .*zipmap=False"):
        check_tensors(model(array("x"), sequence), "m.onnx")
    with pytest.raises(StepError, match=r"X162: m.onnx takes `x` as bfloat16"):
        check_tensors(model(array("x", onnx.TensorProto.BFLOAT16), array("y")), "m.onnx")
    with pytest.raises(StepError, match=r"X162: m.onnx gives texts alone"):
        check_tensors(model(array("x"), array("y", TensorProto.STRING)), "m.onnx")
    check_tensors(model(array("x", TensorProto.STRING), array("y")), "m.onnx")


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(3, 4), (5,)], "its inputs begin `a` with 3, `b` with 5"),
        ([()], "its inputs begin `a` with no dimension"),
        ([(0, 4)], "its inputs begin `a` with 0"),
        ([], "it takes no input"),
    ],
)
def test_refuses_inputs_that_have_no_batch_axis(shapes, words):
    specs = tuple(TensorSpec(name, shape, "float32") for name, shape in zip("abc", shapes, strict=False))
    with pytest.raises(RecipeError) as caught:
        check_rows(specs, "m.onnx")
    assert caught.value.diagnostics[0].message == f"m.onnx has no batch axis: {words}"


@pytest.mark.parametrize(
    "shapes", [[("batch", 4), ("batch",)], [("batch", 4), (1, 5)], [(8, 4), (8,)], [("batch", 4), ()]]
)
def test_takes_inputs_with_the_rows_first(shapes):
    check_rows(tuple(TensorSpec(name, shape, "float32") for name, shape in zip("ab", shapes, strict=True)), "m.onnx")


@pytest.mark.parametrize(
    ("takes", "advice"),
    [((8, 8, 3), "tf2onnx does by `--inputs-as-nchw x`"), ((1, 8, 8), "color: gray"), ((3, 4, 8), "`data.transform`")],
)
def test_says_how_images_of_other_channels_come_to_fit(takes, advice):
    given = TensorSpec("x", ("batch", 3, 8, 8), "float32")
    with pytest.raises(RecipeError, match="X126") as caught:
        fit((TensorSpec("x", ("batch", *takes), "float32"),), (given,), "m.onnx")
    assert advice in caught.value.diagnostics[0].help
