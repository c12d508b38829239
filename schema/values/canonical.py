"""Write values as canonical JSON, digest them, and read JSON back into the frozen dataclasses that it came from."""

import dataclasses
import hashlib
import json
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

# What stands in JSON as it is. Most values are one of these, so they are told apart first, by their very type.
_SCALARS = frozenset((str, int, bool, type(None)))
_TEXT = frozenset((str,))
_WRITER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_quoted = json.encoder.encode_basestring
_HALVES = re.compile(r"[\ud800-\udfff]")


def plain(value: object) -> Any:
    """Turn a value made of dataclasses, mappings, sequences and scalars into JSON types.

    Mapping keys must be text. Raises TypeError, naming the type, for anything else and ValueError for NaN or
    infinity, which JSON cannot hold.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is tuple or kind is list:
        items = cast("list[object]", value)
        return [item if type(item) in _SCALARS else plain(item) for item in items]
    if kind is dict:
        return _mapping(cast("dict[str, object]", value))
    if names := _fields(cast("Any", kind)):
        said = zip(names, _values(cast("Any", kind))(value), strict=True)
        return {name: item if type(item) in _SCALARS else plain(item) for name, item in said}
    return _rare(value)


def without_defaults(value: object) -> Any:
    """Turn a value into JSON types as `plain` does, but for fields that have their default, which `read_back` gives.

    A list of a dataclass with many optional fields is a third as long.
    """
    kind = type(value)
    if kind is tuple or kind is list:
        return [item if type(item) in _SCALARS else without_defaults(item) for item in cast("list[object]", value)]
    if kind is dict:
        return {key: without_defaults(item) for key, item in _checked(cast("dict[str, object]", value)).items()}
    if names := _fields(cast("Any", kind)):
        said = zip(names, _values(cast("Any", kind))(value), _defaults(cast("Any", kind)), strict=True)
        return {
            name: item if type(item) in _SCALARS else without_defaults(item)
            for name, item, default in said
            if item != default
        }
    return plain(value)


def _mapping(value: Mapping[str, object]) -> dict[str, Any]:
    return {key: item if type(item) in _SCALARS else plain(item) for key, item in _checked(value).items()}


def _checked(value: Mapping[str, object]) -> Mapping[str, object]:
    if not _TEXT.issuperset(map(type, value)) and not all(isinstance(key, str) for key in value):
        raise TypeError(f"a key of {value!r} is not text")
    return value


def _rare(value: object) -> Any:
    """Turn what is not a common type, such as a subclass of one, into JSON types."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be written as JSON")
        return value
    if isinstance(value, (int, str)):
        return value
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {}  # one without fields
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


@cache
def _fields(kind: type) -> tuple[str, ...]:
    """Return the names of a dataclass's fields; () for any other type."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()


@cache
def _values(kind: type) -> Callable[[Any], tuple[object, ...]]:
    """Return what reads all fields of a dataclass."""
    names = _fields(kind)
    if len(names) == 1:
        return lambda value: (getattr(value, names[0]),)
    return attrgetter(*names)


@cache
def _defaults(kind: type) -> tuple[object, ...]:
    """Return the default of each field; MISSING, which is equal to nothing else, where it has none."""
    return tuple(
        field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(kind)
    )


def canonical_json(value: object) -> str:
    """Write a value as JSON with sorted keys, no spaces and UTF-8 text: the same value always gives the same bytes."""
    return json_text(plain(value))


def json_text(value: object) -> str:
    """Write JSON types as `canonical_json` does, without looking for what is none: that takes twice as long."""
    return encodable(_WRITER.encode(value))


def indented_json(value: object) -> str:
    """Write JSON types with sorted keys, a line an item, each indented by one space more than what holds it.

    It is the text of `json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)`, whose own way is in Python as
    well and takes three times as long: it was a tenth of a small run.
    """
    return _indented(value, "\n")


def _indented(value: object, line: str) -> str:
    """Write a value of which `line` begins a new line, as deep as what holds the value."""
    kind = type(value)
    if kind is str:
        return _quoted(cast("str", value))
    inner = line + " "
    if kind is dict:
        pairs = sorted(cast("dict[str, object]", value).items())
        said = [
            f"{_quoted(key)}: {_quoted(item) if type(item) is str else _indented(item, inner)}" for key, item in pairs
        ]
        return f"{{{inner}{f',{inner}'.join(said)}{line}}}" if said else "{}"
    if kind is list:
        items = cast("list[object]", value)
        said = [_quoted(item) if type(item) is str else _indented(item, inner) for item in items]
        return f"[{inner}{f',{inner}'.join(said)}{line}]" if said else "[]"
    if kind is int or (kind is float and math.isfinite(cast("float", value))):
        return repr(value)
    return _WRITER.encode(value)


def encodable(json_text: str) -> str:
    """Write halves of characters in JSON as escapes: a file name that is not UTF-8 has them, and UTF-8 cannot."""
    if json_text.isascii():
        return json_text
    return _HALVES.sub(lambda match: f"\\u{ord(match[0]):04x}", json_text)


def sha256(value: object) -> str:
    """Digest a value's canonical JSON with SHA-256, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


T = TypeVar("T")
Reader = Callable[[Any], Any]


class WrongValueError(ValueError):
    """JSON is not what a dataclass needs; the message says where, as `steps.3.seed`, and why."""

    def __init__(self, reason: str, place: tuple[str | int, ...] = ()) -> None:
        self.reason = reason
        self.place = place
        where = ".".join(str(part) for part in place)
        super().__init__(f"{where}: {reason}" if where else reason)


def read_back(kind: type[T], value: object) -> T:
    """Read a value of JSON types as a dataclass.

    Strict: nothing is converted but lists to tuples and whole numbers to floats where floats are due. Keys that the
    class does not have are ignored, as an older version ignores what a newer one adds. Raises WrongValueError.
    """
    return cast("T", _reader(cast("Any", kind))(value))


@cache
def _reader(hint: Any) -> Reader:
    """Make the function that reads one type; each is made once in a process."""
    if hint is Any or hint is object:
        return lambda value: value
    if hint in _PLAIN:
        return _PLAIN[hint]
    if dataclasses.is_dataclass(hint):
        return _dataclass(cast("type", hint))
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union(inner)
    if origin is Literal:
        return _literal(inner)
    if origin is tuple:
        return _tuple(inner)
    if origin in (Mapping, dict):
        return _read_mapping(_reader(inner[1]))
    raise TypeError(f"{hint} cannot be read back from JSON")


def _dataclass(kind: type) -> Reader:
    hints = get_type_hints(kind)
    fields = dataclasses.fields(kind)
    readers = {field.name: _later(hints[field.name]) for field in fields}
    required = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise WrongValueError(f"{_name(value)} where a mapping is due")
        try:
            given = {name: readers[name](item) for name, item in value.items() if name in readers}
        except WrongValueError:
            given_parts = ((name, reader, value[name]) for name, reader in readers.items() if name in value)
            raise _first_wrong(given_parts) from None
        for name in required:
            if name not in given:
                raise WrongValueError("it is missing", (name,))
        return kind(**given)

    return read


def _first_wrong(parts: Iterable[tuple[str | int, Reader, Any]]) -> WrongValueError:
    """Look again for the part that cannot be read, now that its place is wanted."""
    for key, reader, value in parts:
        try:
            reader(value)
        except WrongValueError as error:
            return WrongValueError(error.reason, (key, *error.place))
    raise AssertionError("every part can be read after all")


def _later(hint: Any) -> Reader:
    """Read the types of an absent or empty value only when there is one."""
    if hint in _PLAIN or hint is Any:
        return _reader(hint)
    made: list[Reader] = []

    def read(value: Any) -> Any:
        if not made:
            made.append(_reader(hint))
        return made[0](value)

    return read


def _read_mapping(item: Reader) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise WrongValueError(f"{_name(value)} where a mapping is due")
        for key in value:
            if not isinstance(key, str):
                raise WrongValueError(f"the key {key!r} is not text")
        try:
            return {key: item(inner) for key, inner in value.items()}
        except WrongValueError:
            raise _first_wrong((key, item, inner) for key, inner in value.items()) from None

    return read


def _tuple(inner: tuple[Any, ...]) -> Reader:
    if len(inner) == 2 and inner[1] is Ellipsis:
        return _repeated(_later(inner[0]))
    each = [_later(hint) for hint in inner]

    def read(value: Any) -> Any:
        if len(_listed(value)) != len(each):
            raise WrongValueError(f"{len(value)} entries where {len(each)} are due")
        try:
            return tuple([reader(entry) for reader, entry in zip(each, value, strict=True)])
        except WrongValueError:
            raise _first_wrong(zip(range(len(each)), each, value, strict=True)) from None

    return read


def _repeated(item: Reader) -> Reader:
    def read(value: Any) -> Any:
        try:
            return tuple([item(entry) for entry in _listed(value)])
        except WrongValueError:
            if not isinstance(value, (list, tuple)):
                raise
            raise _first_wrong((index, item, entry) for index, entry in enumerate(value)) from None

    return read


def _listed(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise WrongValueError(f"{_name(value)} where a list is due")
    return value


def _union(inner: tuple[Any, ...]) -> Reader:
    # A whole number is an int where both would do.
    readers = [_later(hint) for hint in sorted(inner, key=lambda hint: hint is float)]

    def read(value: Any) -> Any:
        wrong = []
        for reader in readers:
            try:
                return reader(value)
            except WrongValueError as error:
                wrong.append(error)
        raise max(wrong, key=lambda error: len(error.place))

    if type(None) in inner:
        return lambda value: None if value is None else read(value)
    return read


def _literal(words: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        for word in words:
            if word == value and type(word) is type(value):
                return word
        raise WrongValueError(f"{value!r} where one of {', '.join(map(str, words))} is due")

    return read


def _exactly(kind: type, name: str) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise WrongValueError(f"{_name(value)} where {name} is due")

    return read


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise WrongValueError("the number is too large") from None
    raise WrongValueError(f"{_name(value)} where a number is due")


def _name(value: object) -> str:
    names: Mapping[type, str] = {
        type(None): "nothing", bool: "true or false", int: "a whole number", float: "a number", str: "text",
        dict: "a mapping", list: "a list", tuple: "a list",
    }  # fmt: skip
    return names.get(type(value), type(value).__name__)


_PLAIN: Mapping[Any, Reader] = {
    str: _exactly(str, "text"),
    int: _exactly(int, "a whole number"),
    bool: _exactly(bool, "true or false"),
    type(None): _exactly(type(None), "nothing"),
    float: _float,
}
