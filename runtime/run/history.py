"""What steps cost here, one line a step, in a file that stays small: what predictions are learned from."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.store.home import Home
from titrant.schema.cost import Observation, machine_key
from titrant.schema.facts import HardwareIdentity
from titrant.schema.record import StepResult
from titrant.schema.values.canonical import WrongValueError, plain, read_back
from titrant.schema.values.files import append_line, write_bytes

FILE = "history.jsonl"
# A file that has grown beyond this is shortened: reading it takes some milliseconds.
MOST_BYTES = 256 << 10
# What is left then: the latest lines, and of each shape no more than these.
_KEPT_LINES, _KEPT_OF_A_SHAPE = 300, 3
_LATENCY = ".latency_p50"


class HistoryFile:
    """The history of one home, as far as it is of one machine. A line that is damaged or of another form is skipped."""

    def __init__(self, home: Home, machine: HardwareIdentity) -> None:
        self._file = home.facts / FILE
        self._machine = machine_key(machine)

    def read(self) -> tuple[Observation, ...]:
        """Return this machine's observations, oldest first."""
        return tuple(_observations(_lines(self._file), self._machine))

    def add(self, result: StepResult) -> None:
        """Keep what a step cost; a prediction without a shape has nothing to be held against.

        What cannot be written is not missed: the step itself is done.
        """
        if not result.predicted.shape:
            return
        line = json.dumps({"machine": self._machine, **plain(observed(result))}, separators=(",", ":"))
        with contextlib.suppress(OSError):
            append_line(self._file, line.encode(), durable=False)
            if self._file.stat().st_size > MOST_BYTES:
                self._shorten()

    def _shorten(self) -> None:
        """Keep the latest lines; one that another process adds meanwhile may be lost, and is not missed."""
        kept: list[bytes] = []
        seen: dict[Any, int] = {}
        for line in reversed(_lines(self._file)):
            value = _value(line)
            key = (value.get("machine"), value.get("shape"))
            seen[key] = seen.get(key, 0) + 1
            if value and seen[key] <= _KEPT_OF_A_SHAPE and len(kept) < _KEPT_LINES:
                kept.append(line)
        write_bytes(self._file, b"".join(line + b"\n" for line in reversed(kept)), durable=False)


def observed(result: StepResult) -> Observation:
    """Return what a step's result says of its cost."""
    predicted = result.predicted
    taken = {
        measurement.name.removesuffix(_LATENCY): measurement.value
        for measurement in result.measurements
        if measurement.name.endswith(_LATENCY)
    }
    return Observation(
        operator=result.operator,
        shape=predicted.shape,
        seconds=round(result.seconds, 5),
        peak_bytes=result.peak_bytes,
        output_bytes=sum(artifact.size for artifact in result.outputs.values()),
        formula_seconds=predicted.formula_seconds,
        formula_peak_bytes=predicted.formula_peak_bytes,
        loads={name: round(seconds, 4) for name, seconds in result.loads.items()},
        models={name: taken[name] for name in predicted.models if name in taken},
        formula_models=predicted.formula_models,
        device=predicted.device,
    )


def _lines(file: Path) -> list[bytes]:
    try:
        return file.read_bytes().splitlines()
    except OSError:
        return []


def _observations(lines: list[bytes], machine: str) -> Iterator[Observation]:
    for line in lines:
        value = _value(line)
        if value.get("machine") == machine:
            with contextlib.suppress(WrongValueError):
                yield read_back(Observation, value)


def _value(line: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
