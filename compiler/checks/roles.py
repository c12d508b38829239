"""Check that every role that a step needs has rows, and that what is fitted can be fitted."""

from collections.abc import Iterator, Mapping

from titrant.compiler.checks.look import Finding, Look
from titrant.runtime import catalog

# Transforms that learn something from rows.
FITTED = ("standardize", "impute", "one_hot")


def roles_have_rows(look: Look) -> Iterator[Finding]:
    """Refuse a split that leaves a role without rows which some step reads."""
    for role, reason in _needed(look).items():
        share = look.data.split.roles.get(role)
        if share is None:
            message = f"`split` gives no rows to `{role}`, and {reason}"
            advice = f"add `{role}: 0.1` under `split`, or a source name"
            yield look.finding("R109", ("data", "split", role), message, advice, part="key")
        elif share == 0 or (isinstance(share, Mapping) and not any(share.values())):
            message = f"`{role}` gets no rows, and {reason}"
            yield look.finding("R109", ("data", "split", role), message, "give it a share above 0")


def _needed(look: Look) -> dict[str, str]:
    """Return the roles that steps read, each with the reason."""
    recipe = look.recipe
    needed = {}
    fitted = [step.name for step in look.data.transform if step.name in FITTED]
    if recipe.train is not None:
        needed["train"] = "training fits on them"
    needed["tuning"] = "candidates are compared on them"
    if (method := _calibrated(look)) is not None:
        needed["calibration"] = f"`{method}` calibrates on them"
    elif fitted and recipe.train is None:
        needed["calibration"] = f"`{fitted[0]}` is fitted on them, since the model is trained already"
    needed["evaluation"] = "the contract is judged on them"
    return needed


def _calibrated(look: Look) -> str | None:
    """Return the explicit method if it calibrates."""
    method = look.recipe.quantization.method
    operator = catalog.method_operator(method)
    if method in ("auto", "none") or ":" in method or operator not in catalog.names():
        return None
    declared = catalog.get(operator).method
    return method if declared is not None and declared.calibrated else None


def rows_are_real(look: Look) -> Iterator[Finding]:
    """Refuse what random inputs cannot serve: calibration, transforms, training."""
    if look.has_source:
        return
    if (method := _calibrated(look)) is not None:
        message = f"`{method}` calibrates, and without `data` there are only random inputs"
        advice = "add `data` with a source, or choose `ort.dynamic`"
        yield look.finding("R109", ("quantization", "method"), message, advice)
    if look.recipe.train is not None:
        message = "training needs rows, and the recipe has no `data`"
        yield look.finding("R109", ("train",), message, "add `data` with a source, or take `train` out", part="key")


def training_fits(look: Look) -> Iterator[Finding]:
    """Refuse training where there are no labels, or where the output is no logit."""
    if look.recipe.train is None:
        return
    if not look.labelled:
        message = f"training needs labels, and `task: {look.recipe.task}` has none"
        advice = "take `train` out, or choose a labelled task"
        yield look.finding("R117", ("train",), message, advice, part="key")
    outputs = look.recipe.model.output or ()
    if outputs and outputs[0].kind == "probabilities":
        message = "training needs logits, and the model gives probabilities"
        advice = "leave the last softmax or sigmoid out of the model, and write `kind: logits`"
        path = ("model", "output", 0, "kind") if look.written("model", "output", 0) else ("model", "output", "kind")
        yield look.finding("R117", path, message, advice)
    if look.recipe.model.args.get("vocabulary") == "auto":
        path = ("model", "args", "vocabulary")
        yield look.finding("R101", path, "`vocabulary: auto` is not available in this version", "write the number")
