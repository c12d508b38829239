"""Say in one way that a model cannot answer the inputs that it is given outside a recipe."""

from dataclasses import replace

from titrant.schema.diagnostics.diagnostics import StepError

# What engines, the inspection and the steps of a run say of it, each with the help of a recipe.
_CODES = frozenset({"X156", "X201", "X221", "X223", "X402", "X403"})
REFUSED = "X683"
ADVICE = "give inputs that it takes, rows first; where these are such, call it with them yourself and mend it"


def refused_inputs(error: StepError) -> StepError:
    """Return an error as X683 with what helps outside a recipe, where it is of inputs; any other stays as it is."""
    said = error.diagnostics[0]
    return StepError(replace(said, code=REFUSED, help=ADVICE)) if said.code in _CODES else error
