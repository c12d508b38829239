"""Turn a recipe into plain JSON: whole for its digest, or only what stands in the text."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from titrant.schema.recipe.recipe import Recipe
from titrant.schema.recipe.terms import Written
from titrant.schema.recipe.transform import Impute, Normalize, OneHot, Resize, Standardize, Tokenize
from titrant.schema.units import write_size, write_time

# Keys that say nothing about what is done.
_WORDS_ONLY = ("extends", "description")
_TRANSFORMS = (Standardize, Normalize, Impute, OneHot, Resize, Tokenize)


def recipe_value(recipe: Recipe) -> dict[str, Any]:
    """Return every key of a recipe with its value, defaults included, sizes in bytes and times in seconds.

    The recipe's digest is of this value. `extends` and `description` are left out: they change nothing.
    """
    return {key: _plain(getattr(recipe, key)) for key in Recipe.model_fields if key not in _WORDS_ONLY}


def written(recipe: Recipe) -> dict[str, Any]:
    """Return the keys that stand in the text as they are written there: with units, without defaults."""
    return _keys(recipe)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {info.alias or key: _plain(getattr(value, key)) for key, info in type(value).model_fields.items()}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _keys(model: BaseModel) -> dict[str, Any]:
    fields = type(model).model_fields.items()
    return {info.alias or key: _text(model, key, info) for key, info in fields if key in model.model_fields_set}


def _text(model: BaseModel, key: str, info: FieldInfo) -> Any:
    """Write one key's value as text has it; None can only have been written as `none`."""
    value = getattr(model, key)
    if value is None:
        return "none"
    unit = next((note.unit for note in _notes(info) if isinstance(note, Written)), None)
    if unit is not None:
        return write_size(value) if unit == "size" else write_time(value)
    return _inner(value)


def _inner(value: Any) -> Any:
    if isinstance(value, _TRANSFORMS):
        options = {key: item for key, item in _keys(value).items() if key != "name"}
        return {value.name: options} if options else value.name
    if isinstance(value, BaseModel):
        return _keys(value)
    if isinstance(value, Mapping):
        return {str(key): _inner(item) for key, item in value.items()}
    return [_inner(item) for item in value] if isinstance(value, (list, tuple)) else value


def _notes(info: FieldInfo) -> tuple[Any, ...]:
    """Return what is noted on a field's type, also inside `… | None`."""
    alternatives = getattr(info.annotation, "__args__", ())
    return (*info.metadata, *(note for one in alternatives for note in getattr(one, "__metadata__", ())))
