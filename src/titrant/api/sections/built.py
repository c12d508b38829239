"""Build a section of a recipe from Python values, checked and worded as if it were written in YAML."""

import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.messages import word
from titrant.schema.language.parse import mapping, node_at
from titrant.schema.language.shape import findings_at
from titrant.schema.language.source_map import SourceMap
from titrant.schema.language.spans import KeyPath, Origin, dotted
from titrant.schema.language.write import dump
from titrant.schema.language.yaml_source import split_lines
from titrant.schema.language.yaml_tree import plain_value
from titrant.schema.recipe.recipe import Recipe, as_text, notes
from titrant.schema.recipe.terms import Off, Section, Written
from titrant.schema.recipe.transform import Impute, Normalize, OneHot, Resize, Standardize, Tokenize

S = TypeVar("S", bound=Section)

# Written as their name, or as {name: options}.
_TRANSFORMS = (Standardize, Normalize, Impute, OneHot, Resize, Tokenize)
# What stands for the file of what was never written to one.
UNWRITTEN = "recipe in Python"


def constructor(section: type[S]) -> Callable[..., S]:
    """Return a constructor of a section that takes what it takes, by name, and refuses as a recipe's text is refused.

    Lists stand for tuples, paths for their text, and bytes and seconds for sizes and times with a unit. It raises
    RecipeError with every mistake; instead of a line each says the path. Options are checked when it is called and not
    by a type checker, which would have to know that a text such as `250 ms` is a time.
    """

    @functools.wraps(section, updated=())
    def build(*args: Any, **options: Any) -> S:
        if args:
            message = f"{section.__name__} takes its options by name"
            raise RecipeError(Diagnostic("R011", message, help=f"they are {', '.join(section.model_fields)}"))
        return built(section, options)

    return build


def built(kind: type[S], given: Mapping[str, Any]) -> S:
    """Return a section of what it was given by name; RecipeError with everything that is wrong."""
    transform = get_args(kind.model_fields["name"].annotation)[0] if kind in _TRANSFORMS else None
    home = _homes()[kind] if transform is None else (*_homes()[kind], transform)
    value: Any = as_written(kind, {key: item for key, item in given.items() if key != "name" or not transform}, home)
    for part in reversed(home):
        value = {part: value} if isinstance(part, str) else [value]
    text = dump(value)
    root, diagnostics = mapping(text, Origin(UNWRITTEN, Path(), split_lines(text)))
    if not diagnostics:
        node = node_at(root, home)
        try:
            options = plain_value(node) if node is not None else {}
            return kind.model_validate(options | ({"name": transform} if transform else {}), strict=True)
        except ValidationError as error:
            place = SourceMap(root).place
            diagnostics = [word(finding, place) for finding in findings_at(root, home, error)]
    raise RecipeError(*map(by_path, diagnostics))


def by_path(diagnostic: Diagnostic) -> Diagnostic:
    """Return what is wrong with the path in place of the line: there is no text that its author knows."""
    if diagnostic.where is None:
        return diagnostic
    key = diagnostic.where.key
    said = f"{diagnostic.message}, at {key}" if key else diagnostic.message
    return replace(diagnostic, message=said, where=None, key=key)


def as_written(kind: type[Section], given: Mapping[str, Any], home: KeyPath = ()) -> dict[str, Any]:
    """Return what a recipe would say of what was given by name; RecipeError R246 for what no text can hold."""
    names = {info.alias or key: info for key, info in kind.model_fields.items()}
    values: dict[str, Any] = {}
    for key, value in given.items():
        marks = notes(names[key]) if key in names else ()
        if value is None and Off not in marks:
            continue  # an option that has no value of its own is one that is left out
        unit = next((mark.unit for mark in marks if isinstance(mark, Written)), None)
        values[key] = "none" if value is None else as_text(value, unit) if unit else _plain(value, (*home, key))
    return values


def _plain(value: Any, path: KeyPath) -> Any:
    if isinstance(value, BaseModel):
        return as_text(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, (*path, place)) for place, item in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()  # a number of NumPy's or torch's
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise RecipeError(_live(value, path))


def _live(value: Any, path: KeyPath) -> Diagnostic:
    """Say what to do with an object that lives in this process: a recipe names what another process builds again."""
    kind = type(value).__name__
    if callable(getattr(value, "named_parameters", None)) or hasattr(value, "graph_module"):
        advice = (
            'name its class, factory="module:Name", or write the module to a file, titrant.export(module, "exported", '
            '"net.pt2"), and name that: exported="net.pt2"; titrant.apply and titrant.validate take it as it is'
        )
    elif hasattr(value, "shape") or hasattr(value, "__next__") or hasattr(value, "__iter__"):
        advice = 'write arrays to a file, np.savez("rows.npz", x=…, y=…), and name it: npz="rows.npz"'
    else:
        advice = "name a function or class of a module: module:name"
    message = f"`{dotted(path)}` is given a {kind}, and a recipe holds text and numbers, so that it can be run again"
    return Diagnostic("R246", message, help=advice, key=dotted(path))


@cache
def _homes() -> Mapping[type, KeyPath]:
    """Return where each section stands in a recipe, the first place that takes it."""
    places: dict[type, KeyPath] = {Recipe: ()}
    waiting: deque[type[Section]] = deque([Recipe])
    while waiting:
        kind = waiting.popleft()
        for key, info in kind.model_fields.items():
            for inner, below in _sections(info.annotation):
                if inner not in places:
                    places[inner] = (*places[kind], info.alias or key, *below)
                    waiting.append(inner)
    return places


def _sections(annotation: Any) -> Iterator[tuple[type[Section], KeyPath]]:
    """Yield the sections that an annotation holds, each with what leads to it: the first of a list, some name."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation, ()
    origin = getattr(annotation, "__origin__", None)
    for inner in get_args(annotation):
        for kind, below in _sections(inner):
            yield kind, (0, *below) if origin is tuple else ("name", *below) if origin is Mapping else below
