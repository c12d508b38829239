"""Take the recipe's waivers into the contract, and refuse those that nobody may give."""

from collections.abc import Iterator, Mapping, Sequence

from titrant.compiler.bind.bound_recipe import BoundRecipe, meant
from titrant.schema.contract.waivers import GateWaiver
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.gate import EXECUTED, REFERENCE, Gate

# Presets that the medical safeguards supply; under `preserve: medical` none of them can be switched off either.
_SAFEGUARDS = ("retention", "safety", "bias", "calibration", "clinical_relevance", "batch_invariance")

# Presets that are no matter of acceptance in any contract, and why.
_NEVER: Mapping[str, str] = {
    EXECUTED: "a file that does not run as planned is not the file that was judged",
    REFERENCE: "what is compared with a model that is no better than a constant answer proves nothing",
}


def waivers(bound: BoundRecipe, gates: Sequence[Gate], medical: str) -> tuple[GateWaiver, ...]:
    """Return the waivers of the recipe; `medical` names what asks for the medical safeguards, "" for nothing.

    Raises RecipeError P154 for a waiver of no gate, P155 for one of a gate that none may cover.
    """
    problems = list(_problems(bound, gates, medical))
    if problems:
        raise RecipeError(*problems)
    accepted = bound.recipe.validation.accept
    return tuple(GateWaiver(waiver.gate, waiver.reason, waiver.by, waiver.until) for waiver in accepted)


def _problems(bound: BoundRecipe, gates: Sequence[Gate], medical: str) -> Iterator[Diagnostic]:
    """Yield what is wrong with each waiver, at the gate that it names."""
    by_id = {gate.id: gate for gate in gates}
    for place, waiver in enumerate(bound.recipe.validation.accept):
        where = bound.parsed.source.place(("validation", "accept", place, "gate"), "value")
        gate = by_id.get(waiver.gate)
        if gate is None:
            waivable = [each.id for each in gates if not _unwaivable(each, bound, medical)]
            advice = meant(waiver.gate, waivable, "gates that can be waived:")
            yield Diagnostic("P154", f"the contract has no gate `{waiver.gate}`", where, advice)
        elif because := _unwaivable(gate, bound, medical):
            advice = "take the waiver out: what must hold here is not a matter of acceptance"
            yield Diagnostic("P155", f"`{waiver.gate}` cannot be waived: {because}", where, advice)


def _unwaivable(gate: Gate, bound: BoundRecipe, medical: str) -> str:
    """Say why nobody may waive a gate; "" where somebody may.

    At level medical_critical what may be switched off may be waived, but for the loss of critical cases.
    """
    if gate.preset in _NEVER:
        return _NEVER[gate.preset]
    if gate.of_original:
        return "it is about the original alone, of which candidates are made only where it passes"
    if gate.preset == "safety" and medical:
        return f"{medical} lets no critical case be lost by agreement"
    if bound.recipe.preserve == "medical" and gate.preset in _SAFEGUARDS:
        return "preserve: medical keeps this safeguard, which cannot be switched off either"
    return ""
