"""The child process that measures a machine: one line when it has started, one with the figures.

Called as `python -P -m titrant.runtime.machine.bench start|bench FOLDER AVAILABLE`: `start` ends after the
first line; FOLDER lies on the disk to measure, AVAILABLE is the free memory in bytes ("-": not known). The figures are
the rates of matrix products (fp32 and int8), memory and disk, and those of every accelerator.
"""

import importlib
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import torch


def main(arguments: list[str]) -> None:
    """Import what a worker imports, say so, and measure if asked to."""
    # What libraries print must not come between the two lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for module in ("titrant.runtime.worker.child", "torch"):
        importlib.import_module(module)
    _say(answers, {"started": True})
    what, folder, available = arguments
    if what == "bench":
        _say(answers, measure(Path(folder), None if available == "-" else int(available)))


def measure(folder: Path, available: int | None) -> dict[str, Any]:
    """Return the figures of `titrant.schema.facts.Bench` but `import_seconds`.

    int8 is None without onnxruntime; `gpus` holds every accelerator that torch can use.
    """
    products = {"fp32": fp32_products()}
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        products["int8"] = int8_products()
    rates = flops_per_second(products)
    written, read = disk_bytes_per_second(folder)
    return {
        "fp32_flops_per_second": rates["fp32"],
        "int8_flops_per_second": rates.get("int8"),
        "memory_bytes_per_second": memory_bytes_per_second(available),
        "disk_write_bytes_per_second": written,
        "disk_read_bytes_per_second": read,
        "gpus": device_speeds(),
    }


def _say(answers: TextIO, value: object) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


Call = Callable[[], object]

# (rows, inner, columns) of products as layers make them: three convolutions of an image network at batch 1, a linear
# layer at batch 32, and one of a transformer's over 128 tokens.
PRODUCTS = ((784, 576, 64), (196, 1152, 128), (49, 2304, 256), (32, 784, 1024), (128, 384, 1536))
PRODUCT_ROUNDS = 7
_ROUND_SECONDS = 0.15


def fp32_products() -> list[Call]:
    """Return one call for each product, in torch with one thread."""
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    calls: list[Call] = []
    for rows, inner, columns in PRODUCTS:
        left = torch.randn(rows, inner, generator=generator)
        right = torch.randn(inner, columns, generator=generator)
        result = torch.empty(rows, columns)
        calls.append(partial(torch.mm, left, right, out=result))
    return calls


def int8_products() -> list[Call]:
    """Return one call for each product: uint8 activations by int8 weights with a scale a column, in onnxruntime."""
    return [_int8_product(*shape) for shape in PRODUCTS]


def flops_per_second(products: dict[str, list[Call]], rounds: int = PRODUCT_ROUNDS) -> dict[str, float]:
    """Return the median rate of each kind of product over rounds in which the kinds take turns."""
    for calls in products.values():
        for call in calls:
            call()
    seconds: dict[str, list[float]] = {kind: [] for kind in products}
    for _ in range(rounds):
        for kind, calls in products.items():
            seconds[kind].append(_seconds_of_all(calls))
    flops = sum(2 * rows * inner * columns for rows, inner, columns in PRODUCTS)
    return {kind: flops / statistics.median(times) for kind, times in seconds.items()}


def _seconds_of_all(calls: list[Call]) -> float:
    """Return the seconds that each product takes once, summed; each is repeated to be long against the clock."""
    total = 0.0
    for call in calls:
        repeats, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < _ROUND_SECONDS / len(calls):
            call()
            repeats += 1
        total += passed / repeats
    return total


def _int8_product(rows: int, inner: int, columns: int) -> Call:
    import numpy as np
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
    import numpy as np
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


MEMORY_ROUNDS = 5
# Larger than the last-level cache that one core of any current processor can fill.
_MEMORY_BYTES = 256 << 20
_FILE_BYTES = 64 << 20
_BLOCK_BYTES = 4 << 20
_WRITE_SECONDS = 1.0


def memory_bytes_per_second(available: int | None, rounds: int = MEMORY_ROUNDS) -> float | None:
    """Return the median rate of adding up numbers that no cache holds; None where memory is short.

    `available` is the free memory in bytes, of which at most an eighth is taken.
    """
    import torch

    size = _MEMORY_BYTES if available is None else min(_MEMORY_BYTES, available // 8)
    if size < _MEMORY_BYTES // 4:
        return None
    torch.set_num_threads(1)
    numbers = torch.ones(size // 4)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        numbers.sum()
        seconds.append(time.perf_counter() - start)
    return size / statistics.median(seconds)


def disk_bytes_per_second(folder: Path, rounds: int = 3) -> tuple[float | None, float | None]:
    """Return the median rates of writing (made durable) and reading; None for what cannot be measured there.

    Reading counts only where the system can be asked to forget the file first; a slow disk gets a smaller file.
    """
    written, read = [], []
    file = folder / "bench.bin"
    try:
        for _ in range(rounds):
            size, seconds = _write(file)
            written.append(size / seconds)
            if hasattr(os, "posix_fadvise"):
                read.append(_read(file))
    except OSError:
        return None, None
    finally:
        file.unlink(missing_ok=True)
    return statistics.median(written), statistics.median(read) if read else None


def _write(file: Path) -> tuple[int, float]:
    block = os.urandom(_BLOCK_BYTES)  # a disk that compresses must not look fast
    size, start = 0, time.perf_counter()
    with file.open("wb", buffering=0) as out:
        while size < _FILE_BYTES and time.perf_counter() - start < _WRITE_SECONDS:
            size += out.write(block)
        os.fsync(out.fileno())
    return size, time.perf_counter() - start


def _read(file: Path) -> float:
    with file.open("rb", buffering=0) as source:
        os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        size, start = 0, time.perf_counter()
        while block := source.read(_BLOCK_BYTES):
            size += len(block)
        return size / (time.perf_counter() - start)


DEVICE_ROUNDS = 5
# Rows and columns of the square products: 17 GFLOP each, which fill a large accelerator and take a small one 10 ms.
SIZE = 2048
# Copied within the accelerator's memory, larger than its caches; and brought there from the machine's.
_COPIED_BYTES, _BROUGHT_BYTES = 256 << 20, 32 << 20
_LAUNCHES, _CALLS, _REPEATS = 500, 50, 8


def device_speeds() -> dict[str, dict[str, float | None]]:
    """Return the figures of `titrant.schema.facts.GpuSpeed` of every accelerator that torch can use, by its name.

    One that fails on the way, for lack of memory or because its driver and torch do not fit together, is left out.
    """
    speeds = {}
    for device in devices():
        try:
            speeds[device] = device_speed(device)
        except RuntimeError:  # what torch raises for all of these
            continue
    return speeds


def devices() -> list[str]:
    """List the accelerators that torch can use: cuda:0, cuda:1, mps:0."""
    import torch

    if torch.cuda.is_available():
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["mps:0"] if torch.backends.mps.is_available() else []


def device_speed(device: str, size: int = SIZE, copied: int = _COPIED_BYTES) -> dict[str, float | None]:
    """Measure one device, "cpu" included; RuntimeError where it fails.

    `size` is that of the square products, `copied` the bytes that are copied within its memory.
    """
    import torch

    wait = partial(_wait, device)
    flops = 2 * size**3
    products = {name: _product(size, getattr(torch, name), device) for name in ("float32", "float16")}
    source, target = (torch.zeros(copied // 4, device=device) for _ in range(2))
    own = torch.zeros(_BROUGHT_BYTES // 4)
    few, small = torch.zeros(64), torch.zeros(64, device=device)
    return {
        "fp32_flops_per_second": flops / _seconds(products["float32"], wait),
        "half_flops_per_second": flops / _seconds(products["float16"], wait),
        "memory_bytes_per_second": 2 * copied / _seconds(partial(target.copy_, source), wait),
        "transfer_bytes_per_second": _BROUGHT_BYTES / _seconds(partial(own.to, device, copy=True), wait),
        "launch_seconds": _seconds(partial(small.add_, 1), wait, _LAUNCHES),
        "call_seconds": _seconds(partial(_there_and_back, few, device), wait, _CALLS),
    }


def _product(size: int, dtype: "torch.dtype", device: str) -> Call:
    import torch

    left, right, result = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(3))
    return partial(torch.mm, left, right, out=result)


def _there_and_back(numbers: "torch.Tensor", device: str) -> Any:
    return numbers.to(device).add_(1).to("cpu")


def _seconds(call: Call, wait: Callable[[], None], repeats: int = _REPEATS) -> float:
    """Return the median over rounds of what one of several calls in a row takes, the waiting at the end included."""
    call()
    wait()
    seconds = []
    for _ in range(DEVICE_ROUNDS):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        wait()
        seconds.append((time.perf_counter() - start) / repeats)
    return statistics.median(seconds)


def _wait(device: str) -> None:
    """Wait until a device has done everything that was queued on it."""
    import torch

    kind = device.partition(":")[0]
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()


if __name__ == "__main__":
    main(sys.argv[1:])
