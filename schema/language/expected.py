"""What may stand at a path of a recipe, read from the section models, and the JSON Schema of recipes for editors."""

import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.recipe import LANGUAGE, Recipe
from titrant.schema.recipe.terms import MOST_COUNT, Added, Form, OffMarker, Written
from titrant.schema.recipe.transform import OneKey
from titrant.schema.values.frozen import dataclass

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Kind:
    """One alternative of what may stand somewhere: a type, and what is said about it."""

    type: Any
    notes: tuple[Any, ...] = ()

    def note(self, kind: type) -> Any:
        """Return the first note of a class, or None."""
        return next((note for note in self.notes if isinstance(note, kind)), None)


class _Named:
    """Notes that a model's `name` is not written inside it."""


def expected(path: KeyPath) -> tuple[Kind, ...]:
    """Return what may stand at a path; () where nothing may."""
    kinds: tuple[Kind, ...] = (Kind(Recipe),)
    for part in path:
        kinds = tuple(inner for kind in kinds for inner in _step(kind, part))
    return kinds


def fields(kinds: tuple[Kind, ...]) -> dict[str, FieldInfo]:
    """Return the keys that a mapping may have here."""
    infos: dict[str, FieldInfo] = {}
    for kind in kinds:
        if kind.note(OneKey):
            infos.update(dict.fromkeys(_by_name(kind), FieldInfo()))
        elif _is_model(kind.type):
            skip = "name" if kind.note(_Named) else None
            infos.update({key: info for key, info in _keys(kind.type).items() if key != skip})
    return infos


def words(kinds: tuple[Kind, ...]) -> tuple[str, ...]:
    """Return the plain words that may stand here."""
    choices: list[str] = []
    for kind in kinds:
        if get_origin(kind.type) is Literal:
            choices += [word for word in get_args(kind.type) if isinstance(word, str)]
            choices += added.names() if (added := kind.note(Added)) else ()
        elif kind.note(OneKey):
            choices += _by_name(kind)
        elif form := kind.note(Form):
            choices += form.words
        elif kind.type is OffMarker:
            choices.append("none")
    return tuple(dict.fromkeys(choices))


def takes(kinds: tuple[Kind, ...], *types_: type) -> bool:
    """Whether a value of one of these Python types can stand here, other than a bare `none`."""
    return any(_python_type(kind) in types_ or kind.type is Any for kind in kinds if words((kind,)) != ("none",))


@dataclass(frozen=True)
class Phrase:
    """What may stand somewhere, in words: one of it, and several in a list; "" where a list says it in the same way."""

    single: str
    several: str = ""


def describe(kinds: tuple[Kind, ...]) -> str:
    """Say in words what may stand here: `a number above 0, or auto`."""
    phrases, choice = _alternatives(kinds)
    return _join([*(phrase.single for phrase in phrases), *choice]) or "nothing"


def _plural(kinds: tuple[Kind, ...]) -> str:
    """Say in words what a list holds; where that can be of several kinds, each is named as in `describe`."""
    if any(_is_model(kind.type) for kind in kinds):
        return "mappings"
    phrases, choice = _alternatives(kinds)
    several = phrases[0].several if len(phrases) == 1 else ""
    return _join([several, *choice]) if several else describe(kinds)


def _alternatives(kinds: tuple[Kind, ...]) -> tuple[list[Phrase], list[str]]:
    """Return the phrases for what may stand here, and beside them the words, unless they are too many to name."""
    plain = tuple(kind for kind in kinds if not (_is_model(kind.type) and not kind.note(OneKey)))
    models = [kind for kind in kinds if _is_model(kind.type) and not kind.note(OneKey)]
    phrases = list(dict.fromkeys(phrase for kind in plain if not _is_word(kind) for phrase in _phrases(kind)))
    choice = words(tuple(kind for kind in plain if _is_word(kind) or kind.note(OneKey)))
    if models:
        keys = ", ".join(list(fields(tuple(models)))[:8])
        phrases.append(Phrase(f"a mapping of options ({keys})"))
    if len(choice) > 6:
        return [*phrases, Phrase("one of the known names", "known names")], []
    return phrases, [f"`{word}`" for word in choice]


def _join(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " or " + phrases[-1] if phrases else ""


def _is_word(kind: Kind) -> bool:
    texts = get_origin(kind.type) is Literal and all(isinstance(word, str) for word in get_args(kind.type))
    return texts or kind.type is OffMarker


def _phrases(kind: Kind) -> list[Phrase]:
    """Return the numbers of a choice one by one, and one phrase for anything else."""
    if get_origin(kind.type) is Literal:
        return [Phrase(str(word)) for word in get_args(kind.type)]
    return [_phrase(kind)]


def _phrase(kind: Kind) -> Phrase:
    if written := kind.note(Written):
        return Phrase("a size such as `12 GiB`" if written.unit == "size" else "a time such as `250 ms`")
    if form := kind.note(Form):
        return Phrase(form.phrase, form.plural)
    if kind.note(OneKey):
        return Phrase("a transform's name, alone or with its options")
    python = _python_type(kind)
    if python is tuple:
        return Phrase(f"a list of {_plural(_children(kind, 0))}")
    if python is dict:
        inner = _children(kind, "")
        anything = any(item.type is Any for item in inner)
        return Phrase("a mapping" if anything else f"a mapping of names, each to {describe(inner)}")
    if python in (int, float):
        return _number(kind)
    return {str: Phrase("text", "texts"), bool: Phrase("`true` or `false`")}.get(python, Phrase("anything"))


def _number(kind: Kind) -> Phrase:
    low = next((note for note in kind.notes if isinstance(note, (annotated_types.Ge, annotated_types.Gt))), None)
    high = next((note for note in kind.notes if isinstance(note, (annotated_types.Le, annotated_types.Lt))), None)
    least = getattr(low, "ge", getattr(low, "gt", None))
    most = getattr(high, "le", getattr(high, "lt", None))
    below = "" if hasattr(high, "le") else "below "
    if least == 0 and most == 1 and kind.type is float:
        return Phrase(f"a fraction from 0 to {below}1")
    limits = ""
    if least is not None and most is not None and most < MOST_COUNT:
        limits = f" from {least:g} to {below}{most:g}"
    elif least is not None:
        limits = f" above {least:g}" if hasattr(low, "gt") else f", {least:g} or more"
    return (
        Phrase(f"a whole number{limits}", f"whole numbers{limits}") if kind.type is int else Phrase(f"a number{limits}")
    )


def _step(kind: Kind, part: str | int) -> Iterator[Kind]:
    """Walk one part of a path down from an alternative."""
    if kind.type is Any:
        yield kind
    elif kind.note(OneKey):
        if isinstance(part, str) and part in (named := _by_name(kind)):
            yield Kind(named[part], (_Named(),))
    elif _is_model(kind.type):
        info = _keys(kind.type).get(part) if isinstance(part, str) else None
        if info is not None and not (part == "name" and kind.note(_Named)):
            yield from flatten(info.annotation, tuple(info.metadata))
    else:
        yield from _children(kind, part)


def _children(kind: Kind, part: str | int) -> tuple[Kind, ...]:
    python, inner = _python_type(kind), get_args(kind.type)
    if python is tuple and isinstance(part, int):
        return tuple(flatten(inner[0], ()))
    if python is dict and isinstance(part, str) and inner:
        return tuple(flatten(inner[1], ()))
    return ()


@cache
def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _by_name(kind: Kind) -> dict[str, type[BaseModel]]:
    models = get_args(kind.type)
    return {get_args(model.model_fields["name"].annotation)[0]: model for model in models}


def flatten(annotation: Any, notes: tuple[Any, ...]) -> Iterator[Kind]:
    """Take an annotation apart into its alternatives, as they are written in the text."""
    notes = tuple(note for given in notes for note in (given.metadata if isinstance(given, FieldInfo) else (given,)))
    if get_origin(annotation) is Annotated:
        yield from flatten(annotation.__origin__, (*notes, *annotation.__metadata__))
        return
    if any(isinstance(note, Written) for note in notes):
        yield Kind(str, notes)
        return
    for note in notes:
        if isinstance(note, BeforeValidator) and note.json_schema_input_type not in (PydanticUndefined, Any):
            yield from flatten(note.json_schema_input_type, ())
            return
    if any(isinstance(note, OneKey) for note in notes):
        yield Kind(annotation, notes)
    elif get_origin(annotation) in (Union, types.UnionType):
        for alternative in get_args(annotation):
            yield from flatten(alternative, tuple(note for note in notes if not isinstance(note, OffMarker)))
    elif annotation is not type(None):
        yield Kind(annotation, notes)
    if any(isinstance(note, OffMarker) for note in notes):
        yield Kind(OffMarker)


def _is_model(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, BaseModel)


def _python_type(kind: Kind) -> Any:
    origin = get_origin(kind.type) or kind.type
    if kind.note(OneKey) or _is_model(origin) or origin in (Mapping, dict):
        return dict
    if origin is Literal:
        return type(get_args(kind.type)[0])
    return str if origin is OffMarker else origin


@cache
def homes() -> dict[str, tuple[str, ...]]:
    """Return for every key of the language the paths at which it may stand, shallow ones first."""
    paths_by_key: dict[str, list[str]] = {}

    def visit(kinds: tuple[Kind, ...], path: str, depth: int) -> None:
        for key, info in fields(kinds).items():
            inner = f"{path}.{key}" if path else key
            paths_by_key.setdefault(key, []).append(inner)
            if depth < 4:
                below = tuple(flatten(info.annotation, tuple(info.metadata)))
                visit(tuple(kind for kind in below if _is_model(kind.type)), inner, depth + 1)

    visit((Kind(Recipe),), "", 0)
    return {key: tuple(sorted(paths, key=lambda path: path.count("."))) for key, paths in paths_by_key.items()}


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a recipe, every key with its description, range and default.

    It checks each key by itself; what ties keys together is checked by `titrant check`. JSON does not tell `8.0` and
    `-0.0` from `8` and `0`, so these too are left to `titrant check`, where a whole number is due.
    """
    schema: dict[str, Any] = _without_null(Recipe.model_json_schema(by_alias=True))
    schema["properties"]["titrant"]["const"] = LANGUAGE
    schema["$schema"] = DIALECT
    schema["title"] = "titrant recipe"
    return schema


def _without_null(value: Any) -> Any:
    """Take `null` out: in a recipe an option that has no value is not written, or written `none`."""
    if isinstance(value, list):
        return [_without_null(item) for item in value if item != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_null(item) for key, item in value.items() if not (key == "default" and item is None)}
    if len(alternatives := kept.get("anyOf", [])) == 1:
        del kept["anyOf"]
        kept = {**alternatives[0], **kept}
    return kept
