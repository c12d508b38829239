"""Check a parsed recipe's names, options, files and references, and that its sections fit each other.

Check a bound recipe against what inspection found: columns, classes, rows, shapes.
Checks of a recipe against itself, its files and the catalog; each yields findings and none imports torch.
"""

import itertools
from collections.abc import Callable, Iterator

from titrant.compiler.bind import availability, check_contract, check_data, check_files, check_model, check_references
from titrant.compiler.bind.bound_recipe import BoundRecipe, CheckInput, Finding, unclaimed
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.language.parse import ParsedRecipe

Check = Callable[[CheckInput], Iterator[Finding]]

# In this order: an earlier finding about a path silences later ones about it or what is below it.
CHECKS: tuple[Check, ...] = (
    availability.available,
    check_files.missing_files,
    check_references.bad_references,
    check_data.bundled_sets_exist,
    check_model.method_fits,
    check_model.formats_fit,
    check_data.rows_are_real,
    check_data.roles_have_rows,
    check_data.training_fits,
    check_contract.presets_have_facts,
    check_contract.gates_mean_something,
    check_contract.baseline_means_something,
    check_contract.operating_point_is_binary,
    check_contract.confidence_is_usable,
)


def bind(parsed: ParsedRecipe, *, trust: bool = False) -> BoundRecipe:
    """Bind a recipe to what is there: operators, files, modules.

    Nothing of the user's code is imported, nor is torch. `trust` lets modules outside the recipe's folder and the
    installed environment pass. Raises RecipeError with every finding, in file order.
    """
    given = CheckInput(parsed, trust)
    found = unclaimed(itertools.chain.from_iterable(check(given) for check in CHECKS))
    diagnostics = in_order([finding.diagnostic for finding in found], parsed.file)
    errors = [one for one in diagnostics if one.severity == "error"]
    if errors:
        raise RecipeError(*errors)
    return BoundRecipe(
        parsed=parsed,
        recipe=parsed.recipe,
        folder=parsed.folder.absolute(),
        files={".".join(str(part) for part in path): file for path, file in check_files.named_files(given).items()},
        user_references=check_references.user_references(given),
        trusted=trust,
        warnings=tuple(one for one in diagnostics if one.severity != "error"),
    )


def in_order(found: list[Diagnostic], file: str) -> list[Diagnostic]:
    """Sort diagnostics by place: the recipe's own text first, then its base and the flags."""

    def order(one: Diagnostic) -> tuple[bool, str, int, int]:
        where = one.where
        return (False, "", 0, 0) if where is None else (where.file != file, where.file, where.line, where.column)

    return sorted(found, key=order)


FactsCheck = Callable[[CheckInput, ModelFacts, DataFacts], Iterator[Finding]]

FACTS_CHECKS: tuple[FactsCheck, ...] = (
    check_data.columns_exist,
    check_data.gaps_are_filled,
    check_data.classes_fit,
    check_data.roles_are_filled,
    check_data.threshold_can_be_set,
    check_data.slices_have_rows,
    check_model.inputs_fit,
    check_model.outputs_fit,
    check_model.patterns_match,
)


def check_facts(bound: BoundRecipe, model: ModelFacts, data: DataFacts) -> tuple[str, ...]:
    """Raise RecipeError, with every finding in file order, where the facts contradict the recipe; return warnings."""
    given = CheckInput(bound.parsed, bound.trusted)
    found = unclaimed(itertools.chain.from_iterable(check(given, model, data) for check in FACTS_CHECKS))
    diagnostics = in_order([finding.diagnostic for finding in found], bound.parsed.file)
    errors = [one for one in diagnostics if one.severity == "error"]
    if errors:
        raise RecipeError(*errors)
    texts = [one.message + (f": {one.help}" if one.help else "") for one in diagnostics]
    return (*(one.message for one in bound.warnings), *texts)
