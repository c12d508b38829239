"""Write the contract: the gates of presets, target limits, the baseline and free gates, each with its cases."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

from titrant.compiler.bind.check_data import subgroup_values
from titrant.compiler.bind.own_metrics import declared
from titrant.compiler.decide.gate_cases import shortage, with_cases, without_bound
from titrant.compiler.decide.gates.earlier import MainRow, because, earlier_rows
from titrant.compiler.decide.gates.waivers import waivers
from titrant.compiler.decide.levels import is_medical, safeguard
from titrant.compiler.decide.rule import Preset, Presets, Question, RuleAnswer, decision
from titrant.schema.contract.earlier import ANCHOR, REGRESSION
from titrant.schema.gate import (
    AS_PLANNED,
    BATCH_INVARIANCE,
    BESIDE_ORIGINAL,
    EXECUTED,
    FINE_TUNED,
    OFFLINE,
    REFERENCE,
    Contract,
    Gate,
    gate_test,
)
from titrant.schema.open_looks import OPEN
from titrant.schema.recipe.data import STRATA
from titrant.schema.recipe.deploy import is_offline
from titrant.schema.recipe.own_metric import OwnMetric, is_own, own_test
from titrant.schema.recipe.tasks import TASKS
from titrant.schema.values.slice import Slice, read_slice
from titrant.schema.values.units import shown_count

# Where a row comes from that neither the recipe nor its level supplies.
EVERY_CONTRACT = "every contract"

NO_LABELS = "the task has no labels"
NO_PROBABILITIES = "the task has no probabilities"
NO_CRITICAL = "the task has no critical class"
NO_POSITIVE = "data.positive names no critical class"


def contract(question: Question) -> RuleAnswer:
    """Write the contract, and warn of every gate that the data can never prove."""
    presets = question.settled.presets
    rows = gates(question, presets)
    medical = safeguard(question) if is_medical(question) else ""
    return RuleAnswer(
        Contract(rows, presets.confidence, presets.require, presets.looks, waivers(question.bound, rows, medical)),
        (),
        warnings_of(rows, question, presets),
    )


def warnings_of(rows: tuple[Gate, ...], question: Question, presets: Presets) -> tuple[str, ...]:
    """Say which gates can never be proven with the cases there are, and which are not assessable at all.

    How many cases there are is told from `report.min_cell` on.
    """
    warnings, least = [], question.bound.recipe.report.min_cell
    for gate in rows:
        if gate.test == "not_assessable":
            warnings.append(f"gate {gate.id} is not assessable: {gate.assumption}")
        elif presets.looks == OPEN and (why := without_bound(gate, question.data)):
            warnings.append(f"gate {gate.id} can never be proven: {why}; plan a number of looks, such as `looks: 5`")
        elif gate.preset == "bias" and gate.available_cases is not None and gate.available_cases < gate.min_cases:
            warnings.append(
                f"gate {gate.id} can never be proven for a candidate that changes an answer there: it takes "
                f"{gate.min_cases} cases (min_cases), and there are {shown_count(gate.available_cases, least)}"
            )
        elif (short := _shortage(gate, question, presets)) is not None:
            warnings.append(
                f"gate {gate.id} can never be proven: even if no answer changes it takes "
                f"{short[0]} cases, and there are {shown_count(short[1], least)}"
            )
    return tuple(warnings)


def _shortage(gate: Gate, question: Question, presets: Presets) -> tuple[int, int] | None:
    return shortage(gate, question.data, presets.confidence, always_valid=presets.looks == OPEN)


def gates(question: Question, presets: Presets) -> tuple[Gate, ...]:
    """Write the whole contract."""
    rows = (
        *overall(question, presets),
        *safety(question, presets),
        *bias(question, presets),
        *_batch_invariance(presets),
        Gate(EXECUTED, EXECUTED, AS_PLANNED, "all", "at_least", 1.0, "read_back", EVERY_CONTRACT),
        *_reference(question),
        *_baseline(question),
        *targets(question),
        *_earlier(question, presets),
        *_free(question),
    )
    open_looks = presets.looks == OPEN
    return tuple(with_cases(gate, question.data, presets.confidence, always_valid=open_looks) for gate in _unique(rows))


def overall(question: Question, presets: Presets) -> Iterator[Gate]:
    """Retention, calibration and clinical relevance: rows over all cases."""
    task = TASKS[question.recipe.task]
    asked = presets.thresholds
    if (preset := asked.get("retention")) is not None:
        yield kept_row(question.recipe.task, preset)
        if question.settled.fine_tuning is not None:
            yield replace(kept_row(question.recipe.task, preset), id=FINE_TUNED, preset=FINE_TUNED)
    for name, metric, comparison in (
        ("calibration", "brier", "rise_at_most"),
        ("clinical_relevance", "same_decision", "at_least"),
    ):
        if (preset := asked.get(name)) is None:
            continue
        if task.label == "class":
            yield _row(name, name, (metric, "all", comparison), preset)
        elif task.label == "none" or name == "calibration":
            reason = NO_LABELS if task.label == "none" else NO_PROBABILITIES
            yield not_assessable(name, name, metric, preset, reason)
        else:  # there are no decisions: the same answer is what counts as the same
            yield _row(name, name, (task.same, "all", comparison), preset)


def safety(question: Question, presets: Presets) -> Iterator[Gate]:
    """Critical cases that stay caught, and the absolute sensitivity to the critical class."""
    positive = question.data.positive
    for name, metric in (("kept", "kept"), ("sensitivity", "sensitivity")):
        if (preset := presets.thresholds.get(name)) is None:
            continue
        if positive is None:
            label = TASKS[question.recipe.task].label
            reason = {"none": NO_LABELS, "class": NO_POSITIVE, "labels": NO_POSITIVE}.get(label, NO_CRITICAL)
            yield not_assessable(f"safety.{name}", "safety", metric, preset, reason)
        else:
            yield _row(f"safety.{name}", "safety", (metric, Slice("class", positive).text, "at_least"), preset)


def bias(question: Question, presets: Presets) -> Iterator[Gate]:
    """One row for each ordered pair of a subgroup's values, and one for the paired change within each value."""
    preset = presets.thresholds.get("bias")
    if preset is None:
        return
    task = TASKS[question.recipe.task]
    metric = presets.bias_metric or ("sensitivity" if question.data.positive is not None else task.of_groups)
    strata = (STRATA,) if question.recipe.strata else ()
    values = {name: each for name, each in subgroup_values(question.data).items() if name not in strata}
    reason = ""
    if task.label == "none":
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
        for value, other in itertools.permutations(names, 2):
            pair = Slice("subgroup", group=group, value=value, other=other)
            compared = (metric, pair.text, "ratio_at_least")
            yield _row(f"bias.{group}.{value}/{other}", "bias", compared, preset, min_cases=cases)
        for name in names:
            compared = (metric, Slice("subgroup", group=group, value=name).text, "retention")
            yield _row(f"bias.{group}.{name}", "bias", compared, preset, min_cases=cases)


def _batch_invariance(presets: Presets) -> Iterator[Gate]:
    """Cases that are answered alike whoever shares their batch, also those of a task without labels."""
    preset = presets.thresholds.get("batch_invariance")
    if preset is not None:
        yield _row("batch_invariance", "batch_invariance", (BATCH_INVARIANCE, "all", "at_least"), preset)


def _reference(question: Question) -> Iterator[Gate]:
    """Ask that the original beats the best constant answer, with its bound; nothing where no such answer is wrong.

    With two classes, of which one is positive, every constant answer has a balanced accuracy of one half; else the
    largest class is what the best one always gives.
    """
    evaluation, task = question.data.roles["evaluation"], TASKS[question.recipe.task]
    if task.over_constant:
        metric = task.over_constant
        test = gate_test(metric, "at_least")
        yield Gate(REFERENCE, REFERENCE, metric, "all", "at_least", 0.0, test, EVERY_CONTRACT)
    present = {name: count for name, count in evaluation.classes.items() if count}
    if task.label != "class" or len(present) < 2:
        return
    if question.data.positive is not None and len(question.data.classes) == 2:
        yield Gate(REFERENCE, REFERENCE, "balanced_accuracy", "all", "at_least", 0.5, "two_proportions", EVERY_CONTRACT)
        return
    share = max(present.values()) / sum(present.values())
    yield Gate(REFERENCE, REFERENCE, "accuracy", "all", "at_least", share, "exact_binomial", EVERY_CONTRACT)


def _baseline(question: Question) -> Iterator[Gate]:
    baseline = question.recipe.validation.baseline
    if baseline is not None:
        where = question.bound.where("validation", "baseline", "at_least")
        test, own = _test(question, baseline.metric, "at_least")
        yield Gate("baseline", "baseline", baseline.metric, "all", "at_least", baseline.at_least, test, where, own=own)


def targets(question: Question) -> Iterator[Gate]:
    """Latency, size, peak memory and throughput, each in its unit."""
    target, bound = question.recipe.target, question.bound
    latency = target.latency
    for name in ("p50", "p95", "p99"):
        limit = getattr(latency, name) if latency is not None else None
        if limit is not None:
            where = bound.where("target", "latency", name)
            yield _limit(f"latency.{name}", f"latency_{name}", limit, "s", where)
    for name, unit in (("size", "B"), ("peak_memory", "B"), ("throughput", "cases/s")):
        limit = getattr(target, name)
        if limit is not None:
            row = _limit(name, name, float(limit), unit, bound.where("target", name))
            offline = name == "throughput" and is_offline(question.recipe.target)
            yield replace(row, test=OFFLINE) if offline else row


def _limit(identifier: str, metric: str, limit: float, unit: str, where: str) -> Gate:
    comparison = "at_least" if metric == "throughput" else "at_most"
    test = gate_test(metric, comparison)
    return Gate(identifier, "target", metric, "all", comparison, limit, test, where, unit)  # type: ignore[arg-type]


def earlier(question: Question) -> RuleAnswer:
    """Settle which earlier releases rows compare with, and say which runs released them."""
    regression = question.recipe.validation.regression
    asked = {
        REGRESSION: ("" if regression is None else regression.against, ("validation", REGRESSION, "against")),
        ANCHOR: (str(question.recipe.validation.anchor), ("validation", ANCHOR)),
    }
    lines = tuple(
        decision(
            question, ".".join(asked[name][1]), f"{name}.run", asked=asked[name][0], chosen=model.release.run,
            because=because(name, model.release), path=asked[name][1],
        )
        for name, model in question.earlier.items()
    )  # fmt: skip
    return RuleAnswer(question.earlier, lines)


def _earlier(question: Question, presets: Presets) -> Iterator[Gate]:
    releases = {name: model.release for name, model in question.settled.earlier.items()}
    task, asked = TASKS[question.recipe.task], presets.thresholds.get("retention")
    kept: MainRow = (task.main, "at_least" if task.label == "none" else "retention")
    threshold = 0.0 if asked is None else asked.threshold
    yield from earlier_rows(question.bound, releases, question.hardware.identity, kept, threshold)


def _free(question: Question) -> Iterator[Gate]:
    for place, gate in enumerate(question.recipe.validation.gates):
        where = question.bound.where("validation", "gates", place)
        name = gate.name or f"{gate.metric}.{gate.slice}.{gate.comparison}".replace(" ", "_")
        reason = unknown_slice(question, read_slice(gate.slice))
        if reason:
            preset = Preset(gate.threshold, where, True)
            yield not_assessable(name, "gates", gate.metric, preset, reason, slice_=gate.slice)
            continue
        test, own = _test(question, gate.metric, gate.comparison)
        yield Gate(name, "gates", gate.metric, gate.slice, gate.comparison, gate.threshold, test, where, own=own)


def _test(question: Question, metric: str, comparison: str) -> tuple[str, OwnMetric | None]:
    """Return the test that judges a metric, and of one of the user's own what it declares."""
    if not is_own(metric):
        return gate_test(metric, comparison), None
    own = declared(metric, question.bound.folder)
    return own_test(own, comparison), own


def unknown_slice(question: Question, cases: Slice) -> str:
    """Say why a slice has no evaluation rows; "" when it has some."""
    evaluation = question.data.roles["evaluation"]
    if cases.kind == "class" and not evaluation.classes.get(cases.class_name):
        return f"no evaluation row is of class {cases.class_name}"
    if cases.kind == "subgroup" and not evaluation.subgroups.get(cases.group, {}).get(cases.value):
        return f"no evaluation row is in subgroup {cases.subgroup}"
    return ""


def kept_row(task: str, asked: Preset) -> Gate:
    """Make the row of what all cases together keep of a task's main metric."""
    rules = TASKS[task]
    alone = rules.label == "none" or rules.main in BESIDE_ORIGINAL
    return _row("retention", "retention", (rules.main, "all", "at_least" if alone else "retention"), asked)


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


def _unique(rows: tuple[Gate, ...]) -> Iterator[Gate]:
    """Number an id that stands twice: a free gate may be called as a preset is."""
    seen: dict[str, int] = {}
    for gate in rows:
        seen[gate.id] = seen.get(gate.id, 0) + 1
        yield gate if seen[gate.id] == 1 else replace(gate, id=f"{gate.id}.{seen[gate.id]}")
