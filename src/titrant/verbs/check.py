"""Check recipes: their text, names and options, without looking at the machine."""

from collections.abc import Sequence
from pathlib import Path

from titrant.schema.diagnostics import Diagnostic, TitrantError


def check(recipe: Path | str, *, overrides: Sequence[str] = (), trust: bool = False) -> tuple[Diagnostic, ...]:
    """Parse and bind one recipe and return everything found wrong, in file order; () when it is fine.

    Of a lock, which stands among the recipes, it is checked that it can be read. Nothing of the user's code runs and
    neither torch nor the machine is looked at.
    """
    from titrant.compiler.bind import bind
    from titrant.schema.source import read

    recipe = Path(recipe)
    try:
        if recipe.name.endswith(".lock.yaml") and recipe.is_file():
            from titrant.schema.lock_text import read_lock

            read_lock(recipe)
            return ()
        bind(read(recipe, overrides), trust=trust)
    except TitrantError as error:
        return error.diagnostics
    return ()
