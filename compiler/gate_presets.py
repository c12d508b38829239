"""The rows that the contract's presets stand for."""

import itertools
from collections.abc import Iterator

from titrant.compiler.rules.presets import Preset, Presets
from titrant.compiler.rules.question import Question
from titrant.schema.facts import DataFacts
from titrant.schema.gate import Gate
from titrant.schema.gate_test import gate_test

NO_LABELS = "the task has no labels"
NO_POSITIVE = "data.positive names no critical class"


def not_assessable(
    identifier: str, preset: str, metric: str, asked: Preset, reason: str, *, slice_: str = "all"
) -> Gate:
    """Make a row whose facts are missing: it answers INCONCLUSIVE and says why."""
    comparison = "rise_at_most" if preset == "calibration" else "at_least"
    return Gate(
        id=identifier,
        preset=preset,
        metric=metric,
        slice=slice_,
        comparison=comparison,  # type: ignore[arg-type]
        threshold=asked.threshold,
        test="not_assessable",
        origin=asked.origin,
        assumption=reason,
    )


def overall(question: Question, presets: Presets) -> Iterator[Gate]:
    """Retention, calibration and clinical relevance: rows over all cases."""
    labelled = question.recipe.task != "unlabeled"
    asked = presets.thresholds
    if (preset := asked.get("retention")) is not None:
        metric, comparison = ("accuracy", "retention") if labelled else ("agreement", "at_least")
        yield _row("retention", "retention", (metric, "all", comparison), preset)
    for name, metric, comparison in (
        ("calibration", "brier", "rise_at_most"),
        ("clinical_relevance", "same_decision", "at_least"),
    ):
        if (preset := asked.get(name)) is None:
            continue
        if labelled:
            yield _row(name, name, (metric, "all", comparison), preset)
        else:
            yield not_assessable(name, name, metric, preset, NO_LABELS)


def safety(question: Question, presets: Presets) -> Iterator[Gate]:
    """Critical cases that stay caught, and the absolute sensitivity to the critical class."""
    positive = question.data.positive
    for name, metric in (("kept", "kept"), ("sensitivity", "sensitivity")):
        if (preset := presets.thresholds.get(name)) is None:
            continue
        if positive is None:
            reason = NO_LABELS if question.recipe.task == "unlabeled" else NO_POSITIVE
            yield not_assessable(f"safety.{name}", "safety", metric, preset, reason)
        else:
            yield _row(f"safety.{name}", "safety", (metric, f"class {positive}", "at_least"), preset)


def bias(question: Question, presets: Presets) -> Iterator[Gate]:
    """One row for each ordered pair of a subgroup's values, and one for the paired change within each value."""
    preset = presets.thresholds.get("bias")
    if preset is None:
        return
    metric = presets.bias_metric or ("sensitivity" if question.data.positive is not None else "accuracy")
    values = subgroup_values(question.data)
    reason = ""
    if question.recipe.task == "unlabeled":
        reason = NO_LABELS
    elif not values:
        reason = "data.subgroups has no subgroups"
    if reason:
        yield not_assessable("bias", "bias", metric, preset, reason)
        return
    for group, names in values.items():
        if len(names) < 2:
            only = f"the subgroup {group} has one value only" if names else f"no row is in the subgroup {group}"
            yield not_assessable(f"bias.{group}", "bias", metric, preset, only)
            continue
        cases = presets.bias_min_cases
        for one, other in itertools.permutations(names, 2):
            compared = (metric, f"subgroup {group}.{one} / {group}.{other}", "ratio_at_least")
            yield _row(f"bias.{group}.{one}/{other}", "bias", compared, preset, min_cases=cases)
        for name in names:
            compared = (metric, f"subgroup {group}.{name}", "retention")
            yield _row(f"bias.{group}.{name}", "bias", compared, preset, min_cases=cases)


def subgroup_values(data: DataFacts) -> dict[str, tuple[str, ...]]:
    """Return the values of every subgroup in any role, in the order of the data."""
    found: dict[str, dict[str, None]] = {}
    for role in ("evaluation", "tuning", "calibration", "train"):
        if role in data.roles:
            for group, values in data.roles[role].subgroups.items():
                found.setdefault(group, {}).update(dict.fromkeys(values))
    return {group: tuple(values) for group, values in found.items()}


def _row(identifier: str, preset: str, compared: tuple[str, str, str], asked: Preset, *, min_cases: int = 0) -> Gate:
    """Make a row; `compared` is its metric, slice and comparison."""
    metric, slice_, comparison = compared
    return Gate(
        id=identifier,
        preset=preset,
        metric=metric,
        slice=slice_,
        comparison=comparison,  # type: ignore[arg-type]
        threshold=asked.threshold,
        test=gate_test(metric, comparison),
        origin=asked.origin,
        min_cases=min_cases,
    )
