"""Compare two plans: what goes in, and what follows from it, each with the input that caused it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from titrant.schema import plan_tables
from titrant.schema.canonical import plain
from titrant.schema.compare_causes import cause
from titrant.schema.compare_recipes import compare_recipes
from titrant.schema.difference import Difference, differences, named_differences, same
from titrant.schema.plan import Plan
from titrant.schema.source import ParsedRecipe

# What goes into a plan, and what comes of it; differences are listed in this order.
INPUTS = ("recipe", "inputs", "hardware")
LAYERS = (*INPUTS, "settings", "decisions", "contract", "candidates", "steps", "predictions", "warnings")


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
    given = (*_recipe(old, new), *_inputs(old.plan, new.plan), *_hardware(old.plan, new.plan))
    return (*given, *(_caused(found, given, old.plan, new.plan) for found in _made(old.plan, new.plan)))


def _recipe(old: MadePlan, new: MadePlan) -> Iterator[Difference]:
    if old.recipe is not None and new.recipe is not None:
        yield from compare_recipes(old.recipe, new.recipe)
    elif old.plan.recipe_digest != new.plan.recipe_digest:
        yield Difference("recipe", "digest", old.plan.recipe_digest, new.plan.recipe_digest)


def _inputs(old: Plan, new: Plan) -> Iterator[Difference]:
    for name in ("model_digest", "data_digest"):
        yield from differences(getattr(old, name), getattr(new, name), "inputs", name.removesuffix("_digest"))


def _hardware(old: Plan, new: Plan) -> Iterator[Difference]:
    yield from named_differences(plain(old.hardware), plain(new.hardware), "hardware")


def _made(old: Plan, new: Plan) -> Iterator[Difference]:
    yield from named_differences(plan_tables.settings(old), plan_tables.settings(new), "settings")
    yield from _decisions(old, new)
    yield from _contract(old, new)
    yield from named_differences(plan_tables.candidates(old), plan_tables.candidates(new), "candidates")
    yield from named_differences(plan_tables.steps(old), plan_tables.steps(new), "steps")
    for found in named_differences(plan_tables.predictions(old), plan_tables.predictions(new), "predictions"):
        yield replace(
            found, unit="s" if found.path.endswith("seconds") else "B" if found.path.endswith("bytes") else ""
        )
    yield from differences(list(old.warnings) or None, list(new.warnings) or None, "warnings", "warnings")


def _decisions(old: Plan, new: Plan) -> Iterator[Difference]:
    """Yield one difference for each decision that settles something else; its values hold the reasons too."""
    before, after = plan_tables.decisions(old), plan_tables.decisions(new)
    for name in [*before, *(name for name in after if name not in before)]:
        left, right = before.get(name), after.get(name)
        if left is not None and right is not None and same(plan_tables.settled(left), plan_tables.settled(right)):
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
    for found in named_differences(plan_tables.gates(old), plan_tables.gates(new), "contract"):
        yield replace(found, unit=units.get(found.path, ""))


def _caused(found: Difference, given: tuple[Difference, ...], old: Plan, new: Plan) -> Difference:
    if found.layer == "predictions" and not given:
        return replace(found, cause="what has been measured since", measured=True)
    return replace(found, cause=cause(found, given, old, new))
