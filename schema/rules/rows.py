"""Rules of `data.subgroups`."""

from collections.abc import Iterator
from itertools import pairwise

from titrant.schema.diagnostics import Diagnostic
from titrant.schema.rules.draft import Draft


def subgroups_are_cut(draft: Draft) -> Iterator[Diagnostic]:
    """A subgroup is cut by bins or by values, and its cut points rise."""
    for name, group in (draft.data.subgroups if draft.data else {}).items():
        path = ("data", "subgroups", name)
        if "." in name or not name:
            message = "the name of a subgroup has no dot, since gates write `subgroup NAME.value`"
            yield draft.key("R018", message, path, f"such as `{name.replace('.', '_') or 'age'}`")
        if group.bins is None and group.values is None:
            advice = "add `bins: [12, 16]` (cut points) or `values: [a, b]`"
            yield draft.key("R021", f"`{name}` does not say how `{group.column}` is cut", path, advice)
        if group.bins is not None and group.values is not None:
            message = "`bins` and `values` stand side by side"
            yield draft.key("R021", message, (*path, "values"), "keep one of the two, or make two subgroups")
        if group.bins is not None and any(low >= high for low, high in pairwise(group.bins)):
            ordered = ", ".join(f"{point:g}" for point in sorted(set(group.bins)))
            message = f"the cut points of `{name}` do not rise"
            yield draft.value("R022", message, (*path, "bins"), f"write `[{ordered}]`")


def values_stand_once(draft: Draft) -> Iterator[Diagnostic]:
    """A value of the column belongs to one label."""
    for name, group in (draft.data.subgroups if draft.data else {}).items():
        seen: dict[str, str] = {}
        for label, values in (group.values or {}).items():
            for value in values:
                text = str(value)
                if text in seen:
                    where = f"`{seen[text]}`" if seen[text] != label else "the same list"
                    message = f"the value `{text}` stands in {where} already"
                    path = ("data", "subgroups", name, "values", label)
                    yield draft.value("R022", message, path, "a row belongs to one value of a subgroup")
                seen.setdefault(text, label)


RULES = (subgroups_are_cut, values_stand_once)
