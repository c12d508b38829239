"""Save a configuration as JSON or YAML, by the file's suffix, and load it back, every mistake with its place.

Also make directories, any number at once.
"""

import dataclasses
import json
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

from pydantic import AliasChoices, AliasPath, BaseModel, PydanticUserError, TypeAdapter, ValidationError

from titrant.schema.config.sealed import MAGIC, is_sealed, key_from_environment, opened, sealed
from titrant.schema.config.secrets import redact
from titrant.schema.config.values import merge_yaml, plain, read_json, read_yaml, shown
from titrant.schema.diagnostics.diagnostics import Diagnostic, Place, RecipeError
from titrant.schema.language.nearest import nearest
from titrant.schema.language.source_map import SourceMap
from titrant.schema.language.spans import KeyPath, dotted
from titrant.schema.language.write import dump
from titrant.schema.language.yaml_source import MOST_BYTES, read_text
from titrant.schema.language.yaml_tree import Branch, Node
from titrant.schema.values.canonical import canonical_json
from titrant.schema.values.files import YAML_SUFFIXES, write_bytes
from titrant.schema.values.text import os_reason

T = TypeVar("T")
_WRITABLE = "make the folder and the file writable, and room on the disk"


def save_config(
    value: object, file: Path | str, *, keep: Collection[str] = (), encrypt: bool = False
) -> tuple[str, ...]:
    """Save a configuration: a pydantic model, a dataclass, a mapping, inside each other.

    A `.json` file is written with two spaces; a `.yaml` file that is there already keeps its comments, order and
    quoting. Folders on the way are made; the file is replaced whole or not at all. Secrets are replaced by
    `<redacted>`, by their key and by their shape, but at the dotted paths (or the one path) in `keep`. Returns the
    paths of what was replaced. With `encrypt` the file is sealed with the key in TITRANT_KEY, written anew, and
    `load_config` opens it with the same key. Raises RecipeError naming the path of a value that cannot be written, or
    the file, or that there is no key.
    """
    file = Path(file)
    suffix = _suffix(file)
    keep = (keep,) if isinstance(keep, str) else keep
    whole = plain(value)
    shown, redacted = redact(whole, keep)
    _check_kept(whole, keep)
    if encrypt:
        text = _json(shown) if suffix == ".json" else dump(shown)
        data = sealed(text.encode(), key_from_environment())
    else:
        text = _json(shown) if suffix == ".json" else _yaml(shown, file)
        data = (_mark(file) if suffix != ".json" else b"") + text.encode()
    if len(data) > MOST_BYTES:
        message = f"{file} cannot be written: it would be larger than 1 MiB"
        raise RecipeError(Diagnostic("R030", message, help="keep data in files of its own, and their paths here"))
    ensure_directories(file.parent)
    try:
        write_bytes(file, data)
    except OSError as error:
        raise RecipeError(Diagnostic("R030", f"{file} cannot be written: {os_reason(error)}", help=_WRITABLE)) from None
    return redacted


@overload
def load_config(file: Path | str) -> Any: ...


@overload
def load_config(file: Path | str, into: type[T]) -> T: ...


def load_config(file: Path | str, into: Any = None) -> Any:
    """Load a configuration, as mappings and lists, or as `into`: a pydantic model, a dataclass or any annotation.

    YAML is read as a recipe is: one line means one thing. Nothing is converted in silence (`"5"` is not a number),
    and a key that `into` does not have is an error. A sealed file is opened with the key in TITRANT_KEY. Raises
    RecipeError with every mistake and its place.
    """
    file = Path(file)
    suffix = _suffix(file)
    text = _opened(file) if _is_sealed(file) else read_text(file, str(file))
    tree: Node | None = None
    if suffix == ".json":
        value = read_json(text, str(file))
    else:
        value, tree = read_yaml(text, str(file))
    return value if into is None else as_type(value, into, str(file), tree)


def _is_sealed(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return is_sealed(stream.read(len(MAGIC)))
    except (OSError, ValueError):  # reading it says what is wrong
        return False


def _opened(file: Path) -> str:
    return opened(file.read_bytes(), key_from_environment(), str(file)).decode()


def _suffix(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix not in (".json", *YAML_SUFFIXES):
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
    except (OSError, ValueError):  # what cannot be opened is reported when it is written
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
    paths = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            paths += _paths(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            paths += _paths(item, f"{path}[{index}]")
    return paths


def as_type(value: Any, into: Any, file: str, tree: Node | None) -> Any:
    """Return a value as `into`; RecipeError (R033) for each value that does not fit and each key it does not have."""
    try:
        adapter = TypeAdapter(into)
    except PydanticUserError:
        name = getattr(into, "__qualname__", None) or repr(into)
        advice = "give a pydantic model, a dataclass, or an annotation such as `dict[str, int]`"
        raise RecipeError(Diagnostic("R033", f"`{name}` cannot be read from a file", help=advice)) from None
    try:
        loaded = adapter.validate_json(canonical_json(value), strict=True)
    except ValidationError as error:
        raise RecipeError(*(_finding(item, value, file, tree) for item in error.errors(include_url=False))) from None
    unknown = [
        Diagnostic("R033", _unread(dotted(path), file, tree), _place(tree, path, "key"), advice, key=dotted(path))
        for path, advice in _ignored(value, loaded, ())
    ]
    if unknown:
        raise RecipeError(*unknown)
    return loaded


def _unread(key: str, file: str, tree: Node | None) -> str:
    return f"nothing reads `{key}`" + ("" if tree is not None else f" of {file}")


def _finding(error: Any, value: Any, file: str, tree: Node | None) -> Diagnostic:
    path = _in_text(value, error["loc"])
    name = dotted((*path, error["loc"][-1])) if error["type"] == "missing" else dotted(path)
    where = f"`{name}`" if name else "the configuration"
    where += "" if tree is not None and path else f" of {file}"
    message = f"{where}: {error['msg'][:1].lower()}{error['msg'][1:]}"
    return Diagnostic("R033", message, _place(tree, path), "mend the file, or the type that it is read into", key=name)


def _in_text(value: Any, loc: tuple[str | int, ...]) -> KeyPath:
    """Follow an error's location as far as the value goes, leaving out what only the type knows."""
    path: list[str | int] = []
    for part in loc:
        inside = isinstance(value, dict) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            path.append(part)
            value = value[part]
    return tuple(path)


def _place(tree: Node | None, path: KeyPath, part: Literal["key", "value"] = "value") -> Place | None:
    return SourceMap(tree).place(path, part) if isinstance(tree, Branch) and path else None


def _ignored(value: Any, loaded: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Find keys that a model or dataclass took no notice of."""
    if isinstance(value, list) and isinstance(loaded, (list, tuple)):
        for index, (item, inner) in enumerate(zip(value, loaded, strict=False)):
            yield from _ignored(item, inner, (*path, index))
    if not isinstance(value, dict):
        return
    if isinstance(loaded, Mapping):
        for key, item in value.items():
            if key in loaded:
                yield from _ignored(item, loaded[key], (*path, key))
        return
    names = _names(loaded)
    for key, item in value.items() if names is not None else ():
        assert names is not None
        if key in names:
            yield from _ignored(item, getattr(loaded, names[key], None), (*path, key))
        elif not _takes_more(loaded):
            close = nearest(key, names)
            yield (*path, key), f"did you mean `{close}`?" if close else "its keys are " + ", ".join(sorted(set(names)))


def _names(loaded: Any) -> dict[str, str] | None:
    """Return every key that an object reads → its attribute; None for what is neither model nor dataclass."""
    if isinstance(loaded, BaseModel):
        return {
            key: name
            for name, info in type(loaded).model_fields.items()
            for key in (name, *_aliases(info.alias), *_aliases(info.validation_alias))
        }
    if dataclasses.is_dataclass(loaded) and not isinstance(loaded, type):
        return {field.name: field.name for field in dataclasses.fields(loaded)}
    return None


def _aliases(alias: str | AliasPath | AliasChoices | None) -> Iterator[str]:
    if isinstance(alias, str):
        yield alias
    elif isinstance(alias, AliasPath):
        yield from (part for part in alias.path[:1] if isinstance(part, str))
    elif isinstance(alias, AliasChoices):
        for choice in alias.choices:
            yield from _aliases(choice)


def _takes_more(loaded: Any) -> bool:
    return isinstance(loaded, BaseModel) and type(loaded).model_config.get("extra") == "allow"


def ensure_directories(*paths: Path | str) -> None:
    """Make directories and those above them; one that is there already is left as it is.

    All of them are tried. Raises RecipeError (R032) naming every path that is not a directory afterwards, and why.
    """
    wrong = [diagnostic for path in paths if (diagnostic := _made(Path(path))) is not None]
    if wrong:
        raise RecipeError(*wrong)


def _made(path: Path) -> Diagnostic | None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        there = next((place for place in (path, *path.parents) if place.is_symlink() or place.exists()), path)
        kind = "a broken link" if not there.exists() else "a file"
        message = f"the directory {path} cannot be made: {there} is {kind}"
        return Diagnostic("R032", message, help="move it away, or name another directory")
    except (OSError, ValueError) as error:
        text = os_reason(error) if isinstance(error, OSError) else str(error)
        message = f"the directory {shown(str(path))} cannot be made: {text}"
        return Diagnostic("R032", message, help="name a place that you may write to")
    return None
