"""How many cases a gate needs to pass with 80 % probability, how many there are, how few never do; what labels help."""

from collections.abc import Mapping
from dataclasses import replace

from titrant.compiler.bind.check_data import subgroup_values
from titrant.compiler.decide.rule import Question, RuleAnswer, decision
from titrant.schema.cases import FAITHFUL, Assumed, need
from titrant.schema.facts import DataFacts, RoleFacts
from titrant.schema.gate import EXECUTED, SMALLER_IS_BETTER, Gate, slice_of
from titrant.schema.labels import (
    EVERY_LABEL,
    LABELS_OF_DIFFERENT,
    NO_LABELS,
    helped_by,
    labels_needed,
    unlabeled_cases,
)
from titrant.schema.open_looks import OPEN, open_need, unchanged_cases
from titrant.schema.plan import Decision
from titrant.schema.power import CHANGE, RIGHT
from titrant.schema.samples.bets import mean_cases
from titrant.schema.samples.binomial import zero_failure_cases
from titrant.schema.values.slice import Slice

Needed = tuple[int | None, str]

# What counts the positive class only, and what counts all others.
POSITIVES = ("sensitivity", "kept")
NEGATIVES = "specificity"


def with_cases(gate: Gate, data: DataFacts, confidence: float, *, always_valid: bool = False) -> Gate:
    """Fill in the cases that a gate needs and has; unchanged where it counts none (size, time) or is not assessable."""
    if gate.test == "not_assessable" or gate.preset in ("target", EXECUTED) or gate.comparison == "ratio_at_most":
        return gate
    needed, assumption = needed_cases(gate, confidence, assumed_of(gate, data), always_valid=always_valid)
    available = available_cases(gate.metric, slice_of(gate), data) + further_cases(
        gate, data, always_valid=always_valid
    )
    return replace(gate, needed_cases=needed, available_cases=available, assumption=assumption)


def assumed_of(gate: Gate, data: DataFacts) -> Assumed:
    """Return what the data tell of the cases that a gate counts: rows a unit, groups, how rare a class is."""
    evaluation = data.roles.get("evaluation")
    if evaluation is None or not evaluation.rows:
        return FAITHFUL
    groups = len(subgroup_values(data).get(slice_of(gate).group, ())) if gate.test == "group_ratio" else 2
    held = {name: count for name, count in evaluation.classes.items() if count}
    ratio, rare = 1.0, 0.5
    if len(held) >= 2:
        rows, about = evaluation.rows, slice_of(gate)
        named = about.class_name if about.kind == "class" else data.positive
        rarest = min(held.values())
        of_one = held[named] if named in held and gate.metric != "balanced_accuracy" else rarest
        rare = of_one / rows
        fewer = min(of_one, rows - of_one)
        ratio = (rows - fewer) / fewer if fewer else ratio  # masks: a class that every image has
    return Assumed(
        groups=max(groups, 2), ratio=ratio, rare=rare, classes=max(len(held), 2),
        rows_a_unit=evaluation.rows / max(evaluation.units, 1),
    )  # fmt: skip


def without_bound(gate: Gate, data: DataFacts) -> str:
    """Say why no bound of a gate holds at any number of looks; empty where one may."""
    if gate.test in ("case_groups", "case_quantiles", "image_bootstrap"):
        return "no bound of it holds at any number of looks (validation.looks: open)"
    evaluation = data.roles.get("evaluation")
    # Of units that are smaller a bound may hold, which their sizes decide.
    if gate.test == "case_means" and evaluation is not None and evaluation.rows > 2 * evaluation.units:
        return "no bound of it holds at any number of looks where rows come in units (validation.looks: open)"
    return ""


def needed_cases(gate: Gate, confidence: float, assumed: Assumed = FAITHFUL, *, always_valid: bool = False) -> Needed:
    """Return the cases that a gate needs, and what that number assumes; (None, "") where no such number is known.

    A gate with a least number of cases of its own needs at least those.
    """
    required = open_need if always_valid else need
    requirement = required(gate, assumed, confidence=confidence)
    if gate.min_cases > (requirement.cases or 0):
        return gate.min_cases, "the least that min_cases allows"
    return requirement.cases, requirement.assumption


def available_cases(metric: str, cases: Slice, data: DataFacts) -> int:
    """Return how many evaluation cases a metric counts in a slice: its denominator, in units of `split.by`."""
    evaluation = data.roles.get("evaluation")
    if evaluation is None:
        return 0
    if metric == "auroc" and (cases.kind == "class" or data.positive is not None) and cases.kind != "subgroup":
        name = cases.class_name if cases.kind == "class" else str(data.positive)
        return min(_of_class("auroc", name, evaluation), _of_class(NEGATIVES, name, evaluation))
    if cases.kind == "class":
        return _of_class(metric, cases.class_name, evaluation)
    if cases.kind == "subgroup":
        return min(_in_subgroup(metric, side, evaluation) for side in cases.sides())
    if data.positive is not None and metric in (*POSITIVES, NEGATIVES):
        return _of_class(metric, data.positive, evaluation)
    return 0 if metric in POSITIVES else evaluation.units


def further_cases(gate: Gate, data: DataFacts, *, always_valid: bool = False) -> int:
    """Return how many rows without labels a gate counts that they help to prove; of a class, by its share elsewhere."""
    further, evaluation = data.roles.get("unlabeled"), data.roles.get("evaluation")
    helped = helped_by(gate, always_valid=always_valid)
    if further is None or evaluation is None or helped not in (NO_LABELS, LABELS_OF_DIFFERENT):
        return 0
    among = slice_of(gate)
    units = further.units
    if among.kind == "subgroup":
        units = further.subgroup_units.get(among.group, further.subgroups.get(among.group, {})).get(among.value, 0)
    if gate.metric not in (*POSITIVES, NEGATIVES):
        return units
    name = among.class_name if among.kind == "class" else str(data.positive)
    share = evaluation.classes.get(name, 0) / max(sum(evaluation.classes.values()), 1)
    return int(units * (1 - share if gate.metric == NEGATIVES else share))


def _of_class(metric: str, name: str, evaluation: RoleFacts) -> int:
    """Count a class, or for specificity all others."""
    rows = evaluation.classes.get(name, 0)
    if metric == NEGATIVES:
        return evaluation.other_units.get(name, sum(evaluation.classes.values()) - rows)
    return evaluation.class_units.get(name, rows)


def _in_subgroup(metric: str, side: Slice, evaluation: RoleFacts) -> int:
    rows, positives = (_at(side, counts) or 0 for counts in (evaluation.subgroups, evaluation.positives))
    if metric in POSITIVES:
        units, count = _at(side, evaluation.positive_units), positives
    elif metric == NEGATIVES:
        units, count = _at(side, evaluation.negative_units), rows - positives
    else:
        units, count = _at(side, evaluation.subgroup_units), rows
    return count if units is None else units


def _at(side: Slice, counts: Mapping[str, Mapping[str, int]]) -> int | None:
    return counts.get(side.group, {}).get(side.value)


def shortage(gate: Gate, data: DataFacts, confidence: float, *, always_valid: bool = False) -> tuple[int, int] | None:
    """Return the cases without which a gate can never pass and the fewer that there are; None where none are missing.

    A ratio of two groups rests on the first one's cases where the second has all right, and `min_cases` on both.
    """
    available = gate.available_cases
    if available is None:
        return None
    proving = available
    if gate.test == "group_ratio":
        proving = available_cases(gate.metric, slice_of(gate).sides()[0], data)
    fewest = fewest_cases(gate, confidence, always_valid=always_valid)
    if proving < fewest:
        return max(fewest, gate.min_cases), proving
    return (gate.min_cases, available) if available < gate.min_cases else None


def fewest_cases(gate: Gate, confidence: float, *, always_valid: bool = False) -> int:
    """Return the cases below which a gate can never pass, even if no answer changes; 0 where none are known.

    For a ratio of groups these are the first group's.
    """
    if not 0 < gate.threshold < 1:
        return 0
    if always_valid:
        return _fewest_in_open_looks(gate, confidence)
    match gate.test, gate.comparison:
        case ("exact_binomial", "at_least") | ("score_ratio" | "group_ratio", _):
            # Of retention only cases that either model has right count; all of them may be.
            return zero_failure_cases(gate.threshold, confidence)
        case ("exact_binomial", "at_most") | ("paired_difference", _):
            return zero_failure_cases(1 - gate.threshold, confidence)
        case "paired_mean", "rise_at_most" | "drop_at_most":
            return mean_cases(gate.threshold, 1.0, confidence) or 0
    return 0


def _fewest_in_open_looks(gate: Gate, confidence: float) -> int:
    if gate.test not in ("exact_binomial", "score_ratio", "group_ratio", "paired_difference", "paired_mean"):
        return 0
    if gate.test == "paired_mean" and gate.comparison not in ("rise_at_most", "drop_at_most"):
        return 0
    margin = gate.threshold if gate.comparison in SMALLER_IS_BETTER else 1 - gate.threshold
    return unchanged_cases(margin, confidence) or 0


UNLABELED = "unlabeled"


def labels(question: Question) -> RuleAnswer:
    """Show for each gate how many rows and labels would prove it; nothing where there are no rows without labels."""
    facts = question.data.roles.get(UNLABELED)
    data = question.recipe.data
    if facts is None or data is None or data.unlabeled is None:
        return RuleAnswer(None)
    gates = question.settled.contract.gates
    always_valid = question.settled.contract.looks == OPEN
    helped = {gate.id: helped_by(gate, always_valid=always_valid) for gate in gates}
    lines = [_line(question, gate, facts) for gate in gates if helped[gate.id] in (NO_LABELS, LABELS_OF_DIFFERENT)]
    every = [gate.id for gate in gates if helped[gate.id] == EVERY_LABEL]
    if every:
        because = "they are about scores, or about values that rows decided alike have too; judged on evaluation rows"
        if always_valid:
            because = "no bound that takes labels of some rows holds in open looks; judged on evaluation rows"
        lines.append(
            decision(
                question, f"labels for {', '.join(every)}", "labels.every", asked="data.unlabeled",
                chosen="labels of some rows do not help", because=because, path=("data", "unlabeled"),
            )
        )  # fmt: skip
    return RuleAnswer(None, tuple(lines))


def _line(question: Question, gate: Gate, facts: RoleFacts) -> Decision:
    rows, labeled, over = _counts(question, gate, facts)
    contract = question.settled.contract
    needed = labels_needed(gate, rows=rows, labeled=labeled, over=over, confidence=contract.confidence, change=CHANGE)
    if contract.looks == OPEN and gate.needed_cases is not None:
        needed = unlabeled_cases(gate.needed_cases, rows, labeled)
    if needed.labels is None:
        more = "no number of rows would do" if needed.rows is None else f"{needed.rows:,} rows are needed"
        chosen = f"{more}, and there are {rows:,}" if needed.rows is not None else more
    elif needed.labels == 0:
        chosen = f"no label of {rows:,} rows"
    else:
        chosen = f"labels of about {needed.labels:,} of {rows:,} rows"
    random = "" if gate.needed_cases is None else f"; {gate.needed_cases:,} labeled cases without them"
    because = f"{CHANGE:.1%} of the decisions change, half of them for the worse{random}"
    return decision(
        question, f"labels for {gate.id}", "labels.different", asked="data.unlabeled", chosen=chosen, because=because,
        path=("data", "unlabeled"),
    )  # fmt: skip


def _counts(question: Question, gate: Gate, facts: RoleFacts) -> tuple[int, int, float]:
    """Return a gate's rows without and with labels, and the share of them that the original is taken to have right."""
    evaluation = question.data.roles["evaluation"]
    among = slice_of(gate)
    rows, labeled = facts.units, evaluation.units
    if among.kind == "subgroup":
        rows, labeled = (role.subgroups.get(among.group, {}).get(among.value, 0) for role in (facts, evaluation))
    if gate.metric == "accuracy":
        return rows, labeled, RIGHT
    name = among.class_name if among.kind == "class" else str(question.data.positive)
    held = sum(evaluation.classes.values())
    share = evaluation.classes.get(name, 0) / held if held else 0.0
    share = share if gate.metric in POSITIVES else 1 - share
    return rows, labeled, RIGHT * share
