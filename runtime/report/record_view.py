"""The run record as a report reads it, and how its numbers and gates are written and a gate's interval is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from markupsafe import escape

from titrant.runtime.contract.answers import DecisionCounts
from titrant.runtime.contract.company import Invariance
from titrant.runtime.contract.metrics import SliceMetrics
from titrant.runtime.contract.statistics.paired_runs import TimedRuns
from titrant.runtime.contract.statistics.reliability import Reliability
from titrant.runtime.report.search_values import Proposal, Sensitivity, unreadable
from titrant.schema.contract.earlier import ANCHOR, REGRESSION
from titrant.schema.facts import HardwareIdentity
from titrant.schema.gate import EXECUTED, FINE_TUNED, SMALLER_IS_BETTER, Gate, GateResult
from titrant.schema.plan import Plan
from titrant.schema.record import Look, ModelInside, RunRecord
from titrant.schema.values.units import format_size, format_time

# What of a run differs from one run of the same plan to the next: it may be left out.
VOLATILE = {"run": "", "executed": 0, "reused": 0, "seconds": 0.0}


@dataclass(frozen=True)
class Timing:
    """One model at one batch size: seconds for a batch, and cases per second.

    `samples` and `cpu` stand in the order of the rounds, which all models of one timing share; `cpu` is None in a
    record of an earlier version, whose samples are sorted and cannot be paired.
    """

    p50: float
    p95: float
    p99: float
    throughput: float
    samples: tuple[float, ...] = ()
    cpu: tuple[float, ...] | None = None
    waiting: float | None = None

    @property
    def runs(self) -> TimedRuns:
        """Return the runs that can be paired with another model's."""
        return TimedRuns() if self.cpu is None else TimedRuns(self.samples, self.cpu, self.waiting)


@dataclass(frozen=True)
class ModelTimings:
    """One model at every batch size that was timed, and the memory that it took."""

    batches: Mapping[int, Timing]
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Quality:
    """Both models' metrics on tuning rows; None is a metric that those rows do not define."""

    rows: int
    original: Mapping[str, float | None] = field(default_factory=dict)
    candidate: Mapping[str, float | None] = field(default_factory=dict)
    agreement: float | None = None
    retention: float | None = None
    lower: float | None = None  # what a mixture keeps at least, beyond chance
    fine_tuned: float | None = None  # the retention against the original after the training that the candidate had


@dataclass(frozen=True)
class Point:
    """How an output becomes a decision: "argmax", or "threshold" with the probability from which it is positive.

    `scored` is the number of the class that one number a case is about; None where each class has a number.
    """

    kind: str
    threshold: float | None = None
    source: str = ""
    scored: int | None = None


@dataclass(frozen=True)
class RateSweep:
    """What a learning-rate finder saw: the smoothed loss at each rate, and the rate that was taken."""

    rates: tuple[float, ...] = ()
    loss: tuple[float, ...] = ()
    chosen: float | None = None


@dataclass(frozen=True)
class UnhealthyLayer:
    """In how many steps a layer's gradient vanished or exploded, and the extreme L2 norms in these steps."""

    vanishing: int = 0
    exploding: int = 0
    least: float = 0.0
    most: float = 0.0


@dataclass(frozen=True)
class Gradients:
    """The largest global norm of each epoch, in how many steps it was above the limit, and unhealthy layers."""

    global_norm: tuple[float, ...] = ()
    above: int = 0
    layers: Mapping[str, UnhealthyLayer] = field(default_factory=dict)


@dataclass(frozen=True)
class Curves:
    """Training, one number an epoch; `best_epoch` counts from 1 and is the epoch whose weights were kept."""

    loss: tuple[float, ...] = ()
    tuning_loss: tuple[float, ...] = ()
    tuning_accuracy: tuple[float, ...] = ()
    best_epoch: int | None = None
    sweep: RateSweep | None = None
    gradients: Gradients | None = None


@dataclass(frozen=True)
class StepValues:
    """What steps answered.

    `timings` is keyed by "original", candidate ids and the plain conversions beside them; they chose. `judged_timings`
    holds, by the candidate that they judged, timings keyed in the same way. `quality` is keyed by candidate id, as is
    `answers`, which says for judged candidates which decisions changed on evaluation rows
    (`titrant.runtime.contract.answers`), and `metrics`, both models' by subgroup, and `reliability`, what they
    predicted beside what came. `invariance`, by candidate id too, says whether answers depend on who shares the batch:
    on evaluation rows where a gate asks that, else on tuning rows. `files` names each released candidate's file below
    the run folder, such as "outputs/breast-cancer.onnx". `sensitivity` is keyed by the candidate whose mixtures it
    serves, `proposals` by the mixture. `observed` is what was seen inside models, in the order of the plan.
    """

    timings: Mapping[str, ModelTimings] = field(default_factory=dict)
    judged_timings: Mapping[str, Mapping[str, ModelTimings]] = field(default_factory=dict)
    quality: Mapping[str, Quality] = field(default_factory=dict)
    point: Point | None = None
    curves: Curves | None = None
    answers: Mapping[str, DecisionCounts] = field(default_factory=dict)
    metrics: Mapping[str, tuple[SliceMetrics, ...]] = field(default_factory=dict)
    reliability: Mapping[str, Reliability] = field(default_factory=dict)
    invariance: Mapping[str, Invariance] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    sensitivity: Mapping[str, Sensitivity] = field(default_factory=dict)
    proposals: Mapping[str, Proposal] = field(default_factory=dict)
    observed: tuple[ModelInside, ...] = ()


@dataclass(frozen=True)
class Record:
    """Everything a report is made of.

    `plan` and `run` are `plain(Plan)` and `plain(RunRecord)`; of the run, its id, its step counts and its seconds may
    be left out, since they differ between reruns. `hardware` is the identity of the machine that it ran on. `look` is
    the run's at its evaluation rows; None where nothing was judged on them.
    """

    plan: Plan
    run: RunRecord
    values: StepValues
    hardware: HardwareIdentity
    recipe_text: str = ""
    recipe_file: str = ""
    look: Look | None = None


def read_record(value: Mapping[str, Any]) -> Record:
    """Make a record from plain JSON; a part that is null or missing is empty.

    Raises StepError X500, naming the part, when the value is not a run record.
    """
    from pydantic import ValidationError

    try:
        plan = dict(value["plan"])
        raw = {
            "plan": plan,
            "run": VOLATILE | dict(value["run"]),
            "values": _values(value.get("values") or {}),
            "hardware": _hardware(value.get("hardware") or plan["hardware"]),
            "recipe_text": value.get("recipe_text") or "",
            "recipe_file": value.get("recipe_file") or "",
            "look": value.get("look"),
        }
        record: Record = _adapter().validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise unreadable(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
    except KeyError as error:
        raise unreadable(f"{error} is missing") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise unreadable(str(error)) from None
    return record


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    present = {key: item for key, item in values.items() if item is not None}
    timings, anew = present.get("timings", {}), present.get("judged_timings", {})
    answers = present.get("answers", {})
    return present | {
        "timings": {name: _timings(figures) for name, figures in timings.items()},
        "judged_timings": {
            candidate: {name: _timings(figures) for name, figures in of_candidate.items() if "failed" not in figures}
            for candidate, of_candidate in anew.items()
        },
        "answers": {name: answer for name, answer in answers.items() if answer is not None},
    }


# What stands beside the batches in the figures of a model.
_NO_BATCH = ("peak_bytes", "peak_samples", "failed")


def _timings(figures: Mapping[str, Any]) -> dict[str, Any]:
    batches = {int(batch): timing for batch, timing in figures.items() if batch not in _NO_BATCH}
    return {"batches": dict(sorted(batches.items())), "peak_bytes": figures.get("peak_bytes")}


def _hardware(hardware: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take a machine's identity, whether it comes alone or as part of `plain(Hardware)`."""
    identity: Mapping[str, Any] = hardware.get("identity", hardware)
    return identity


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


NONE = "–"
# Metrics that count cases, so that value × cases is a whole number.
COUNTED = ("accuracy", "sensitivity", "specificity", "agreement")
# preset → how a gate of it is named; {} is the metric
TITLES = {
    "retention": "retention of {}",
    FINE_TUNED: "retention of {} of the fine-tuned original",
    EXECUTED: "executed as planned",
    "reference": "better than a constant answer ({})",
    "bias": "bias in {}",
    "clinical_relevance": "clinical relevance ({})",
    "target": "{}",
    REGRESSION: "{} beside the earlier release",
    ANCHOR: "{} beside the anchor",
    "gates": "{}",
}


def fraction(value: float | None, against: float | None = None) -> str:
    """Write a fraction with four decimals, or with as many as it takes to tell it from `against`.

    What is not whole never looks whole: 0.99998 is 0.99998 and not 1.0000.
    """
    if value is None:
        return NONE
    rivals = [1.0, 0.0] + ([] if against is None else [against])
    digits = 4
    others = [rival for rival in rivals if abs(value - rival) > 1e-9]
    while digits < 9 and any(round(value, digits) == round(rival, digits) for rival in others):
        digits += 1
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def quantity(value: float | None, unit: str, against: float | None = None) -> str:
    """Write a number in its unit: "" fractions and ratios, "s", "B", "cases/s"."""
    if value is None:
        return NONE
    if unit == "":
        return fraction(value, against)
    text = _rounded(value, unit)
    if against is not None and value != against and text == _rounded(against, unit):
        return f"just {'above' if value > against else 'below'} {text}"
    return text


def _rounded(value: float, unit: str) -> str:
    if unit == "s":
        return format_time(value)
    if unit == "B":
        return format_size(round(value))
    # Cases a second are many; a metric in the label's own unit may be a few of anything.
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.4g} {unit}"


def gate_title(gate: Gate) -> str:
    """Name a gate by what it asks, as "retention of accuracy"."""
    pattern = TITLES.get(gate.preset, gate.preset.replace("_", " ") + " ({})")
    # A custom gate's name or a `module:Name` metric may hold braces of its own.
    return pattern.replace("{}", gate.metric.replace("_", " "))


def gate_slice(gate: Gate) -> str:
    """Name the rows that a gate looks at."""
    everything = "every layer" if gate.preset == EXECUTED else "every case"
    return everything if gate.slice == "all" else gate.slice


def cases(count: int | None) -> str:
    """Write a number of cases."""
    if count is None:
        return NONE
    return f"{count:,} case" + ("" if count == 1 else "s")


def metric_with_cases(metric: str, value: float | None, count: int | None) -> str:
    """Write a metric with what it was computed on: "0.9708 (166/171)" where it counts cases that may be shown."""
    if value is None:
        return NONE
    if count is None:
        return fraction(value)
    hits = value * count
    if metric in COUNTED and count and abs(hits - round(hits)) < 1e-6:
        return f"{fraction(value)} ({round(hits):,}/{count:,})"
    return f"{fraction(value)} (n = {count:,})" if count else fraction(value)


def place(where: str) -> str:
    """Shorten "folder/recipe.yaml:12:3" to "recipe.yaml:12:3": a reader has the recipe, not the machine it lay on."""
    return where.rpartition("/")[2]


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Join names as a sentence does: "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def short(digest: str) -> str:
    """Shorten a digest to what a person compares."""
    return digest[:12]


WIDTH, HEIGHT = 160, 34
MIDDLE = 14  # of the interval, from above
THRESHOLD = 56  # where the threshold stands, from the left
EDGE = 8


def interval_svg(gate: Gate, result: GateResult) -> str:
    """Draw a gate's estimate and bounds against its threshold, as inline SVG; "" where there is nothing to draw.

    Right is always better: the axis is turned round for a gate where small is good. The threshold stands at the same
    place in every picture, so that one look down the column shows which intervals cross it.
    """
    if result.estimate is None:
        return ""
    better = -1.0 if gate.comparison in SMALLER_IS_BETTER else 1.0
    points = [result.estimate if value is None else value for value in (result.lower, result.estimate, result.upper)]
    offsets = sorted(better * (value - gate.threshold) for value in points)
    scale = _scale(offsets)
    low, high = (THRESHOLD + scale * offset for offset in (offsets[0], offsets[-1]))
    estimate = THRESHOLD + scale * better * (result.estimate - gate.threshold)
    parts = [
        f'<svg class="interval {result.verdict.lower()}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" aria-label="{escape(_label(gate, result))}">',
        f'<rect class="beyond" x="0" y="2" width="{THRESHOLD}" height="24"/>',
        f'<line class="axis" x1="0" y1="{MIDDLE}" x2="{WIDTH}" y2="{MIDDLE}"/>',
        f'<line class="threshold" x1="{THRESHOLD}" y1="0" x2="{THRESHOLD}" y2="27"/>',
    ]
    if high - low > 0.5:
        parts.append(f'<line class="bounds" x1="{low:.1f}" y1="{MIDDLE}" x2="{high:.1f}" y2="{MIDDLE}"/>')
        parts += [_cap(low, result.lower if better > 0 else result.upper)]
        parts += [_cap(high, result.upper if better > 0 else result.lower)]
    parts.append(f'<circle class="estimate" cx="{estimate:.1f}" cy="{MIDDLE}" r="4"/>')
    parts.append(f'<text x="{THRESHOLD}" y="{HEIGHT - 0.5}">{escape(_limit(gate))}</text></svg>')
    return "".join(parts)


def _scale(offsets: list[float]) -> float:
    """Return pixels a unit, so that the farthest point on either side still fits."""
    left, right = THRESHOLD - EDGE, WIDTH - THRESHOLD - EDGE
    fits = [left / -offsets[0]] if offsets[0] < 0 else []
    fits += [right / offsets[-1]] if offsets[-1] > 0 else []
    return min(fits, default=0.0)


def _cap(x: float, value: float | None) -> str:
    if value is None:
        return ""
    return f'<line class="cap" x1="{x:.1f}" y1="{MIDDLE - 5}" x2="{x:.1f}" y2="{MIDDLE + 5}"/>'


def _limit(gate: Gate) -> str:
    return f"{gate.threshold:g}" if gate.unit == "" else quantity(gate.threshold, gate.unit)


def _label(gate: Gate, result: GateResult) -> str:
    shown = [quantity(value, gate.unit, gate.threshold) for value in (result.lower, result.estimate, result.upper)]
    return f"estimate {shown[1]}, bounds {shown[0]} to {shown[2]}, threshold {_limit(gate)}"
