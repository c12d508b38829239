"""Check recipes: their text, names and options, without looking at the machine."""

from collections.abc import Sequence
from pathlib import Path

from titrant.schema.diagnostics import Diagnostic, TitrantError


def check(recipe: Path, *, overrides: Sequence[str] = (), trust: bool = False) -> tuple[Diagnostic, ...]:
    """Parse and bind one recipe and return everything found wrong, in file order; () when it is fine.

    Nothing of the user's code runs and neither torch nor the machine is looked at.
    """
    from titrant.compiler.bind import bind
    from titrant.schema.source import read

    try:
        bind(read(recipe, overrides), trust=trust)
    except TitrantError as error:
        return error.diagnostics
    return ()
