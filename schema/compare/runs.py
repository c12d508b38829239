"""Compare two recorded runs in causal order, so that the first difference is the cause of the rest.

A run's record is read as tables of figures that can be compared by name.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from typing import Any

from titrant.schema.compare import plans
from titrant.schema.compare.difference import CAUSAL, Difference, differences, is_timed, named_differences, same
from titrant.schema.compare.plans import recipe_differences
from titrant.schema.compare.steps import key_differences, moved_by_timing, output_differences, user_files
from titrant.schema.language.parse import ParsedRecipe
from titrant.schema.plan import Plan, files_in
from titrant.schema.record import RunRecord
from titrant.schema.values.canonical import plain
from titrant.schema.values.dependencies import PACKAGE
from titrant.schema.values.frozen import dataclass

# Units of what is timed, also by steps whose outputs are the same in every run: seconds, and times as fast.
_TIMED_UNITS = ("s", "x")
# What environment.json says of things that are compared elsewhere, or that change nothing: places.
_ELSEWHERE = ("recipe", "recipe_file", "recipe_folder", "variables", "machine", "licenses")

# A candidate, and whether the figures below it are timings.
Owner = tuple[str, bool]


@dataclass(frozen=True)
class RecordedRun:
    """A run as it is kept: its plan, its record, what environment.json says, and its recipe.

    Where `recipe` is left out, two recipes are compared by digest alone.
    """

    plan: Plan
    record: RunRecord
    environment: Mapping[str, Any] = field(default_factory=dict)
    recipe: ParsedRecipe | None = None


def compare_runs(old: RecordedRun, new: RecordedRun, *, measures: Callable[[str], bool]) -> tuple[Difference, ...]:
    """List what differs between two runs, in the order of CAUSAL; empty where nothing does.

    `measures` says of an operator whether its outputs are measurements. What differs through those alone is marked
    `measured`: timings differ from run to run, and so does everything that is computed from them. Seconds, times, paths
    and whether a step was reused are not compared.
    """
    moved = moved_by_timing(old.plan, new.plan, old.record, new.record, measures)
    all_differences = [
        *recipe_differences(old.plan, new.plan, old.recipe, new.recipe),
        *_inputs(old, new),
        *_environments(old, new),
        *named_differences(_settled(old.plan), _settled(new.plan), "decisions"),
        *key_differences(old.plan, new.plan, old.record, new.record, moved),
        *output_differences(old.record, new.record, moved),
        *_metrics(old, new, moved),
    ]
    measured = bool(moved) and all(difference.measured for difference in all_differences)
    for difference in named_differences(outcome(old.record), outcome(new.record), "outcome"):
        all_differences.append(replace(difference, measured=measured))
    return tuple(sorted(all_differences, key=lambda difference: CAUSAL.index(difference.layer)))


def first_cause(all_differences: tuple[Difference, ...]) -> Difference | None:
    """Return the first difference that no measurement explains, else the first measured one; None for none.

    A key that differs because of what its step reads follows from the outputs of another step, which come after it.
    """
    telling = [difference for difference in all_differences if difference.layer != "aside"]
    first = next((difference for difference in telling if not difference.measured), telling[0] if telling else None)
    if first is None or first.layer != "keys" or first.cause_kind != "read":
        return first
    steps = (each for each in telling if each.layer in ("keys", "outputs") and not each.measured)
    return next((each for each in steps if each.cause_kind not in ("read", "key")), first)


def _inputs(old: RecordedRun, new: RecordedRun) -> Iterator[Difference]:
    """What the recipe reads: the model, the data, the files that steps name, and the user's code as it was loaded."""
    for name in ("model_digest", "data_digest"):
        yield from differences(getattr(old.plan, name), getattr(new.plan, name), "inputs", name.removesuffix("_digest"))
    for before, after in ((_files(old.plan), _files(new.plan)), (_loaded(old.record), _loaded(new.record))):
        both = [name for name in before if name in after]
        yield from named_differences(
            {name: before[name] for name in both}, {name: after[name] for name in both}, "inputs"
        )


def _loaded(record: RunRecord) -> dict[str, str]:
    return {path: digest for step in record.steps for path, digest in user_files(step).items()}


def _files(plan: Plan) -> dict[str, str]:
    return {place: file["digest"] for step in plan.steps for place, file in files_in(step.params, (step.id,))}


def _environments(old: RecordedRun, new: RecordedRun) -> Iterator[Difference]:
    used = {*_used(old), *_used(new)}
    for difference in named_differences(_environment(old), _environment(new), "environment"):
        package = difference.path.startswith("packages.") and difference.path.removeprefix("packages.") not in used
        yield replace(difference, layer="aside") if package or difference.path.startswith("git_") else difference


def _used(run: RecordedRun) -> Iterator[str]:
    """Name the packages that can have changed a result: those of the plan, and those that the user's code loaded."""
    yield from run.plan.hardware.packages
    for step in run.record.steps:
        for dependency in step.result.dependencies if step.result is not None else ():
            if dependency.path.startswith(PACKAGE):
                yield dependency.path.removeprefix(PACKAGE)


def _environment(run: RecordedRun) -> dict[str, Any]:
    """The software, its settings and the machine; packages are listed once."""
    machine = plain(run.plan.hardware)
    if "packages" in run.environment:
        del machine["packages"]
    return {
        **{name: value for name, value in run.environment.items() if name not in _ELSEWHERE},
        **{f"hardware.{name}": value for name, value in machine.items()},
    }


def _settled(plan: Plan) -> dict[str, Any]:
    """What was decided, and the contract."""
    chosen = {name: plans.settled(decision) for name, decision in plans.decisions(plan).items()}
    return chosen | {f"gate {name}": row for name, row in plans.gates(plan).items()}


def _metrics(old: RecordedRun, new: RecordedRun, moved: frozenset[str]) -> Iterator[Difference]:
    before, after = measurements(old.record), measurements(new.record)
    units = measured_units(new.record)
    judged = {each.candidate for run in (old, new) for each in run.record.candidates if each.judgement is not None}
    unjudged = {step.id for step in new.plan.steps if step.candidate and step.candidate not in judged}
    for name in before:
        if name in after:
            for difference in named_differences(before[name], after[name], "metrics", f"{name}."):
                unit = units.get(difference.path, "")
                timed = name in moved or unit in _TIMED_UNITS
                yield replace(difference, measured=timed, unit=unit, minor=name in unjudged)
    planned = (*old.plan.candidates, *new.plan.candidates)
    judges = {candidate.id: candidate.judgement.rpartition(".")[0] for candidate in planned}
    for owner, figures in candidate_figures(old.record).items():
        others = candidate_figures(new.record).get(owner)
        if others is not None:
            for difference in named_differences(figures, others, "metrics", f"{owner[0]}."):
                unit, minor = unit_of(difference.path.rpartition(".")[2]), owner[0] not in judged
                yield replace(difference, measured=owner[1], unit=unit, minor=minor)
    answers = gate_answers(new.record)
    for (candidate, gate), answer in gate_answers(old.record).items():
        other = answers.get((candidate, gate))
        if other is not None and not same(answer, other):
            measured = is_timed(gate) or judges[candidate] in moved
            yield Difference("metrics", f"{candidate}.gate {gate}", answer, other, measured=measured)


def measurements(record: RunRecord) -> dict[str, dict[str, float]]:
    """Return what each step measured: step → name → value."""
    return {
        step.step: {measured.name: measured.value for measured in step.result.measurements}
        for step in record.steps
        if step.result is not None
    }


def candidate_figures(record: RunRecord) -> dict[Owner, dict[str, Any]]:
    """Return each candidate's figures and size: timings apart from what is the same in every run."""
    figures_by_owner: dict[Owner, dict[str, Any]] = {}
    for candidate in record.candidates:
        for timed in (False, True):
            figures = {name: value for name, value in candidate.figures.items() if is_timed(name) == timed}
            figures_by_owner[candidate.candidate, timed] = (
                figures if timed or candidate.size is None else {"size": candidate.size, **figures}
            )
    return figures_by_owner


def gate_answers(record: RunRecord) -> dict[tuple[str, str], dict[str, Any]]:
    """Return how candidates answered: (candidate, gate) → verdict, estimate and bounds; those judged only."""
    return {
        (candidate.candidate, result.gate): {
            name: getattr(result, name) for name in ("verdict", "estimate", "lower", "upper")
        }
        for candidate in record.candidates
        for result in (candidate.judgement.results if candidate.judgement is not None else ())
    }


def outcome(record: RunRecord) -> Mapping[str, Any]:
    """Return what came of a run: the verdict, what was released, and what became of each candidate."""
    candidates = {f"candidate {candidate.candidate}": candidate.status for candidate in record.candidates}
    return {"verdict": record.verdict, "released": list(record.released), "exit": record.exit, **candidates}


def measured_units(record: RunRecord) -> dict[str, str]:
    """Return the unit of every measurement, by "step.name"."""
    return {
        f"{step.step}.{measured.name}": measured.unit
        for step in record.steps
        if step.result is not None
        for measured in step.result.measurements
    }


def unit_of(figure: str) -> str:
    """Return the unit of one of a candidate's figures."""
    if figure.startswith("latency"):
        return "s"
    return {"throughput": "cases/s", "peak_memory": "B", "size": "B"}.get(figure, "")
