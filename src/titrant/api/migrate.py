"""Rewrite a recipe of an older version of the language in place."""

from pathlib import Path

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.migrate import Migration

_MARK = b"\xef\xbb\xbf"  # a byte order mark, which a file that begins with one keeps


def migrate(recipe: Path | str, *, check: bool = False) -> Migration:
    """Rewrite one recipe to the present version of the language; only the changed tokens move.

    Returns the new text and what was changed, a sentence each; () when the recipe speaks the language already, and its
    file is then not touched. `check` writes nothing. The file is replaced whole or not at all, and keeps its
    permissions, line ends, comments, order and quoting. RecipeError for a file that is not a recipe, names no version,
    speaks a newer one, or cannot be written.
    """
    from titrant.schema.language.migrate import migrate as rewrite
    from titrant.schema.language.yaml_source import read_text
    from titrant.schema.values.files import write_bytes
    from titrant.schema.values.text import os_reason

    recipe = Path(recipe)
    migrated = rewrite(read_text(recipe, str(recipe)), str(recipe))
    if check or not migrated.changes:
        return migrated
    try:
        with recipe.open("rb") as stream:
            mark = _MARK if stream.read(3) == _MARK else b""
        write_bytes(recipe, mark + migrated.text.encode())
    except OSError as error:
        message = f"{recipe} cannot be rewritten: {os_reason(error)}"
        advice = "make the file and its folder writable, or migrate a copy"
        raise RecipeError(Diagnostic("P003", message, help=advice)) from None
    return migrated
