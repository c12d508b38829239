"""Compare two runs step by step, and name the input that a difference between two plans follows from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from titrant.schema.compare.difference import CauseKind, Difference, differences, named_differences
from titrant.schema.gate import EXECUTED
from titrant.schema.plan import Plan, Step, without_paths
from titrant.schema.record import RunRecord, StepRecord
from titrant.schema.values.canonical import plain
from titrant.schema.values.dependencies import PACKAGE, shown

_UNKNOWN: tuple[str, CauseKind] = ("", "")


def key_differences(
    old: Plan, new: Plan, old_record: RunRecord, new_record: RunRecord, moved: frozenset[str]
) -> Iterator[Difference]:
    """Yield the steps whose keys differ, each with what that follows from; `moved` as `moved_by_timing` gives it."""
    before, after = results(old_record), results(new_record)
    steps = {step.id: step for step in old.steps}, {step.id: step for step in new.steps}
    for difference in named_differences(
        {name: record.key for name, record in before.items()},
        {name: record.key for name, record in after.items()},
        "keys",
    ):
        name = difference.path
        both = name in before and name in after
        cause, kind = _key_cause(steps[0][name], steps[1][name], before, after) if both else _UNKNOWN
        yield replace(difference, cause=cause, cause_kind=kind, measured=name in moved)


def _key_cause(
    old: Step, new: Step, before: Mapping[str, StepRecord], after: Mapping[str, StepRecord]
) -> tuple[str, CauseKind]:
    """Say why a step's key differs, as far as plan and records tell: its own parameters first, then what it reads."""
    for name in ("operator", "version", "params", "seed"):
        left, right = (without_paths(plain(getattr(step, name))) for step in (old, new))
        for difference in differences(left, right, "keys", name):
            return f"its {difference.path}", "own"
    changed = [
        reference
        for reference in read_by(new)
        if reference in read_by(old) and _digest(reference, before) != _digest(reference, after)
    ]
    if changed:
        return f"{changed[0]}, which it reads", "read"
    if read_by(old) != read_by(new):
        return "other steps, which it reads", "read"
    return "the environment", "environment"


def output_differences(old: RunRecord, new: RunRecord, moved: frozenset[str]) -> Iterator[Difference]:
    """Yield the outputs whose digests differ, of steps that have a result in both runs."""
    before, after = results(old), results(new)
    for name in before:
        if name not in after:
            continue
        cause, kind = _output_cause(before[name], after[name])
        for difference in named_differences(_digests(before[name]), _digests(after[name]), "outputs", f"{name}."):
            yield replace(difference, cause=cause, cause_kind=kind, measured=name in moved)


def _output_cause(old: StepRecord, new: StepRecord) -> tuple[str, CauseKind]:
    """Say why a step's bytes may differ: its key, or a file of the user's that stands in no key."""
    if old.key != new.key:
        return "its key", "key"
    before, after = user_files(old), user_files(new)
    changed = [path for path in before if path in after and before[path] != after[path]]
    return (changed[0], "file") if changed else _UNKNOWN


def user_files(record: StepRecord) -> dict[str, str]:
    """Return the digests of the user's files that a step's code came from or read; packages are the environment's."""
    dependencies = record.result.dependencies if record.result is not None else ()
    return {shown(file.path): file.digest for file in dependencies if not file.path.startswith(PACKAGE)}


def moved_by_timing(
    old: Plan, new: Plan, old_record: RunRecord, new_record: RunRecord, measures: Callable[[str], bool]
) -> frozenset[str]:
    """Name the steps that differ through measurements alone: those that measure, and those that only read other ones.

    `measures` says of an operator whether its outputs are measurements.
    """
    before, after = results(old_record), results(new_record)
    steps = {step.id: step for step in old.steps}
    moved: set[str] = set()
    for step in new.steps:
        earlier = steps.get(step.id)
        if earlier is None or step.id not in before or step.id not in after:
            continue
        if before[step.id].key == after[step.id].key:
            if measures(step.operator):
                moved.add(step.id)
            continue
        if _own(earlier) != _own(step) or read_by(earlier) != read_by(step):
            continue
        read = [name for name in read_by(step) if _digest(name, before) != _digest(name, after)]
        # The report reads the record of the run itself, which holds every timing.
        if all(name.rpartition(".")[0] in {*moved, "run"} for name in read) and (read or "run.record" in read_by(step)):
            moved.add(step.id)
    return frozenset(moved)


def _own(step: Step) -> Any:
    return plain([step.operator, step.version, without_paths(step.params), step.seed])


def read_by(step: Step) -> tuple[str, ...]:
    """List every "step.port" that a step reads."""
    references: list[str] = []
    for source in step.inputs.values():
        references += [source] if isinstance(source, str) else source.values()
    return tuple(references)


def results(record: RunRecord) -> dict[str, StepRecord]:
    """Return the steps of a run that have a result, by id."""
    return {step.step: step for step in record.steps if step.result is not None}


def _digests(record: StepRecord) -> dict[str, str]:
    assert record.result is not None
    return {port: artifact.digest for port, artifact in record.result.outputs.items()}


def _digest(reference: str, records: Mapping[str, StepRecord]) -> str | None:
    step, _, port = reference.rpartition(".")
    return _digests(records[step]).get(port) if step in records else None


# Rule of a decision, a step's operator, or else its family → the inputs that it reads besides the recipe's key of its
# name.
READS: Mapping[str, tuple[str, ...]] = {
    "number_format": ("hardware instructions", "hardware machine", "recipe quantization"),
    "device": ("hardware gpus",),
    "threads": ("recipe reproducibility.threads", "recipe target.threads"),
    "model_args": ("inputs data", "inputs model", "recipe model.args"),
    "layers": ("recipe quantization", "inputs model"),
    "validate.executed": ("recipe quantization", "recipe target", "inputs model"),
    "method": ("recipe level", "recipe preserve", "recipe export", "recipe target", "recipe quantization",
               "recipe data.split", "inputs model", "hardware packages", "hardware gpus"),
    "level": ("recipe level", "recipe preserve", "recipe validation"),
    "preset": ("recipe level", "recipe preserve", "recipe validation"),
    "require": ("recipe level", "recipe preserve", "recipe validation"),
    "evidence": ("recipe level", "recipe report"),
    "learning_rate": ("recipe train", "recipe model.weights"),
    "training": ("recipe train", "recipe model", "inputs model"),
    "weights": ("recipe model", "inputs model"),
    "state": ("recipe model", "recipe task", "inputs data", "inputs model"),
    "objective": ("recipe search",),
    "profile": ("recipe profile", "recipe target.latency"),
    "data": ("recipe data", "inputs data"),
    "model": ("recipe model", "inputs model"),
    "model.cast": ("recipe quantization", "recipe target.device", "hardware gpus"),
    "train": ("recipe train", "recipe reproducibility", "recipe seed"),
    "quantize": ("recipe quantization", "hardware instructions", "hardware machine"),
    "export": ("recipe export", "recipe model"),
    "validate": ("recipe validation", "recipe task", "recipe data", "recipe target", "recipe level", "recipe preserve"),
}  # fmt: skip
MOST = 4


def cause(difference: Difference, given: tuple[Difference, ...], old: Plan, new: Plan) -> str:
    """Name the inputs among `given` that a difference may follow from, the likely ones alone where any is likely.

    With no input that differs, the plans were made by different versions of titrant.
    """
    if not given:
        return "no input differs: another version of titrant made it"
    names = list(dict.fromkeys(name(changed) for changed in given))
    if len(names) > 1:
        reads = tuple(_reads(difference, old, new))
        names = [label for label in names if any(_below(label, read) for read in reads)] or names
    shown = " or ".join(names[:MOST])
    return shown + (f" or one of {len(names) - MOST} more" if len(names) > MOST else "")


def name(given: Difference) -> str:
    """Name an input: "recipe train.epochs", "hardware packages.torch", "inputs data"."""
    return f"{given.layer} {given.path}"


def _below(given: str, read: str) -> bool:
    return given == read or given.startswith((f"{read}.", f"{read}["))


def _reads(difference: Difference, old: Plan, new: Plan) -> Iterator[str]:
    """Yield what a difference can follow from."""
    if difference.layer == "decisions":
        decision = difference.new or difference.old
        yield f"recipe {decision['subject']}"
        yield from READS.get(decision["rule"].partition(".")[0], ())
    elif difference.layer == "contract":
        yield from _gate_reads(difference, old, new)
    elif difference.layer in ("steps", "predictions"):
        yield from _step_reads(difference, old, new)
    elif difference.layer == "candidates":
        yield from READS["method"]


def _gate_reads(difference: Difference, old: Plan, new: Plan) -> Iterator[str]:
    gates = [*new.contract.gates, *old.contract.gates]
    preset = next((gate.preset for gate in gates if f"{difference.path}.".startswith(f"{gate.id}.")), "")
    if preset == "target":
        yield "recipe target"
    elif preset == EXECUTED:
        yield from READS["method"]
    else:
        yield from (f"recipe validation.{preset or difference.path}", "recipe level", "recipe preserve")


def _step_reads(difference: Difference, old: Plan, new: Plan) -> Iterator[str]:
    path = difference.path
    steps = [step for step in (*new.steps, *old.steps) if path == step.id or path.startswith(f"{step.id}.")]
    if not steps:
        return
    step = max(steps, key=lambda step: len(step.id))
    place = path.removeprefix(step.id).strip(".")
    if place == "seed":
        yield "recipe seed"
    elif place.startswith(("inputs", "stage", "candidate")) or not place:
        yield from READS["method"]
    else:
        yield from READS.get(step.operator) or READS.get(step.operator.partition(".")[0], ())
