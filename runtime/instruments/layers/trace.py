"""Write one batch as a timeline in Chrome's trace event format, which chrome://tracing and Perfetto open."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.instruments.layers.figures import LayerProfile
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.text import os_reason

_PROCESS, _THREAD = 1, 1
_MICROSECONDS = 1e6


def trace_events(profile: LayerProfile, process: int = _PROCESS) -> dict[str, Any]:
    """Return a trace as JSON values: a complete event (`ph` X) for each call, microseconds from the batch's beginning.

    The process is the model in its engine, the thread the device. Format: "Trace Event Format" of the Chromium project,
    JSON object form.
    """
    return {
        "traceEvents": [*_metadata(profile, process), *_calls(profile, process)],
        "displayTimeUnit": "ms",
        "otherData": {
            "model": profile.model,
            "engine": profile.engine,
            "device": profile.device,
            "threads": profile.threads,
            "batch": profile.batch,
            "times": "measured" if profile.told_when else "durations measured, placed one behind another",
        },
    }


def _metadata(profile: LayerProfile, process: int) -> Iterator[Mapping[str, Any]]:
    said = {"process_name": f"{profile.model} in {profile.engine}", "process_labels": f"batch {profile.batch}"}
    for name, words in said.items():
        key = "labels" if name == "process_labels" else "name"
        yield {"ph": "M", "name": name, "pid": process, "tid": 0, "ts": 0, "args": {key: words}}
    yield {"ph": "M", "name": "thread_name", "pid": process, "tid": _THREAD, "ts": 0, "args": {"name": profile.device}}


def _calls(profile: LayerProfile, process: int) -> Iterator[Mapping[str, Any]]:
    """Yield the calls, each within the one that it is called in: clocks are read to a fraction of a microsecond."""
    layers = {layer.name: layer for layer in profile.layers}
    around: list[float] = []  # where the calls end that the next one may lie in
    for span in sorted(profile.spans, key=lambda span: (span.begin, -span.seconds)):
        begin = span.begin * _MICROSECONDS
        end = begin + span.seconds * _MICROSECONDS
        while around and begin >= around[-1]:
            around.pop()
        end = min([end, *around])
        around.append(end)
        layer = layers.get(span.name) if span.name else None
        about: dict[str, Any] = {"operation": span.kind}
        if layer is not None:
            about |= {"parameters": layer.parameters, "precision": layer.precision}
            about |= {} if layer.flops is None else {"FLOPs of all its calls": layer.flops}
        yield {
            "ph": "X",
            "name": span.name or "batch",
            "cat": span.kind,
            "pid": process,
            "tid": _THREAD,
            "ts": round(begin, 3),
            "dur": round(max(end - begin, 0.0), 3),
            "args": about,
        }


def save_trace(profile: LayerProfile, file: Path | str) -> Path:
    """Write a trace and return its path; RecipeError X683 where the path cannot be written."""
    path = Path(file)
    try:
        path.write_text(json.dumps(trace_events(profile), ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        message = f"the trace cannot be written to {path}: {os_reason(error)}"
        raise RecipeError(Diagnostic("X683", message, help="name a file in a folder that is there")) from None
    return path
