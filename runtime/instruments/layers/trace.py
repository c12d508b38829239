"""Write one batch as a timeline in Chrome's trace event format, which chrome://tracing and Perfetto open."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from titrant.runtime.backends.profile import LayerSpan
from titrant.runtime.instruments.layers.layer import LayerFigures
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.text import os_reason

_PROCESS, _THREAD = 1, 1
_MICROSECONDS = 1e6


def trace_events(
    spans: Sequence[LayerSpan], layers: Sequence[LayerFigures], about: Mapping[str, str | int]
) -> dict[str, Any]:
    """Return a trace as JSON values: a complete event (`ph` X) for each call, microseconds from the batch's beginning.

    The process is the model in its engine, the thread the device; `about` says what else was timed: model, engine,
    device, threads, batch. Format: "Trace Event Format" of the Chromium project, JSON object form.
    """
    return {
        "traceEvents": [*_metadata(about), *_calls(spans, {layer.name: layer for layer in layers})],
        "displayTimeUnit": "ms",
        "otherData": {name: str(value) for name, value in about.items()},
    }


def _metadata(about: Mapping[str, str | int]) -> Iterator[Mapping[str, Any]]:
    process = {"name": f"{about['model']} in {about['engine']}"}
    yield {"ph": "M", "name": "process_name", "pid": _PROCESS, "tid": _THREAD, "ts": 0, "args": process}
    labels = {"labels": f"batch {about['batch']}, threads {about['threads']}"}
    yield {"ph": "M", "name": "process_labels", "pid": _PROCESS, "tid": _THREAD, "ts": 0, "args": labels}
    thread = {"name": str(about["device"])}
    yield {"ph": "M", "name": "thread_name", "pid": _PROCESS, "tid": _THREAD, "ts": 0, "args": thread}


def _calls(spans: Sequence[LayerSpan], layers: Mapping[str, LayerFigures]) -> Iterator[Mapping[str, Any]]:
    """Yield the calls, each within the one that it is called in: clocks are read to a fraction of a microsecond."""
    around: list[float] = []  # where the calls end that the next one may lie in
    for span in sorted(spans, key=lambda span: (span.begin, -span.seconds)):
        begin = round(span.begin * _MICROSECONDS, 3)
        while around and begin >= around[-1]:
            around.pop()
        end = min([round((span.begin + span.seconds) * _MICROSECONDS, 3), *around])
        around.append(end)
        about: dict[str, Any] = {"operation": span.kind}
        layer = layers.get(span.name) if span.name else None
        if layer is not None:
            about |= {"parameters": layer.parameters, "precision": layer.precision}
            about |= {} if layer.flops is None else {"FLOPs of all its calls": layer.flops}
        yield {
            "ph": "X",
            "name": span.name or "batch",
            "cat": span.kind,
            "pid": _PROCESS,
            "tid": _THREAD,
            "ts": begin,
            "dur": round(max(end - begin, 0.0), 3),
            "args": about,
        }


def save_trace(
    file: Path | str, spans: Sequence[LayerSpan], layers: Sequence[LayerFigures], about: Mapping[str, str | int]
) -> Path:
    """Write a trace and return its path; RecipeError X711 where the path cannot be written."""
    path = Path(file)
    try:
        path.write_text(json.dumps(trace_events(spans, layers, about), ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        message = f"the trace cannot be written to {path}: {os_reason(error)}"
        raise RecipeError(Diagnostic("X711", message, help="name a file in a folder that is there")) from None
    return path
