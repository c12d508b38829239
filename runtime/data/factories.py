"""Data from the recipe's own factory."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from titrant.runtime.data.columns import array_column, frame_columns
from titrant.runtime.data.parameters import Source
from titrant.runtime.data.user_code import call, resolve
from titrant.schema.diagnostics import Diagnostic, RecipeError, StepError


def read_factory(source: Source, name: str) -> dict[str, np.ndarray]:
    """Call a data factory and return the columns of one source.

    The factory gives a DataFrame, {array name: array}, or {source name: either}; of the last, `source.part`, or else
    the source's own name, says which. Raises StepError X106 and X108, RecipeError X110 for a part that is not there.
    """
    reference = source.factory or ""
    made = call(f"{reference}()" if not source.args else f"{reference}(…)", resolve(reference), **source.args)
    if _is_named_sources(made):
        made = _part(made, source.part or name, reference)
    elif source.part is not None:
        raise RecipeError(
            Diagnostic("X110", f"{reference} gives one source, none called {source.part}", help="give roles fractions")
        )
    return _columns(made, reference)


def _is_named_sources(made: Any) -> bool:
    return (
        isinstance(made, Mapping) and bool(made) and all(_is_frame(v) or isinstance(v, Mapping) for v in made.values())
    )


def _is_frame(value: Any) -> bool:
    import pandas as pd

    return isinstance(value, pd.DataFrame)


def _part(made: Mapping[Any, Any], part: str, reference: str) -> Any:
    if part not in made:
        names = ", ".join(str(name) for name in made)
        raise RecipeError(
            Diagnostic("X110", f"{reference} gives the sources {names}", help="give each role one of them, by name")
        )
    return made[part]


def _columns(made: Any, reference: str) -> dict[str, np.ndarray]:
    if _is_frame(made):
        return frame_columns(made, reference)
    if isinstance(made, Mapping) and all(isinstance(name, str) for name in made):
        return {name: array_column(values, name, reference) for name, values in made.items()}
    raise StepError(
        Diagnostic(
            "X106",
            f"{reference} gave {type(made).__name__}",
            help="return a DataFrame, {array name: array}, or {source name: either}",
        )
    )
