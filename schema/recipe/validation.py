"""The `validation` section: the contract, as presets and as free gates."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from titrant.schema.recipe.terms import (
    Count,
    Form,
    Fraction,
    Metric,
    Off,
    Positive,
    Ref,
    Section,
    SwitchedOff,
    Text,
    unsaid,
)

SliceText = Annotated[
    str,
    Field(pattern=r"^(all|class .+|subgroup [^.]+\..+)$"),
    Form("`all`, `class X` or `subgroup G.value`", ("all",), "slice"),
]
Requirement = Literal["proof", "evidence"]
Date = Annotated[
    str,
    Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"),
    Form("a day such as `2027-01-31`"),
]


def _kept(value: Any) -> Any:
    return {"kept": value} if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _at_least(value: Any) -> Any:
    return {"at_least": value} if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class Safety(Section):
    """No critical case may be lost."""

    kept: Fraction = Field(description="share of the critical cases that the original caught and that stay caught")
    sensitivity: Fraction | None = Field(None, description="sensitivity to `data.positive` that is reached as well")


class Bias(Section):
    """No subgroup may fare worse than another."""

    at_least: Fraction = Field(description="ratio of the metric between any two subgroups, at least")
    metric: Metric | None = Field(None, description="default: sensitivity to `data.positive`, else accuracy")
    min_cases: Count = Field(50, description="cases in the metric's denominator below which nothing is concluded")


class Calibration(Section):
    """Probabilities stay as honest as they were."""

    rise_at_most: Fraction = Field(description="rise of the Brier score, at most")


# How two answers without labels are compared.
Measure = Literal["auto", "same_class", "cosine", "neighbor", "relative", "absolute", "dice", "boxes"]


class Agreement(Section):
    """When a case without a label is answered as the original answers it."""

    measure: Measure = Field("auto", description="how two answers are compared; auto: by the kind of the output")
    tolerance: Annotated[float, Field(ge=0)] | None = Field(
        None,
        description="cosine, Dice at least this, relative, absolute difference at most; default .99, .95, .01",
    )
    at_least: Fraction | None = Field(None, description="share of the cases that agree; default: as `retention`")


class FreeGate(Section):
    """One row of the contract."""

    metric: Metric | Ref = Field(description="a metric, or `module:Name` of your own, declared by `@titrant.metric`")
    slice: SliceText = Field("all", description="all, `class X` or `subgroup G.value`")
    comparison: Literal["at_least", "at_most", "retention", "drop_at_most", "rise_at_most"] = Field(
        description="absolute, or against the original: retention is a ratio, drop and rise are differences"
    )
    threshold: float = Field(description="what the metric is compared with")
    name: Text | None = Field(None, description="how the report calls the gate")


class Baseline(Section):
    """What the original must reach."""

    metric: Metric | Ref = Field(description="a metric, or `module:Name` of your own")
    at_least: float = Field(description="value that the original must reach")


class OperatingPoint(Section):
    """Where a score becomes a decision; exactly one of the two."""

    threshold: Fraction | None = Field(None, description="probability from which the positive class is decided")
    sensitivity: Fraction | None = Field(
        None, description="sensitivity of the original on tuning rows that sets the threshold"
    )


class Regression(Section):
    """The stored artifact of an earlier run, timed again beside the new one."""

    against: Text = Field("previous", description="run id, or `previous`: the last released run of this name")
    latency_p50: Positive | None = Field(None, description="ratio new / stored, at most")
    latency_p95: Positive | None = Field(None, description="ratio new / stored, at most")
    size: Positive | None = Field(None, description="ratio new / stored, at most")
    peak_memory: Positive | None = Field(None, description="ratio new / stored, at most")
    metric: Positive | None = Field(None, description="ratio of the main metric, at least")


class Waiver(Section):
    """One gate that is let through although it did not pass; it never prints PASS."""

    gate: Text = Field(description="id of the gate")
    reason: Text = Field(description="why it is accepted")
    by: Text = Field(description="who accepts it")
    until: Date = Field(description="last day it holds, such as 2027-01-31")


class Validation(Section):
    """The contract; a preset not written comes from the level, `none` switches it off."""

    retention: Fraction | SwitchedOff | None = Field(None, description="fraction of the original's main metric")
    safety: Annotated[
        Safety | SwitchedOff | None, BeforeValidator(_kept, json_schema_input_type=Fraction | Safety | SwitchedOff)
    ] = Field(None, description="critical cases that stay caught: a fraction, or {kept, sensitivity}")
    bias: Annotated[
        Bias | SwitchedOff | None, BeforeValidator(_at_least, json_schema_input_type=Fraction | Bias | SwitchedOff)
    ] = Field(None, description="ratio between any two subgroups: a fraction, or {at_least, metric, min_cases}")
    calibration: Calibration | SwitchedOff | None = Field(None, description="rise of the Brier score")
    clinical_relevance: Fraction | SwitchedOff | None = Field(
        None, description="fraction of the cases decided as the original does at the operating point"
    )
    agreement: Agreement | Mapping[Text, Agreement] | None = Field(
        None, description="when outputs without labels count as the same: for all of them, or by output name"
    )
    batch_invariance: Fraction | SwitchedOff | None = Field(
        None, description="fraction of the decisions that do not depend on who shares the batch"
    )
    gates: tuple[FreeGate, ...] = Field((), description="further rows of the contract")
    baseline: Annotated[Baseline | None, Off] = Field(None, description="what the original must reach")
    operating_point: OperatingPoint = Field(
        default_factory=lambda: OperatingPoint.model_construct(threshold=0.5),
        description="where a score becomes a decision",
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(0.95, description="of every one-sided bound, 0.5 up to 1")
    looks: Annotated[int, Field(ge=1, le=1000)] | Literal["open"] = Field(
        1, description="how many times these evaluation rows may be judged; `open`: any number, rows may be added"
    )
    require: Requirement | None = Field(None, description="what releases; default: by level")
    regression: Annotated[Regression | None, Off] = Field(None, description="limits against an earlier run")
    anchor: Annotated[Text | None, Off] = Field(
        None,
        exclude_if=unsaid,
        description="retention against an earlier release as well: a run id, or `first`: the first of the line",
    )
    accept: tuple[Waiver, ...] = Field((), description="dated waivers")
    preset: Annotated[Literal["mlperf_99", "mlperf_99_9"] | None, Off] = Field(
        None, description="a published set of thresholds"
    )


def row_metrics(validation: Validation) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every metric that a row of the contract names itself, with its place in the recipe."""
    for place, gate in enumerate(validation.gates):
        yield ("validation", "gates", place, "metric"), gate.metric
    if validation.baseline is not None:
        yield ("validation", "baseline", "metric"), validation.baseline.metric
