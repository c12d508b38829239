"""Write a lock as YAML that people can review line by line, and read it back."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from titrant.schema.canonical import plain
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.lock import FORM, Lock
from titrant.schema.lock_name import SUFFIX

_HEAD = """\
# Written by titrant: review it, commit it beside the recipe, do not edit it.
# One entry for each class of hardware: what was decided, the measurements that decided it, and what came out.
# Check it with: titrant lock {recipe} --check
"""
# Figures beyond this many digits are noise that only makes diffs longer.
_DIGITS = 6
_WIDTH = 100_000


def lock_path(recipe: Path) -> Path:
    """Return where a recipe's lock stands: beside it, `x.lock.yaml` for `x.yaml`."""
    return recipe.with_name(f"{recipe.stem}{SUFFIX}")


def recipe_path(lock: Path) -> Path:
    """Return the recipe that a lock stands beside."""
    stem = lock.name.removesuffix(SUFFIX).removesuffix(".lock.yml")
    other = lock.with_name(f"{stem}.yml")
    return other if other.is_file() else lock.with_name(f"{stem}.yaml")


def lock_text(lock: Lock, recipe: str) -> str:
    """Write a lock: the same lock gives the same text, one fact a line, in an order that stays."""
    from titrant.schema.write import dump

    entries = {name: _rounded(plain(lock.entries[name])) for name in sorted(lock.entries)}
    value = {"titrant_lock": FORM, "name": lock.name, "entries": entries}
    return _HEAD.format(recipe=recipe) + dump(value, width=_WIDTH)


def names_run(path: Path, run: str) -> bool:
    """Tell whether a lock file has an entry made from a run, without parsing it; False where it cannot be read."""
    try:
        return f"    run: {run}\n" in path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def read_lock(path: Path) -> Lock | None:
    """Read a lock file; None where there is none. Raises RecipeError P091 for one that is damaged."""
    from titrant.schema.compose import plain_value
    from titrant.schema.read_back import WrongValueError, read_back
    from titrant.schema.source import mapping
    from titrant.schema.spans import Origin

    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from None
    try:
        root, found = mapping(text, Origin(str(path), path.parent, tuple(text.split("\n"))))
    except RecipeError as error:
        root, found = None, list(error.diagnostics)
    if root is None or found:
        place = found[0].where
        raise _damaged(path, f"line {place.line}: {found[0].message}" if place is not None else found[0].message)
    value = plain_value(root)
    if value.pop("titrant_lock", None) != FORM:
        raise _damaged(path, f"it is not a lock of form {FORM}")
    _refuse_unknown(value, path)
    try:
        return read_back(Lock, value)
    except WrongValueError as error:
        raise _damaged(path, str(error)) from None


def _refuse_unknown(value: Mapping[str, Any], path: Path) -> None:
    unknown = sorted(set(value) - {field.name for field in fields(Lock)})
    if unknown:
        raise _damaged(path, f"it has an unknown key {unknown[0]}")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _damaged(path: Path, why: str) -> RecipeError:
    advice = f"write it anew: titrant lock {recipe_path(path)}"
    return RecipeError(Diagnostic("P091", f"{path} cannot be read: {why}", help=advice))
