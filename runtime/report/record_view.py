"""The run record as a report reads it: one frozen value made from plain JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from titrant.runtime.report.answers import Answers
from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.facts import HardwareIdentity
from titrant.schema.plan import Plan
from titrant.schema.record import RunRecord

# What of a run differs from one run of the same plan to the next: it may be left out.
VOLATILE = {"run": "", "executed": 0, "reused": 0, "seconds": 0.0}


@dataclass(frozen=True)
class Timing:
    """One model at one batch size: seconds for a batch, and cases per second."""

    p50: float
    p95: float
    p99: float
    throughput: float
    samples: tuple[float, ...] = ()


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


@dataclass(frozen=True)
class Point:
    """How an output becomes a decision: "argmax", or "threshold" with the probability from which it is positive."""

    kind: str
    threshold: float | None = None
    source: str = ""


@dataclass(frozen=True)
class Curves:
    """Training, one number an epoch; `best_epoch` counts from 1 and is the epoch whose weights were kept."""

    loss: tuple[float, ...] = ()
    tuning_loss: tuple[float, ...] = ()
    tuning_accuracy: tuple[float, ...] = ()
    best_epoch: int | None = None


@dataclass(frozen=True)
class Values:
    """What steps answered.

    `timings` is keyed by "original" and candidate ids, `quality` by candidate id, `answers` by candidate id and, for
    judged candidates only, says which decisions changed on evaluation rows (`titrant.runtime.report.answers`). `files`
    names each released candidate's file below the run folder, such as "outputs/breast-cancer.onnx".
    """

    timings: Mapping[str, ModelTimings] = field(default_factory=dict)
    quality: Mapping[str, Quality] = field(default_factory=dict)
    point: Point | None = None
    curves: Curves | None = None
    answers: Mapping[str, Answers] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """Everything a report is made of.

    `plan` and `run` are `plain(Plan)` and `plain(RunRecord)`; of the run, its id, its step counts and its seconds may
    be left out, since they differ between reruns. `hardware` is the identity of the machine that it ran on. `looks`
    says which look at its evaluation rows the run was, the first being 1; 0 where that is not known.
    """

    plan: Plan
    run: RunRecord
    values: Values
    hardware: HardwareIdentity
    recipe_text: str = ""
    recipe_file: str = ""
    looks: int = 0


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
            "looks": value.get("looks") or 0,
        }
        record: Record = _adapter().validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise _unreadable(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
    except KeyError as error:
        raise _unreadable(f"{error} is missing") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise _unreadable(str(error)) from None
    return record


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    present = {key: item for key, item in values.items() if item is not None}
    timings = present.get("timings", {})
    answers = present.get("answers", {})
    return present | {
        "timings": {name: _timings(figures) for name, figures in timings.items()},
        "answers": {name: answer for name, answer in answers.items() if answer is not None},
    }


def _timings(figures: Mapping[str, Any]) -> dict[str, Any]:
    batches = {int(batch): timing for batch, timing in figures.items() if batch not in ("peak_bytes", "failed")}
    return {"batches": dict(sorted(batches.items())), "peak_bytes": figures.get("peak_bytes")}


def _hardware(hardware: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take a machine's identity, whether it comes alone or as part of `plain(Hardware)`."""
    identity: Mapping[str, Any] = hardware.get("identity", hardware)
    return identity


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


def _unreadable(why: str) -> StepError:
    return StepError(
        Diagnostic(
            "X500",
            f"this is not a run record: {why}",
            help='a record is {"plan", "run", "values", "hardware", "recipe_text"}, as a run writes it',
        )
    )
