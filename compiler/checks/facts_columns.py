"""Check the columns that the recipe names against those that the data has."""

from collections.abc import Iterator

from titrant.compiler.checks.look import Finding, Look, Path, meant
from titrant.schema.facts import DataFacts, ModelFacts


def columns_exist(look: Look, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Find columns that the data does not have."""
    if not look.has_source or not data.columns:
        return
    names = [column.name for column in data.columns]
    for path, name in _named(look):
        if name not in names:
            yield look.finding("R131", path, f"the data has no column `{name}`", meant(name, names, "it has"))


def _named(look: Look) -> Iterator[tuple[Path, str]]:
    """List the columns that the recipe names for the data as a whole; a source's own names are its loader's matter."""
    data = look.data
    if data.label is not None:
        yield ("data", "label"), data.label
    for place, name in enumerate(data.inputs or ()):
        yield ("data", "inputs", place), name
    if data.split.by not in ("row", "order"):
        yield ("data", "split", "by"), data.split.by
    for group, subgroup in data.subgroups.items():
        yield ("data", "subgroups", group, "column"), subgroup.column
    for place, step in enumerate(data.transform):
        for index, name in enumerate(step.columns or ()):
            yield ("data", "transform", place, step.name, "columns", index), name


def gaps_are_filled(look: Look, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Refuse missing values in an input that no transform fills."""
    if not look.has_source:
        return
    filled = [step for step in look.data.transform if step.name == "impute"]
    if any(step.columns is None for step in filled):
        return
    covered = {name for step in filled for name in step.columns or ()}
    not_inputs = {look.data.label, look.data.split.by} | {
        source.label for source in (look.data.sources or {}).values() if source.label is not None
    }
    gaps = [
        column
        for column in data.columns
        if column.missing and column.name not in covered and _is_input(look, column.name, not_inputs)
    ]
    if gaps:
        worst = ", ".join(f"`{column.name}` ({column.missing:,})" for column in gaps[:4])
        more = f" and {len(gaps) - 4} more" if len(gaps) > 4 else ""
        rows = "in" if len(gaps) == 1 else "in the columns"
        message = f"values are missing {rows} {worst}{more}, and nothing fills them"
        advice = "add `- impute` before the other transforms, or leave the columns out of `data.inputs`"
        yield look.finding("R138", ("data", "transform"), message, advice, part="key")


def _is_input(look: Look, name: str, not_inputs: set[str | None]) -> bool:
    return name in look.data.inputs if look.data.inputs is not None else name not in not_inputs
