"""torchao's methods: linear layers in int8, in a file that torch alone loads."""

from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest

from titrant.runtime import catalog
from titrant.runtime.api import apply as apply_operator
from titrant.runtime.backends import backend
from titrant.runtime.inspect.torch import describe_live
from titrant.schema.diagnostics.diagnostics import PreconditionError
from titrant.schema.facts import Gpu, Hardware, HardwareIdentity, TensorSpec

# To look is enough: to load it takes two seconds of every worker.
pytestmark = pytest.mark.skipif(
    find_spec("torchao") is None, reason="torchao is an extra: pip install 'titrant[torchao]'"
)

WIDTHS = (400, 700, 300, 8)
LEFT = "layers.2"
METHODS = ("torchao_int8_weight_only", "torchao_int8_dynamic")
# What becomes of a layer's product: weights alone are unpacked before it.
RAN = {METHODS[0]: ("int8", "mm of int8 weights, unpacked to fp32 on each call"), METHODS[1]: ("int8", "_int_mm")}


def machine(gpus=(), packages=("torch", "torchao")):
    identity = HardwareIdentity(
        "linux", "x86_64", "toy", ("avx2",), 2, 1 << 33, gpus, "3.11", dict.fromkeys(packages, "1")
    )
    return Hardware(identity)


@pytest.fixture(scope="module")
def stack(torch_model):
    return torch_model("Stack", WIDTHS[0], widths=WIDTHS)


@pytest.fixture(scope="module")
def done_by(stack, rows, tmp_path_factory):
    """Return what a method makes of the stack but for one layer, which is made once."""

    @cache
    def run(method):
        inputs, params = {"model": stack, "example": rows(WIDTHS[0])}, {"leave": (LEFT,)}
        return apply_operator(f"quantize.{method}", inputs, params, scratch=tmp_path_factory.mktemp(method))

    return run


@pytest.mark.parametrize("method", METHODS)
def test_runs_each_linear_layer_as_it_says_but_those_that_it_leaves(method, stack, rows, done_by, answers):
    done = done_by(method)
    names = ("layers.0", "layers.2", "layers.4")
    ran = {layer.name: layer for layer in backend.get("torch").executed(done.outputs["model"], layers=names)}
    assert {name: (layer.precision, layer.engine_op) for name, layer in ran.items()} == {
        name: ("fp32", "linear") if name == LEFT else RAN[method] for name in names
    }
    assert (done.measurements["quantized_layers"], done.measurements["fp32_layers"]) == (2, 1)
    x = rows(WIDTHS[0], count=9).inputs["x"]
    expected = answers(stack, x)
    assert np.abs(answers(done.outputs["model"], x) - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("method", METHODS)
def test_predicts_the_size_of_its_file(method, stack, done_by):
    facts = describe_live(stack.module, (TensorSpec("x", ("batch", WIDTHS[0]), "float32"),))
    declaration, params = catalog.get(f"quantize.{method}"), {"leave": (LEFT,)}
    size = done_by(method).outputs["model"].path.stat().st_size
    predicted = declaration.predict(declaration.params(**params), machine(), facts).output_bytes
    assert predicted == pytest.approx(size, rel=0.03)


def test_calls_no_operation_of_torchao_so_that_torch_alone_loads_the_file(done_by):
    from titrant.runtime.backends.torch.program.load import read_program

    path = done_by("torchao_int8_dynamic").outputs["model"].path
    nodes = [node for node in read_program(path)[0].graph.nodes if node.op == "call_function"]
    assert {getattr(node.target, "namespace", "python") for node in nodes} <= {"aten", "python"}


@pytest.mark.parametrize("method", METHODS)
def test_refuses_a_model_without_a_linear_layer_that_it_may_take(method, stack, rows, apply):
    names = ("layers.0", "layers.2", "layers.4")
    with pytest.raises(PreconditionError, match="X210"):
        apply(f"quantize.{method}", {"model": stack, "example": rows(WIDTHS[0])}, {"leave": names})


@pytest.mark.parametrize(
    ("method", "capability", "least"), [("torchao_int4", "7.5", "8.0"), ("torchao_fp8", "8.6", "8.9")]
)
def test_says_which_device_would_make_a_method_possible(method, capability, least):
    declaration = catalog.get(f"quantize.{method}")

    def unmet(*gpus):
        return declaration.requires(declaration.params(), machine(gpus), None)

    (lack,) = unmet()
    assert f"compute capability {least} and more only, and here is none" in lack.cause
    assert "target.device: cuda" in lack.remedy
    (lack,) = unmet(Gpu(0, "Old", "cuda", 1 << 34, capability, "1"))
    assert f"here is Old ({capability})" in lack.cause
    assert unmet(Gpu(0, "New", "cuda", 1 << 37, "9.0", "1")) == ()


def test_makes_no_file_for_a_device_that_is_not_there(stack, rows, apply):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(PreconditionError, match="X213"):
        apply("quantize.torchao_fp8", {"model": stack, "example": rows(WIDTHS[0])})


def test_names_the_package_that_is_missing():
    declaration = catalog.get("quantize.torchao_int8_dynamic")
    (lack,) = declaration.requires(declaration.params(), machine(packages=("torch",)), None)
    assert lack.remedy == "pip install 'titrant[torchao]'"
