"""The report as JSON: what a program asks first, then the whole record; and the JSON Schema of that file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from titrant.runtime.report.headline import Headline
from titrant.runtime.report.record_view import VOLATILE, Record
from titrant.schema.gain_parts import ReductionGain
from titrant.schema.values.canonical import canonical_json, plain

if TYPE_CHECKING:
    from titrant.runtime.report.page.gather import Page, Story

# Raised when what stands in the file changes its name or its meaning.
FORMAT = 2
SCHEMA_ID = "titrant-report-2"


@dataclass(frozen=True)
class SavingValue:
    """One quantity of the original and of the candidate, as the page writes them."""

    name: str
    before: str
    after: str
    words: str
    predicted: str


@dataclass(frozen=True)
class GainValue:
    """One part of the speed-up, as the page writes it."""

    name: str
    files: str
    what: str
    speed: str
    size: str


@dataclass(frozen=True)
class GateValue:
    """How one gate was judged; `left` is the share of its allowance that the bound leaves, null: not assessable."""

    gate: str
    verdict: str
    left: float | None


@dataclass(frozen=True)
class HarmValue:
    """A class or subgroup that became worse by a gate that was not kept; `shown`: by a FAIL."""

    candidate: str
    group: str
    metric: str
    before: str
    after: str
    cases: str
    shown: bool


@dataclass(frozen=True)
class SearchValue:
    """What one search ended with; `file` lies below the run's folder, null where nothing was released."""

    candidate: str
    format: str
    released: bool
    file: str | None
    size: int | None
    seconds: float | None
    savings: tuple[SavingValue, ...]
    gains: tuple[GainValue, ...]
    verdict: str | None
    gates: tuple[GateValue, ...]
    predicted: str
    weakest: str | None
    ablation: tuple[Mapping[str, str], ...] = ()
    reductions: tuple[ReductionGain, ...] = ()


@dataclass(frozen=True)
class PointValue:
    """One model of the chart of quality against latency; null is what was not measured."""

    name: str
    quality: float
    seconds: float
    chosen: bool


@dataclass(frozen=True)
class QualityValue:
    """The chart of quality against latency: the metric on tuning rows, what is asked, and every point."""

    metric: str
    less_is_better: bool
    asked: float | None
    points: tuple[PointValue, ...]


@dataclass(frozen=True)
class ReportSummary:
    """What a program asks first: verdict, exit code, what is released, how every gate was judged, who is harmed."""

    name: str
    task: str
    verdict: str
    exit: int
    released: tuple[str, ...]
    headline: Headline
    processor: str
    searches: tuple[SearchValue, ...]
    harmed: tuple[HarmValue, ...]
    quality: QualityValue | None
    advice: tuple[str, ...]


def json_text(page: "Page", record: Mapping[str, Any]) -> str:
    """Write canonical JSON: {"format", "summary", "record"}."""
    return canonical_json({"format": FORMAT, "summary": plain(summary(page)), "record": record}) + "\n"


def summary(page: "Page") -> ReportSummary:
    """Gather what a program asks first."""
    run = page.record.run
    chart = page.quality.chart
    quality = None
    if chart is not None:
        points = tuple(PointValue(point.name, point.y, point.x, point.chosen) for point in chart.marks)
        quality = QualityValue(page.quality.metric, chart.less, chart.asked, points)
    return ReportSummary(
        name=page.title,
        task=page.record.plan.task,
        verdict=run.verdict,
        exit=run.exit,
        released=run.released,
        headline=page.headline,
        processor=page.record.hardware.cpu,
        searches=tuple(_search(story) for story in page.stories),
        harmed=tuple(
            HarmValue(harm.candidate, harm.group, harm.metric, harm.before, harm.after, harm.cases, harm.shown)
            for each in page.harmed
            for harm in each.groups
        ),
        quality=quality,
        advice=page.advice,
    )


def _search(story: "Story") -> SearchValue:
    contract, timing = story.contract, story.lead.timing(story.search.timing_batch)
    return SearchValue(
        candidate=story.lead.id,
        format=story.lead.planned.format,
        released=story.lead.released,
        file=story.usage.file if story.usage else None,
        size=story.lead.record.size,
        seconds=None if timing is None else timing.p50,
        savings=tuple(SavingValue(row.name, row.before, row.after, row.words, row.predicted) for row in story.savings),
        gains=tuple(GainValue(row.name, row.files, row.what, row.speed, row.size) for row in story.gains),
        verdict=contract.verdict if contract else None,
        gates=tuple(
            GateValue(row.margin.gate, row.verdict, row.margin.left) for row in (contract.every if contract else ())
        ),
        predicted=story.predicted,
        weakest=contract.weakest.gate if contract and contract.weakest else None,
        ablation=tuple(asdict(row) for row in story.ablation),
        reductions=story.lead.record.reductions,
    )


@dataclass(frozen=True)
class _File:
    format: Literal[2]
    summary: ReportSummary
    record: Record


# A model's figures stand beside its memory, by the batch size as text.
_TIMINGS = {
    "type": "object",
    "patternProperties": {"^[0-9]+$": {"$ref": "#/$defs/Timing"}},
    "properties": {"peak_bytes": {"type": ["integer", "null"]}, "peak_samples": {}, "failed": {}},
    "additionalProperties": False,
}
# In how many tuning rows both models, one or neither is right; whoever reads a report needs no more of them.
_PAIRS = {
    "type": ["object", "null"],
    "properties": {name: {"type": "integer"} for name in ("both", "gained", "lost", "neither")}
    | {"units": {"type": "object", "additionalProperties": {"type": "integer"}}},
    "additionalProperties": False,
}


# Metrics of the user's own that the search is after, of both models on tuning rows; `error`: of their difference.
_OWN = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {
            "better": {"enum": ["higher", "lower"]},
            **{name: {"type": "number"} for name in ("low", "high", "original", "candidate")},
            "error": {"type": ["number", "null"]},
        },
        "additionalProperties": False,
    },
}


# What gates on subgroups answered on tuning rows; `spent`: the share lost of what they allow.
_GROUPS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {
            **{name: {"type": "number"} for name in ("estimate", "spent")},
            "verdict": {"enum": ["PASS", "FAIL", "INCONCLUSIVE"]},
        },
        "additionalProperties": False,
    },
}


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of report.json: every object closed, but for what a user names."""
    schema = closed_schema(_File, SCHEMA_ID, "report.json of a titrant run")
    definitions = schema["$defs"]
    definitions["ModelTimings"] = _TIMINGS
    definitions["Timing"]["properties"]["blocks"] = {"type": "array", "items": {"type": "integer"}}
    definitions["Quality"]["properties"] |= {
        "pairs": _PAIRS,
        "metric": {"type": "string"},
        "kept_at_least": {"type": ["number", "null"]},
        "own": _OWN,
        "groups": _GROUPS,
    }
    required = [name for name in definitions["RunRecord"]["required"] if name not in VOLATILE]
    definitions["RunRecord"]["required"] = required
    for name in definitions["StepValues"]["properties"].values():
        # Parts that a run does not have are null, or left out.
        kind = {key: name.pop(key) for key in list(name) if key not in ("default", "title")}
        name["anyOf"] = [kind, {"type": "null"}]
    return schema


def closed_schema(kind: type, name: str, title: str) -> dict[str, Any]:
    """Return the JSON Schema of a dataclass, in which no object has keys beside those of its class."""
    from pydantic import TypeAdapter

    schema: dict[str, Any] = TypeAdapter(kind).json_schema(ref_template="#/$defs/{model}")
    for definition in (schema, *schema["$defs"].values()):
        if "properties" in definition:
            definition["additionalProperties"] = False
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name}
    return {**draft, **schema, "title": title}
