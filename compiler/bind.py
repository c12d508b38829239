"""Check a parsed recipe's names, options, files and references, and that its sections fit each other."""

import itertools
from collections.abc import Callable, Iterator

from titrant.compiler.bound import BoundRecipe
from titrant.compiler.checks import availability, contract, files, methods, references, roles, sources
from titrant.compiler.checks.look import Finding, Look, unclaimed
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.source import ParsedRecipe

Check = Callable[[Look], Iterator[Finding]]

# In this order: an earlier finding about a path silences later ones about it or what is below it.
CHECKS: tuple[Check, ...] = (
    availability.available,
    files.missing_files,
    references.bad_references,
    sources.bundled_sets_exist,
    methods.method_fits,
    methods.formats_fit,
    roles.rows_are_real,
    roles.roles_have_rows,
    roles.training_fits,
    contract.presets_have_facts,
    contract.gates_mean_something,
    contract.baseline_means_something,
    contract.operating_point_is_binary,
    contract.confidence_is_usable,
)


def bind(parsed: ParsedRecipe, *, trust: bool = False) -> BoundRecipe:
    """Bind a recipe to what is there: operators, files, modules.

    Nothing of the user's code is imported, nor is torch. `trust` lets modules outside the recipe's folder and the
    installed environment pass. Raises RecipeError with every finding, in file order.
    """
    look = Look(parsed, trust)
    found = unclaimed(itertools.chain.from_iterable(check(look) for check in CHECKS))
    diagnostics = in_order([finding.diagnostic for finding in found], parsed.file)
    errors = [one for one in diagnostics if one.severity == "error"]
    if errors:
        raise RecipeError(*errors)
    return BoundRecipe(
        parsed=parsed,
        recipe=parsed.recipe,
        folder=parsed.folder.absolute(),
        files={".".join(str(part) for part in path): file for path, file in files.named_files(look).items()},
        user_references=references.user_references(look),
        trusted=trust,
        warnings=tuple(one for one in diagnostics if one.severity != "error"),
    )


def in_order(found: list[Diagnostic], file: str) -> list[Diagnostic]:
    """Sort diagnostics by place: the recipe's own text first, then its base and the flags."""

    def order(one: Diagnostic) -> tuple[bool, str, int, int]:
        where = one.where
        return (False, "", 0, 0) if where is None else (where.file != file, where.file, where.line, where.column)

    return sorted(found, key=order)
