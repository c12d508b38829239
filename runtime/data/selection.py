"""Say which columns of a table are the model's inputs."""

from typing import Protocol

from titrant.runtime.data.columns import find
from titrant.runtime.values import Table
from titrant.schema.diagnostics import Diagnostic, RecipeError


class Named(Protocol):
    """Parameters that say which columns are inputs and label."""

    @property
    def inputs(self) -> tuple[str, ...] | None:
        """The input columns, or None for every column but the label and `by`."""

    @property
    def label(self) -> str | None:
        """The label column."""

    @property
    def by(self) -> str | None:
        """What stays together: "row", "order" or a column."""


def input_names(params: Named, table: Table) -> tuple[str, ...]:
    """List the input columns: those named, or every column but the label and the `split.by` column."""
    if params.inputs is not None:
        for name in params.inputs:
            find(table.columns, name, "the data", "data.inputs")
        return params.inputs
    apart = {params.label, None if params.by in ("row", "order") else params.by}
    names = tuple(name for name in table.columns if name not in apart)
    if not names:
        raise RecipeError(Diagnostic("X101", "the data has no column but the label", help="name `data.inputs`"))
    return names
