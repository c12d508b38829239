"""Load OpenVINO without what it tells its maker, read and simplify its graphs, and compile them for the processor.

`openvino` and `nncf` send events to Google Analytics, and keep statistics under ~/intel, unless somebody opted out on
this machine. Both do without the package that sends, so it is not there for them: whatever needs OpenVINO imports this
module first.
"""

import os
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

# An import of a module that stands there as None fails, as if it were not installed.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402, TID253 - its very subject, and only now

DEVICE = "CPU"
_AGAIN = "the file is damaged, or newer than this OpenVINO: export it again, or upgrade openvino"


@cache
def core() -> openvino.Core:
    """Return the one core of this process, which is never freed.

    Where a processor has AMX, each core gives the thread a stack for signals and takes it away when it is freed, and
    with two of them the thread may be left with the one that is gone: the next signal, Ctrl+C too, ends the process.
    """
    return openvino.Core()


def _end_idle_threads() -> None:
    """End the threads of compiled models that are gone: a copy of this process would wait for them, and has none.

    A core that is freed ends them. It is made in a thread of its own, whose stack for signals it may take away.
    """

    def make_and_free() -> None:
        openvino.Core().get_property(DEVICE, "FULL_DEVICE_NAME")  # without its plugin a core has no threads to end

    if core.cache_info().currsize:
        thread = threading.Thread(target=make_and_free)
        thread.start()
        thread.join()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_end_idle_threads)


def read_graph(file: Path | bytes) -> openvino.Model:
    """Read a graph from a file, or from what one would hold; RuntimeError where OpenVINO cannot."""
    return core().read_model(file)


def simplify(graph: openvino.Model) -> None:
    """Fold and fuse as OpenVINO's own converter does (its MOC transformations), in place."""
    from openvino._offline_transformations import apply_moc_transformations

    apply_moc_transformations(graph, cf=True)


def write_graph(graph: openvino.Model, file: Path, weights: Path) -> None:
    """Write a graph and its weights."""
    openvino.serialize(graph, str(file), str(weights))


def compiled(
    graph: openvino.Model, name: str, *, precision: str, threads: int, counting: bool = False
) -> openvino.CompiledModel:
    """Compile a graph, to count what each operation takes where `counting`.

    `name` is what StepError X212 calls its file where OpenVINO cannot.
    """
    chosen = {**properties(precision, threads), **({"PERF_COUNT": True} if counting else {})}
    try:
        return core().compile_model(graph, DEVICE, chosen)
    except RuntimeError as error:
        raise unloadable(name, reason(error)) from None


def properties(precision: str, threads: int) -> dict[str, Any]:
    """Return what a session is compiled with: one stream, threads that the system may move."""
    return {
        # Its own choice is bf16 wherever a processor has it: other numbers than those of the file.
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Pinned to one core it would wait for whatever else is timed there.
        "ENABLE_CPU_PINNING": False,
    }


def unloadable(name: str, why: str) -> StepError:
    """Refuse a file that OpenVINO does not load."""
    return StepError(Diagnostic("X212", f"openvino cannot load {name}: {why}", help=_AGAIN))


def reason(error: BaseException) -> str:
    """Return what an error of OpenVINO's says: its last line, after the places in its source."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line), type(error).__name__)
