"""Compare two plans: what goes in, and what follows from it, each difference with the input that caused it.

Two recipes are compared key by key, as they are resolved, with the place of each key.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from titrant.schema.compare.difference import Difference, differences, named_differences, places, same
from titrant.schema.compare.steps import cause
from titrant.schema.gate import criteria
from titrant.schema.language.parse import ParsedRecipe
from titrant.schema.language.spans import KeyPath, dotted
from titrant.schema.plan import FIGURES, Decision, Plan, without_paths
from titrant.schema.recipe.recipe import recipe_value, written
from titrant.schema.values.canonical import plain
from titrant.schema.values.frozen import dataclass

# What goes into a plan, and what comes of it; differences are listed in this order.
INPUTS = ("recipe", "inputs", "hardware")
LAYERS = (*INPUTS, "settings", "decisions", "contract", "candidates", "steps", "predictions", "warnings")

# What most plans leave empty.
_SELDOM_SET = ("fitness", "original_judgement", "original_limits", "search_minutes", "mended_at_most", "profiled")

PlanTable = dict[str, Any]


@dataclass(frozen=True)
class MadePlan:
    """A plan and the recipe that it was made from; None where only its digest is known."""

    plan: Plan
    recipe: ParsedRecipe | None = None


def compare_plans(old: MadePlan, new: MadePlan) -> tuple[Difference, ...]:
    """List what differs between two plans in the order of LAYERS; empty where nothing does.

    Each difference after the inputs names the input that it follows from: a recipe key, a fact of the machine, the
    version of a package, the model or the data. Where several inputs differ and nothing tells which it was, all that
    may have caused it are named.
    """
    given = (
        *recipe_differences(old.plan, new.plan, old.recipe, new.recipe),
        *_inputs(old.plan, new.plan),
        *_hardware(old.plan, new.plan),
    )
    return (*given, *(_caused(difference, given, old.plan, new.plan) for difference in _made(old.plan, new.plan)))


def recipe_differences(
    old: Plan, new: Plan, old_recipe: ParsedRecipe | None, new_recipe: ParsedRecipe | None
) -> Iterator[Difference]:
    """Yield what differs between the recipes of two plans; where one is not at hand, whether their digests do."""
    if old_recipe is not None and new_recipe is not None:
        yield from compare_recipes(old_recipe, new_recipe)
    elif old.recipe_digest != new.recipe_digest:
        yield Difference("recipe", "digest", old.recipe_digest, new.recipe_digest)


def _inputs(old: Plan, new: Plan) -> Iterator[Difference]:
    for name in ("model_digest", "data_digest"):
        yield from differences(getattr(old, name), getattr(new, name), "inputs", name.removesuffix("_digest"))


def _hardware(old: Plan, new: Plan) -> Iterator[Difference]:
    yield from named_differences(plain(old.hardware), plain(new.hardware), "hardware")


def _made(old: Plan, new: Plan) -> Iterator[Difference]:
    yield from named_differences(settings(old), settings(new), "settings")
    yield from _decisions(old, new)
    yield from _contract(old, new)
    yield from named_differences(candidates(old), candidates(new), "candidates")
    yield from named_differences(steps(old), steps(new), "steps")
    for difference in named_differences(predictions(old), predictions(new), "predictions"):
        path = difference.path
        yield replace(difference, unit="s" if path.endswith("seconds") else "B" if path.endswith("bytes") else "")
    yield from differences(list(old.warnings) or None, list(new.warnings) or None, "warnings", "warnings")


def _decisions(old: Plan, new: Plan) -> Iterator[Difference]:
    """Yield one difference for each decision that settles something else; its values hold the reasons too."""
    before, after = decisions(old), decisions(new)
    for name in [*before, *(name for name in after if name not in before)]:
        left, right = before.get(name), after.get(name)
        if left is not None and right is not None and same(settled(left), settled(right)):
            continue
        yield Difference(
            "decisions",
            name,
            left and plain(left),
            right and plain(right),
            left.where if left else "",
            right.where if right else "",
        )


def _contract(old: Plan, new: Plan) -> Iterator[Difference]:
    """Yield what differs between the gates, their thresholds in their unit."""
    units = {f"{gate.id}.threshold": gate.unit for gate in new.contract.gates}
    for difference in named_differences(gates(old), gates(new), "contract"):
        yield replace(difference, unit=units.get(difference.path, ""))


def _caused(difference: Difference, given: tuple[Difference, ...], old: Plan, new: Plan) -> Difference:
    if difference.layer == "predictions" and not given:
        return replace(difference, cause="what has been measured since", measured=True)
    return replace(difference, cause=cause(difference, given, old, new))


def decisions(plan: Plan) -> dict[str, Decision]:
    """Return the decisions by subject; a second one of the same subject carries its number ("model 2")."""
    by_subject: dict[str, Decision] = {}
    for decision in plan.decisions:
        name, count = decision.subject, 1
        while name in by_subject:
            count += 1
            name = f"{decision.subject} {count}"
        by_subject[name] = decision
    return by_subject


def settled(decision: Decision) -> PlanTable:
    """Return what a decision settles: asked, chosen, by which rule, and what was rejected; the text of a mere note."""
    rejected = [alternative.value for alternative in decision.rejected]
    value = {"asked": decision.asked, "chosen": decision.chosen, "rule": decision.rule, "rejected": rejected}
    return value | {"noted": decision.because} if decision.rule.endswith(".noted") else value


def gates(plan: Plan) -> PlanTable:
    """Return the contract's rows by id, with how strictly they are read; places and planning are left out."""
    rows: PlanTable = {gate.id: plain(gate) for gate in plan.contract.gates}
    for row in rows.values():
        for words in ("id", "origin", "assumption", "needed_cases", "available_cases"):
            del row[words]
    waivers: PlanTable = {f"waiver of {waiver.gate}": plain(waiver) for waiver in plan.contract.waivers}
    strictness = {
        "confidence": plan.contract.confidence,
        "require": plan.contract.require,
        "looks": plan.contract.looks,
    }
    return {**strictness, **rows, **waivers}


def steps(plan: Plan) -> PlanTable:
    """Return the steps by id: what each does, to what.

    Of the gates that a step judges those of the contract are left to `gates`; named are those of its own.
    """
    contract = [{"assumption": "", **plain(criteria(gate))} for gate in plan.contract.gates]
    rows: PlanTable = {step.id: plain(step) for step in plan.steps}
    for row in rows.values():
        del row["id"], row["because"], row["prediction"], row["frees"]
        row["params"] = params = dict(without_paths(row["params"]))
        own = {gate["id"]: gate for gate in params.pop("gates", ()) if not any(same(gate, row) for row in contract)}
        if own:
            params["gates"] = own
    return rows


def candidates(plan: Plan) -> PlanTable:
    """Return the candidates by id."""
    rows: PlanTable = {candidate.id: plain(candidate) for candidate in plan.candidates}
    for row in rows.values():
        del row["id"], row["predicted_bytes"]
    return rows


def predictions(plan: Plan) -> PlanTable:
    """Return what each step, and each candidate's file, is expected to cost."""
    rows: PlanTable = {step.id: {name: getattr(step.prediction, name) for name in FIGURES} for step in plan.steps}
    files = {f"file of {candidate.id}": {"output_bytes": candidate.predicted_bytes} for candidate in plan.candidates}
    return rows | files


def settings(plan: Plan) -> PlanTable:
    """Return what holds for the whole plan."""
    names = ("name", "task", "language", "threads", "timing_threads", "deterministic", "original", "original_engine")
    return {name: getattr(plan, name) for name in names} | {
        "searches": plain(plan.searches),
        "shipped": plain(plan.shipped),
        **{name: plain(getattr(plan, name)) or None for name in _SELDOM_SET},
    }


def compare_recipes(old: ParsedRecipe, new: ParsedRecipe) -> tuple[Difference, ...]:
    """List the keys in which two recipes differ, defaults filled in; empty where they ask for the same.

    Values are as written in the text ("5 ms"); a default is in seconds, in bytes, or as it is. A key that stands in no
    text has no place.
    """
    return tuple(
        Difference(
            "recipe",
            dotted(path),
            _value(left, old, path),
            _value(right, new, path),
            _where(old, path),
            _where(new, path),
        )
        for path, left, right in places(recipe_value(old.recipe), recipe_value(new.recipe))
    )


def _value(value: Any, recipe: ParsedRecipe, path: KeyPath) -> Any:
    """Return a value as the recipe's text has it; as resolved where the text leaves it to a default."""
    in_text: Any = written(recipe.recipe)
    for part in path:
        listed = isinstance(in_text, list) and isinstance(part, int) and part < len(in_text)
        if not listed and not (isinstance(in_text, Mapping) and part in in_text):
            return value
        in_text = in_text[part]
    return value if value is None else in_text


def _where(recipe: ParsedRecipe, path: KeyPath) -> str:
    """Return the place of a key; of its nearest parent for what a short form of a list entry stands for."""
    inside = any(isinstance(part, int) for part in path) and recipe.source.has(path[:1])
    return str(recipe.source.place(path)) if inside or recipe.source.has(path) else ""
