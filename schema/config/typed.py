"""Read JSON types into a type of the user's, every mistake with its place."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import AliasChoices, AliasPath, BaseModel, PydanticUserError, TypeAdapter, ValidationError

from titrant.schema.canonical import canonical_json
from titrant.schema.compose import Branch, Node
from titrant.schema.diagnostics import Diagnostic, Place, RecipeError
from titrant.schema.nearest import nearest
from titrant.schema.source_map import Path, SourceMap
from titrant.schema.spans import dotted


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
        raise RecipeError(*(_finding(one, value, file, tree) for one in error.errors(include_url=False))) from None
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


def _in_text(value: Any, loc: tuple[str | int, ...]) -> Path:
    """Follow an error's location as far as the value goes, leaving out what only the type knows."""
    path: list[str | int] = []
    for part in loc:
        inside = isinstance(value, dict) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            path.append(part)
            value = value[part]
    return tuple(path)


def _place(tree: Node | None, path: Path, part: Literal["key", "value"] = "value") -> Place | None:
    return SourceMap(tree).place(path, part) if isinstance(tree, Branch) and path else None


def _ignored(value: Any, loaded: Any, path: Path) -> Iterator[tuple[Path, str]]:
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
