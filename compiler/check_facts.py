"""Check a bound recipe against what inspection found: columns, classes, rows, shapes."""

import itertools
from collections.abc import Callable, Iterator

from titrant.compiler.bind import in_order
from titrant.compiler.bound import BoundRecipe
from titrant.compiler.checks import facts_columns, facts_layers, facts_model, facts_rows
from titrant.compiler.checks.look import Finding, Look, unclaimed
from titrant.schema.diagnostics import RecipeError
from titrant.schema.facts import DataFacts, ModelFacts

Check = Callable[[Look, ModelFacts, DataFacts], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    facts_columns.columns_exist,
    facts_columns.gaps_are_filled,
    facts_rows.classes_fit,
    facts_rows.roles_are_filled,
    facts_rows.threshold_can_be_set,
    facts_rows.slices_have_rows,
    facts_model.inputs_fit,
    facts_model.outputs_fit,
    facts_layers.patterns_match,
)


def check_facts(bound: BoundRecipe, model: ModelFacts, data: DataFacts) -> tuple[str, ...]:
    """Raise RecipeError, with every finding in file order, where the facts contradict the recipe; return warnings."""
    look = Look(bound.parsed, bound.trusted)
    found = unclaimed(itertools.chain.from_iterable(check(look, model, data) for check in CHECKS))
    diagnostics = in_order([finding.diagnostic for finding in found], bound.parsed.file)
    errors = [one for one in diagnostics if one.severity == "error"]
    if errors:
        raise RecipeError(*errors)
    texts = [one.message + (f": {one.help}" if one.help else "") for one in diagnostics]
    return (*(one.message for one in bound.warnings), *texts)
