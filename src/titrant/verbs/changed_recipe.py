"""Say whether the recipe of a saved plan has changed since."""

from pathlib import Path

from titrant.planned import Planned


def changed_since(saved: Planned) -> str:
    """Say so where the recipe that a saved plan was made from has changed; "" where it has not, or is gone.

    The plan holds its own copy, which is what runs.
    """
    file = Path(saved.recipe_file)
    place = file if file.is_absolute() else Path(saved.folder) / file.name
    try:
        now = place.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    if now == saved.written.get("text", saved.recipe_text):
        return ""
    return f"{saved.recipe_file} has changed since the plan was saved; the plan runs as it was saved"
