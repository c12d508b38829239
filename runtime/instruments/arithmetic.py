"""How fast one thread multiplies matrices, in fp32 and in int8."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

# (rows, inner, columns) of products as layers make them: three convolutions of an image network at batch 1, a linear
# layer at batch 32, and one of a transformer's over 128 tokens.
PRODUCTS = ((784, 576, 64), (196, 1152, 128), (49, 2304, 256), (32, 784, 1024), (128, 384, 1536))
ROUNDS = 7
_ROUND_SECONDS = 0.15

Multiply = Callable[[], object]


def fp32_products() -> list[Multiply]:
    """Return one call for each product, in torch with one thread."""
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    calls: list[Multiply] = []
    for rows, inner, columns in PRODUCTS:
        left = torch.randn(rows, inner, generator=generator)
        right = torch.randn(inner, columns, generator=generator)
        result = torch.empty(rows, columns)
        calls.append(partial(torch.mm, left, right, out=result))
    return calls


def int8_products() -> list[Multiply]:
    """Return one call for each product: uint8 activations by int8 weights with a scale a column, in onnxruntime."""
    return [_int8_product(*shape) for shape in PRODUCTS]


def flops_per_second(products: dict[str, list[Multiply]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median rate of each kind of product over rounds in which the kinds take turns."""
    for calls in products.values():
        for call in calls:
            call()
    seconds: dict[str, list[float]] = {kind: [] for kind in products}
    for _ in range(rounds):
        for kind, calls in products.items():
            seconds[kind].append(_seconds_of_all(calls))
    flops = sum(2 * rows * inner * columns for rows, inner, columns in PRODUCTS)
    return {kind: flops / statistics.median(found) for kind, found in seconds.items()}


def _seconds_of_all(calls: list[Multiply]) -> float:
    """Return the seconds that each product takes once, summed; each is repeated to be long against the clock."""
    total = 0.0
    for call in calls:
        repeats, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < _ROUND_SECONDS / len(calls):
            call()
            repeats += 1
        total += passed / repeats
    return total


def _int8_product(rows: int, inner: int, columns: int) -> Multiply:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = _int8_model(rows, inner, columns)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # Bound once: copying a result into a new array is not arithmetic.
    binding = session.io_binding()
    binding.bind_cpu_input("x", np.full((rows, inner), 3, np.uint8))
    binding.bind_output("y")
    return partial(session.run_with_iobinding, binding)


def _int8_model(rows: int, inner: int, columns: int) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).integers(-63, 64, (inner, columns), dtype=np.int8)
    constants: dict[str, Any] = {
        "x_scale": np.float32(0.02),
        "x_zero": np.uint8(0),
        "w": weights,
        "w_scale": np.full(columns, 0.01, np.float32),
        "w_zero": np.zeros(columns, np.int8),
        "y_scale": np.float32(0.5),
        "y_zero": np.uint8(128),
    }
    order = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero"]
    graph = helper.make_graph(
        [helper.make_node("QLinearMatMul", order, ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [rows, inner])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [rows, columns])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
