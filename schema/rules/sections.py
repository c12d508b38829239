"""Rules of the sections about export, search, reduction and memory."""

import itertools
from collections.abc import Iterator

from titrant.schema.diagnostics import Diagnostic
from titrant.schema.recipe.search import Budget, Range
from titrant.schema.rules.draft import Draft


def exports_differ(draft: Draft) -> Iterator[Diagnostic]:
    """No two files have the same format and name, nor the same written name; ONNX options belong to ONNX."""
    seen: set[tuple[str, str]] = set()
    names: set[str] = set()
    for index, export in enumerate(draft.export):
        path = ("export", index)
        name = export.name or "model"
        if (export.format, name) in seen:
            message = f"`{name}` is exported as `{export.format}` twice"
            yield draft.key("R022", message, path, "take one out, or give each a `name`")
        elif export.name in names:
            yield draft.value("R022", f"two files are named `{name}`", (*path, "name"), "give each a name of its own")
        seen.add((export.format, name))
        names |= {export.name} if export.name else set()
        for key in ("opset", "external_data"):
            if key in export.model_fields_set and export.format not in ("onnx", "auto"):
                message = f"`{key}` is an option of ONNX, and this file is `{export.format}`"
                yield draft.key("R022", message, (*path, key), f"take `{key}` out")


def search_ends(draft: Draft) -> Iterator[Diagnostic]:
    """A budget limits something, and ranges rise."""
    search = draft.get("search")
    if isinstance(search.budget, Budget) and search.budget.evaluations is None and search.budget.minutes is None:
        advice = "add `evaluations: 20` or `minutes: 30`"
        yield draft.key("R021", "`budget` limits nothing", ("search", "budget"), advice)
    for name, values in (search.space or {}).items():
        if isinstance(values, Range) and values.low >= values.high:
            message = f"the range of `{name}` does not rise from {values.low:g} to {values.high:g}"
            yield draft.value("R022", message, ("search", "space", name, "high"), "`low` is below `high`")
    if len(set(search.objective)) < len(search.objective):
        message = "an objective stands twice"
        yield draft.value("R022", message, ("search", "objective"), "name each once, first things first")


def factors_are_chosen(draft: Draft) -> Iterator[Diagnostic]:
    """Low-rank factors are cut by energy or by rank."""
    reduction = draft.get("reduction")
    factorize = reduction.factorize if reduction else None
    if factorize is None:
        return
    path = ("reduction", "factorize")
    if factorize.energy is None and factorize.rank is None:
        yield draft.key("R021", "`factorize` does not say how much is kept", path, "add `energy: 0.95` or `rank: 16`")
    if factorize.energy is not None and factorize.rank is not None:
        message = "`energy` and `rank` would each say how much is kept"
        yield draft.key("R021", message, (*path, "rank"), "keep one of the two")


def pressure_rises(draft: Draft) -> Iterator[Diagnostic]:
    """The pressure levels of the memory guard rise."""
    guard = draft.get("memory").guard
    levels = [("normal", guard.normal), ("high", guard.high), ("critical", guard.critical)]
    for (low, lower), (high, higher) in itertools.pairwise(levels):
        if higher <= lower:
            message = f"`{high}` at {higher:g} is not above `{low}` at {lower:g}"
            yield draft.value("R022", message, ("memory", "guard", high), "the levels rise: .70, .85, .95")


RULES = (exports_differ, search_ends, factors_are_chosen, pressure_rises)
