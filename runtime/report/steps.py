"""The report's table of steps, what was predicted of each beside what happened, and of how trainings computed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from titrant.runtime.report.record_view import NONE, Gradients, Record, quantity
from titrant.runtime.report.savings import FILE_BYTES, MEMORY_BYTES, SECONDS, Pair, pair
from titrant.schema.plan import Prediction, Step, basis_words
from titrant.schema.record import StepRecord

# Measurements of runtime/training/trial.py and of several processes.
_SPEEDUP, _PEAK, _EFFICIENCY = "precision_speedup", "activation_bytes", "scaling_efficiency"
_OFFLOADED, _LAYOUT = "offload_peak_bytes", "layout_speedup"
# status → symbol, words, tone
STATUSES = {
    "finished": ("✓", "ran", "plain"),
    "reused": ("=", "reused from an earlier run", "plain"),
    "failed": ("✕", "failed", "fail"),
    "rejected": ("✕", "its candidate was rejected", "faint"),
    "unused": ("○", "the search did not ask for it", "faint"),
    "": ("○", "no record: written before this step ended", "faint"),
}


@dataclass(frozen=True)
class StepRow:
    """One step of the plan and what became of it; what was predicted before it ran stands in its result."""

    id: str
    operator: str
    stage: str
    candidate: str
    symbol: str
    status: str
    tone: str
    seconds: Pair
    memory: Pair
    size: Pair
    basis: str
    because: str
    error: str


def step_rows(record: Record) -> tuple[StepRow, ...]:
    """List the plan's steps in order."""
    done = {step.step: step for step in record.run.steps}
    return tuple(_row(step, done.get(step.id, StepRecord(step.id, ""))) for step in record.plan.steps)


def _row(step: Step, done: StepRecord) -> StepRow:
    symbol, words, tone = STATUSES.get(done.status, ("○", done.status, "plain"))
    if step.operator == "report.render":
        symbol, words, tone = "·", "writes this report", "plain"
    tone = "fail" if done.error else tone
    result = done.result
    expected = result.predicted if result else Prediction()
    size = sum(artifact.size for artifact in result.outputs.values()) if result else None
    return StepRow(
        id=step.id,
        operator=f"{step.operator} {step.version}",
        stage=step.stage,
        candidate=step.candidate,
        symbol=symbol,
        status=words,
        tone=tone,
        seconds=pair(expected.seconds, result.seconds if result else None, "s", SECONDS),
        # A step that only waited for a child has no peak of its own to show.
        memory=pair(expected.peak_bytes, (result.peak_bytes or None) if result else None, "B", MEMORY_BYTES),
        size=pair(expected.output_bytes, size, "B", FILE_BYTES),
        basis=basis_words(expected) or NONE,
        because=step.because,
        error=done.error,
    )


@dataclass(frozen=True)
class TrainingRow:
    """One thing that a training did otherwise: what it is without and with it, what was predicted, and in words."""

    step: str
    subject: str
    before: str
    after: str
    predicted: str
    words: str


def training_rows(record: Record) -> tuple[TrainingRow, ...]:
    """List what was measured of trainings, step by step; nothing where all were in fp32 and one process."""
    rows: list[TrainingRow] = []
    for step in record.run.steps:
        measured = {} if step.result is None else {item.name: item.value for item in step.result.measurements}
        rows += _rows(step.step, measured)
    curves = record.values.curves
    return (*rows, *(() if curves is None or curves.gradients is None else _gradients(curves.gradients)))


def _gradients(gradients: Gradients) -> Iterator[TrainingRow]:
    """Name the layers that did not learn, and say how often all gradients together were too large."""
    if gradients.above:
        words = f"above the limit in {_steps(gradients.above)}, up to {max(gradients.global_norm):.3g}"
        yield TrainingRow(NONE, "gradients: global norm", NONE, NONE, NONE, words)
    for name, layer in gradients.layers.items():
        said = [f"vanishes in {_steps(layer.vanishing)}, down to {layer.least:.3g}"] * bool(layer.vanishing)
        said += [f"explodes in {_steps(layer.exploding)}, up to {layer.most:.3g}"] * bool(layer.exploding)
        yield TrainingRow(NONE, f"gradients: {name}", NONE, NONE, NONE, "; ".join(said))


def _steps(count: int) -> str:
    return f"{count:,} step" + ("" if count == 1 else "s")


def _rows(step: str, measured: Mapping[str, float]) -> Iterator[TrainingRow]:
    if _SPEEDUP in measured:
        before, after = quantity(measured["step_seconds_fp32"], "s"), quantity(measured["step_seconds"], "s")
        words = f"{measured[_SPEEDUP]:.2f}× as fast as fp32"
        skipped = measured.get("skipped_steps")
        words += f"; {skipped:,.0f} steps skipped" if skipped is not None else ""
        yield TrainingRow(step, "16 bits: time of a step", before, after, NONE, words)
    if _PEAK in measured:
        whole = measured["activation_bytes_all"]
        predicted = quantity(measured["activation_bytes_predicted"], "B")
        words = f"{1 - measured[_PEAK] / whole:.0%} less" if whole else NONE
        yield TrainingRow(
            step, "recomputing: activations at the peak", quantity(whole, "B"), quantity(measured[_PEAK], "B"),
            predicted, words,
        )  # fmt: skip
        lost, expected = measured["recompute_seconds"], measured["recompute_seconds_predicted"]
        words = f"{quantity(lost, 's')} lost" if lost > 0 else "no time lost"
        yield TrainingRow(step, "recomputing: time of a step", NONE, NONE, f"{quantity(expected, 's')} lost", words)
    if _OFFLOADED in measured:
        whole = measured["offload_all_bytes_predicted"]
        predicted = quantity(measured["offload_peak_bytes_predicted"], "B")
        words = f"{1 - measured[_OFFLOADED] / whole:.0%} less than predicted without" if whole else NONE
        yield TrainingRow(
            step, "disk: activations at the peak", NONE, quantity(measured[_OFFLOADED], "B"), predicted, words,
        )  # fmt: skip
        written, expected = measured["offload_disk_bytes"], measured["offload_disk_bytes_predicted"]
        words = f"{quantity(measured['offload_seconds'], 's')} lost to writing and reading"
        yield TrainingRow(
            step, "disk: written in a step", NONE, quantity(written, "B"), quantity(expected, "B"), words,
        )  # fmt: skip
    if _LAYOUT in measured:
        before, after = (quantity(measured[f"layout_seconds{end}"], "s") for end in ("_contiguous", ""))
        words = f"{measured[_LAYOUT]:.2f}× as fast as contiguous"
        yield TrainingRow(step, "channels last: time of a step", before, after, NONE, words)
        before, after = (quantity(measured[f"layout_bytes{end}"], "B") for end in ("_contiguous", ""))
        yield TrainingRow(step, "channels last: activations at the peak", before, after, NONE, NONE)
    if _EFFICIENCY in measured:
        before, after = quantity(measured["one_process_seconds"], "s"), quantity(measured["processes_seconds"], "s")
        words = f"{measured[_EFFICIENCY]:.0%} of {measured['processes']:.0f} times as fast"
        yield TrainingRow(step, "processes: time of a step", before, after, NONE, words)
