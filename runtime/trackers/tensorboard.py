"""Follow a run in TensorBoard: an event file with the curves, the figures of every candidate and a table of gates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.trackers.tracker import (
    NOT_INSTALLED,
    Ending,
    GateFigures,
    TrackedPoint,
    TrackedRun,
    TrackerError,
    refuse_unwritable,
)


def open_tensorboard(run: TrackedRun, options: Mapping[str, Any]) -> "TensorBoard":
    """Open an event file below `options["folder"]`, in a folder of the run's own, or in the run's folder for "".

    Neither torch nor TensorFlow is loaded. Raises TrackerError.
    """
    folder = Path(options["folder"]) / run.run if options["folder"] else run.own / "tensorboard"
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise TrackerError(
            NOT_INSTALLED, "tensorboard is not installed", "pip install 'titrant[tensorboard]'"
        ) from None
    refuse_unwritable(folder)
    return TensorBoard(EventFileWriter(str(folder)), str(folder), run)


class TensorBoard:
    """One event file."""

    mode = "local"

    def __init__(self, writer: Any, where: str, run: TrackedRun) -> None:
        self.where = where
        self._writer = writer
        self._text("run", "\n".join(f"- {name}: {value}" for name, value in run.settings.items()), 0.0)

    def log(self, point: TrackedPoint) -> None:
        """Write the figures of a point, each under its step; what has no place in a curve stands at 0."""
        for name, value in point.figures.items():
            self._scalar(f"{point.step}/{name}", value, point.place, point.time)
        self._writer.flush()

    def close(self, ending: Ending) -> None:
        """Write the final figures and the gates, and end the file."""
        for name, value in ending.figures.items():
            self._scalar(name, value, 0, 0.0)
        for row in ending.gates:
            if row.estimate is not None:
                self._scalar(f"{row.candidate}/gates/{row.gate}", row.estimate, 0, 0.0)
        released = [f"- released {each.file}: blake3 {each.digest}" for each in ending.released]
        lines = [f"- exit {ending.exit} {ending.verdict}", *released, "", *_table(ending.gates)]
        self._text("verdict", "\n".join(lines), 0.0)
        self._writer.close()

    def _scalar(self, tag: str, value: float, step: int, time: float) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._add(Summary(value=[Summary.Value(tag=tag, simple_value=value)]), step, time)

    def _text(self, tag: str, text: str, time: float) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=shape)
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        self._add(Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)]), 0, time)

    def _add(self, summary: Any, step: int, time: float) -> None:
        from time import time as now

        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time or now(), step=step, summary=summary))


def _table(gates: tuple[GateFigures, ...]) -> list[str]:
    """Write gates as a Markdown table, which TensorBoard shows."""
    rows = [
        (row.candidate, row.gate, row.verdict, *("" if value is None else f"{value:.4g}" for value in _figures(row)))
        for row in gates
    ]
    head = ["candidate | gate | verdict | estimate | lower | upper", "--- | --- | --- | --- | --- | ---"]
    return [*head, *(" | ".join(row) for row in rows)] if rows else []


def _figures(row: GateFigures) -> tuple[float | None, ...]:
    return row.estimate, row.lower, row.upper
