"""Say how few labels of rows without labels would prove each gate, and for which gates no such label helps."""

from titrant.compiler.decide.gate_cases import POSITIVES
from titrant.compiler.decide.rule import Question, RuleAnswer, decision
from titrant.schema.facts import RoleFacts
from titrant.schema.gate import Gate, slice_of
from titrant.schema.labels import EVERY_LABEL, LABELS_OF_DIFFERENT, NO_LABELS, helped_by, labels_needed
from titrant.schema.plan import Decision
from titrant.schema.power import CHANGE, RIGHT

UNLABELED = "unlabeled"


def labels(question: Question) -> RuleAnswer:
    """Show for each gate how many rows and labels would prove it; nothing where there are no rows without labels."""
    facts = question.data.roles.get(UNLABELED)
    data = question.recipe.data
    if facts is None or data is None or data.unlabeled is None:
        return RuleAnswer(None)
    gates = question.settled.contract.gates
    lines = [_line(question, gate, facts) for gate in gates if helped_by(gate) in (NO_LABELS, LABELS_OF_DIFFERENT)]
    every = [gate.id for gate in gates if helped_by(gate) == EVERY_LABEL]
    if every:
        because = "they are about scores, or about values that rows decided alike have too; judged on evaluation rows"
        lines.append(
            decision(
                question, f"labels for {', '.join(every)}", "labels.every", asked="data.unlabeled",
                chosen="labels of some rows do not help", because=because, path=("data", "unlabeled"),
            )
        )  # fmt: skip
    return RuleAnswer(None, tuple(lines))


def _line(question: Question, gate: Gate, facts: RoleFacts) -> Decision:
    rows, labeled, over = _counts(question, gate, facts)
    confidence = question.settled.presets.confidence
    needed = labels_needed(gate, rows=rows, labeled=labeled, over=over, confidence=confidence, change=CHANGE)
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
