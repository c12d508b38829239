"""Check a recipe's names, files and references (`bind`), and what inspection found against it (`check_facts`).

Every check yields findings; none imports torch or the user's code.
"""

import itertools
from collections.abc import Callable, Iterator

from titrant.compiler.bind import (
    availability,
    check_contract,
    check_data,
    check_files,
    check_model,
    check_reduction,
    check_references,
    check_release,
    check_training,
    check_transforms,
    check_vision,
    own_metrics,
)
from titrant.compiler.bind.bound_recipe import BoundRecipe, CheckInput, Finding, unclaimed
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.language.parse import ParsedRecipe

Check = Callable[[CheckInput], Iterator[Finding]]
FactsCheck = Callable[[CheckInput, ModelFacts, DataFacts], Iterator[Finding]]

# In this order: an earlier finding about a path silences later ones about it or what is below it.
CHECKS: tuple[Check, ...] = (
    check_files.names_are_text,
    availability.available,
    check_files.missing_files,
    check_files.trackers_have_addresses,
    check_references.bad_references,
    check_data.bundled_sets_exist,
    check_data.images_are_read_alike,
    check_model.method_fits,
    check_model.rungs_fit,
    check_model.leaving_fits,
    check_model.formats_fit,
    check_transforms.texts_are_tokenized,
    check_transforms.inside_fits,
    check_reduction.reductions_fit,
    check_reduction.distillation_fits,
    check_data.rows_are_real,
    check_data.roles_have_rows,
    check_training.training_fits,
    check_training.recomputing_trains,
    check_training.offload_fits,
    check_training.layout_fits,
    check_training.processes_fit,
    check_training.rounding_fits,
    check_vision.boxes_are_decoded,
    check_vision.measures_fit,
    check_vision.cases_have_one_class,
    check_vision.masks_are_labels,
    check_contract.presets_have_facts,
    check_contract.gates_mean_something,
    own_metrics.own_metrics_fit,
    check_contract.agreement_fits,
    check_contract.operating_point_is_binary,
    check_contract.confidence_is_usable,
    check_contract.open_looks_have_bounds,
    check_release.waivers_are_whole,
    check_release.presets_stand_alone,
    check_release.scenario_fits,
    check_release.earlier_releases_are_compared,
)

FACTS_CHECKS: tuple[FactsCheck, ...] = (
    check_data.columns_exist,
    check_data.gaps_are_filled,
    check_data.classes_fit,
    check_training.training_has_classes,
    check_training.watched_parameters_exist,
    check_training.convolutions_exist,
    check_data.roles_are_filled,
    check_data.threshold_can_be_set,
    check_data.slices_have_rows,
    check_model.inputs_fit,
    check_model.outputs_fit,
    check_vision.masks_fit,
    check_contract.agreement_outputs_exist,
    check_contract.same_class_has_several,
    check_model.patterns_match,
    check_reduction.imitated_layers_exist,
    check_data.columns_leak,
    check_data.numbers_stand_in,
    check_transforms.inside_holds,
)


def bind(parsed: ParsedRecipe, *, trust: bool = False) -> BoundRecipe:
    """Bind a recipe to what is there: operators, files, modules.

    Nothing of the user's code is imported, nor is torch. `trust` lets modules outside the recipe's folder and the
    installed environment pass. Raises RecipeError with every finding, in file order.
    """
    given = CheckInput(parsed, trust)
    findings = unclaimed(itertools.chain.from_iterable(check(given) for check in CHECKS))
    diagnostics = in_order([finding.diagnostic for finding in findings], parsed.file)
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    if errors:
        raise RecipeError(*errors)
    return BoundRecipe(
        parsed=parsed,
        recipe=parsed.recipe,
        folder=parsed.folder.absolute(),
        files=check_files.bound_files(given),
        user_references=check_references.user_references(given),
        trusted=trust,
        warnings=tuple(diagnostic for diagnostic in diagnostics if diagnostic.severity != "error"),
    )


def check_facts(bound: BoundRecipe, model: ModelFacts, data: DataFacts) -> tuple[str, ...]:
    """Raise RecipeError, with every finding in file order, where the facts contradict the recipe; return warnings."""
    given = CheckInput(bound.parsed, bound.trusted)
    findings = unclaimed(itertools.chain.from_iterable(check(given, model, data) for check in FACTS_CHECKS))
    diagnostics = in_order([finding.diagnostic for finding in findings], bound.parsed.file)
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    if errors:
        raise RecipeError(*errors)
    texts = [diagnostic.message + (f": {diagnostic.help}" if diagnostic.help else "") for diagnostic in diagnostics]
    return (*(diagnostic.message for diagnostic in bound.warnings), *texts)


def in_order(diagnostics: list[Diagnostic], file: str) -> list[Diagnostic]:
    """Sort diagnostics by place: the recipe's own text first, then its base and the flags."""

    def order(diagnostic: Diagnostic) -> tuple[bool, str, int, int]:
        where = diagnostic.where
        return (False, "", 0, 0) if where is None else (where.file != file, where.file, where.line, where.column)

    return sorted(diagnostics, key=order)
