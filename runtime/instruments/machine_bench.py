"""The child process that measures a machine: one line when it has started, one with the figures.

Called as `python -P -m titrant.runtime.instruments.machine_bench start|bench FOLDER AVAILABLE`: `start` ends after the
first line; FOLDER lies on the disk to measure, AVAILABLE is the free memory in bytes ("-": not known).
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO


def main(arguments: list[str]) -> None:
    """Import what a worker imports, say so, and measure if asked to."""
    # What libraries print must not come between the two lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for module in ("titrant.runtime.execution.worker_main", "torch"):
        importlib.import_module(module)
    _say(answers, {"started": True})
    what, folder, available = arguments
    if what == "bench":
        _say(answers, measure(Path(folder), None if available == "-" else int(available)))


def measure(folder: Path, available: int | None) -> dict[str, Any]:
    """Return the figures of `titrant.schema.facts.Bench` but `import_seconds`.

    int8 is None without onnxruntime; `gpus` holds every accelerator that torch can use.
    """
    from titrant.runtime.instruments.arithmetic import flops_per_second, fp32_products, int8_products
    from titrant.runtime.instruments.bandwidth import disk_bytes_per_second, memory_bytes_per_second
    from titrant.runtime.instruments.device_speed import device_speeds

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


if __name__ == "__main__":
    main(sys.argv[1:])
