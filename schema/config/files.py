"""Save any configuration object as JSON or YAML, by the file's suffix, and load it back."""

import json
from codecs import BOM_UTF8
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar, overload

from titrant.schema.atomic import write_bytes
from titrant.schema.compose import Node
from titrant.schema.config.directories import ensure_directories
from titrant.schema.config.json_text import read_json
from titrant.schema.config.secrets import redact
from titrant.schema.config.typed import as_type
from titrant.schema.config.values import plain
from titrant.schema.config.yaml_text import merge_yaml, read_yaml
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.intake import MOST_BYTES, read_text
from titrant.schema.os_reason import os_reason
from titrant.schema.write import dump

T = TypeVar("T")
_YAML = (".yaml", ".yml")


def save_config(value: object, file: Path | str, *, keep: Collection[str] = ()) -> tuple[str, ...]:
    """Save a configuration: a pydantic model, a dataclass, a mapping, inside each other.

    A `.json` file is written with two spaces; a `.yaml` file that is there already keeps its comments, order and
    quoting. Folders on the way are made; the file is replaced whole or not at all. Secrets are replaced by
    `<redacted>`, by their key and by their shape, but at the dotted paths (or the one path) in `keep`. Returns the
    paths of what was replaced. Raises RecipeError naming the path of a value that cannot be written, or the file.
    """
    file = Path(file)
    suffix = _suffix(file)
    keep = (keep,) if isinstance(keep, str) else keep
    whole = plain(value)
    shown, redacted = redact(whole, keep)
    _check_kept(whole, keep)
    text = _json(shown) if suffix == ".json" else _yaml(shown, file)
    data = (_mark(file) if suffix != ".json" else b"") + text.encode()
    if len(data) > MOST_BYTES:
        message = f"{file} cannot be written: it would be larger than 1 MiB"
        raise RecipeError(Diagnostic("R030", message, help="keep data in files of its own, and their paths here"))
    ensure_directories(file.parent)
    try:
        write_bytes(file, data)
    except OSError as error:
        raise RecipeError(Diagnostic("R030", f"{file} cannot be written: {os_reason(error)}", help=_ROOM)) from None
    return redacted


@overload
def load_config(file: Path | str) -> Any: ...
@overload
def load_config(file: Path | str, into: type[T]) -> T: ...
def load_config(file: Path | str, into: Any = None) -> Any:
    """Load a configuration, as mappings and lists, or as `into`: a pydantic model, a dataclass or any annotation.

    YAML is read as a recipe is: one line means one thing. Nothing is converted in silence (`"5"` is not a number),
    and a key that `into` does not have is an error. Raises RecipeError with every mistake and its place.
    """
    file = Path(file)
    suffix = _suffix(file)
    text = read_text(file, str(file))
    tree: Node | None = None
    if suffix == ".json":
        value = read_json(text, str(file))
    else:
        value, tree = read_yaml(text, str(file))
    return value if into is None else as_type(value, into, str(file), tree)


_ROOM = "make the folder and the file writable, and room on the disk"


def _suffix(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix not in (".json", *_YAML):
        message = f"{file} is neither JSON nor YAML by its name"
        raise RecipeError(Diagnostic("R031", message, help="end it in .json, .yaml or .yml"))
    return suffix


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _mark(file: Path) -> bytes:
    """Return the mark of UTF-8 where the file that is there begins with one: some editors ask for it."""
    try:
        with file.open("rb") as stream:
            return BOM_UTF8 if stream.read(len(BOM_UTF8)) == BOM_UTF8 else b""
    except (OSError, ValueError):  # what cannot be opened is told when it is written
        return b""


def _yaml(value: Any, file: Path) -> str:
    if not (file.exists() and isinstance(value, dict)):
        return dump(value)
    present = read_text(file, str(file))
    if not present.strip():
        return dump(value)
    merged = merge_yaml(present, value, str(file))
    if merged is None:
        message = f"the comments of {file} cannot be kept around the new values"
        raise RecipeError(Diagnostic("R030", message, help="delete the file to have it written anew"))
    return merged


def _check_kept(value: Any, keep: Collection[str]) -> None:
    """Refuse a path in `keep` that leads nowhere: a misspelt one would redact in silence."""
    for path in keep:
        if path not in set(_paths(value, "")):
            message = f"there is no `{path}` to be kept as it is"
            raise RecipeError(Diagnostic("R030", message, help="write the path as `section.key` or `list[0].key`"))


def _paths(value: Any, path: str) -> list[str]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += _paths(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _paths(item, f"{path}[{index}]")
    return found
