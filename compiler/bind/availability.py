"""Refuse keys and values that the recipe language has and this version cannot do yet."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from titrant.compiler.bind.bound_recipe import CheckInput, Finding
from titrant.compiler.bind.check_reduction import FAMILIES
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.schema.language.spans import KeyPath, dotted
from titrant.schema.recipe.deploy import ENGINES, FORMATS
from titrant.schema.recipe.tasks import TASKS

# Keys of later versions → the values that ask for nothing beyond what this version does anyway. `*` is any name or
# place in a list. A section that is listed whole is refused key by key.
LATER_KEYS: Mapping[tuple[str, ...], tuple[Any, ...]] = {
    ("model", "huggingface"): (),
    ("data", "source", "huggingface"): (),
    ("data", "unlabeled", "huggingface"): (),
    ("data", "sources", "*", "huggingface"): (),
    ("search", "space"): ("none",),
    ("search", "sampler"): (),
    ("memory", "guard"): (),
    ("batching",): ("none",),
}

# A section whose keys are checked one by one where the catalog has operators for it, and which is refused whole else.
_REDUCTION = ("reduction",)

# Keys of this version → the values that it has; any other value of the language comes later.
VALUES: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("task",): tuple(TASKS),
}


_METHOD = ("quantization", "method")
_ENGINE = ("target", "engine")
_TENSORRT = "an NVIDIA GPU with CUDA, and the package tensorrt"
# Values of later versions → what they take, which no CPU and no Mac has, and what serves there.
NEEDS: Mapping[tuple[tuple[str, ...], str], tuple[str, tuple[str, ...]]] = {
    (_METHOD, "gptq"): ("an NVIDIA GPU with CUDA, and the package gptqmodel", ("ort.nbits", "bnb.nf4")),
    (_METHOD, "awq"): ("an NVIDIA GPU with CUDA, and the package autoawq", ("ort.nbits", "bnb.nf4")),
    (_METHOD, "tensorrt.int8"): (_TENSORRT, ("ort.static",)),
    (_METHOD, "tensorrt.fp8"): (f"{_TENSORRT}, of compute capability 8.9 or more", ("cast",)),
    (_ENGINE, "tensorrt"): (_TENSORRT, ("onnxruntime", "torch")),
}  # fmt: skip
# Where metrics are named; those of tasks that are not there come later.
_METRICS = (
    ("validation", "gates", "*", "metric"),
    ("validation", "baseline", "metric"),
    ("validation", "bias", "metric"),
)


def later_keys() -> Mapping[tuple[str, ...], tuple[Any, ...]]:
    """Return the keys that later versions bring, each with the values that ask for nothing more."""
    has_reductions = any(map(catalog.reductions, FAMILIES.values()))
    return LATER_KEYS if has_reductions else {**LATER_KEYS, _REDUCTION: ("none",)}


def later_values() -> Mapping[tuple[str, ...], tuple[str, ...]]:
    """Return the keys of this version of which it has some values alone, and these."""
    return {**VALUES, **_engines()}


def has_value(path: Sequence[str], value: str) -> bool:
    """Whether this version has a value of the language at a key, whose path leaves out names and places in lists."""
    for pattern, values in later_values().items():
        if _closed(pattern) == tuple(path):
            return value in values
    if tuple(path) == _METHOD:
        return _has_method(value)
    if tuple(path) in map(_closed, _METRICS):
        return any(value in task.metrics for task in TASKS.values()) or not value.isidentifier()
    return True


def _closed(pattern: Sequence[str]) -> tuple[str, ...]:
    return tuple(part for part in pattern if part != "*")


def later_of(path: Sequence[str | int]) -> tuple[KeyPath, tuple[Any, ...]] | None:
    """Return the key of a later version that a path is or lies under, and the values that ask for nothing more."""
    for pattern, harmless in later_keys().items():
        at = tuple(path[: len(pattern)])
        if len(at) == len(pattern) and all(key in ("*", part) for key, part in zip(pattern, at, strict=True)):
            return at, harmless
    return None


def does_nothing_yet(path: Sequence[str | int], default: Any) -> bool:
    """Whether a key's default says that something is done, or chosen, which only a later version does."""
    waiting = later_of(path)
    if waiting is None or default is None or default is False or default == ():
        return False
    key, harmless = waiting
    return len(key) < len(path) or default == "auto" or not _same(default, harmless)


def available(given: CheckInput) -> Iterator[Finding]:
    """Refuse keys and values of later versions, but only where the text asks for them."""
    # Whether there are reductions takes loading them, which only a recipe that asks for one is worth.
    later = later_keys() if given.written(*_REDUCTION) else LATER_KEYS
    for pattern, harmless in later.items():
        for path in _written(given, pattern):
            if not _same(_value(given, path), harmless):
                yield _refused(given, path, "")
    for pattern, values in later_values().items():
        for path in _written(given, pattern):
            value = _value(given, path)
            if value is not None and value not in values:
                yield _refused(given, path, str(value), _instead(pattern, str(value), values))
    yield from _method(given)


def _engines() -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return the engines and formats that are there, in the order of the language, those of other packages last.

    A key of which the whole language is there is left out.
    """
    every: Mapping[tuple[str, ...], tuple[Iterable[str], tuple[str, ...]]] = {
        ("target", "engine"): (ENGINES, ("auto", *filter(_runs, backend.names()))),
        ("export", "*", "format"): (FORMATS, ("auto", *backend.formats())),
    }
    waiting = {key: values for key, values in every.items() if not {*values[0]} <= {*values[1]}}
    return {key: _ordered(language, there) for key, (language, there) in waiting.items()}


def _runs(engine: str) -> bool:
    """Whether an engine runs files here, rather than that its files are for other code."""
    kinds = backend.kinds()
    return any(kind not in kinds or not kinds[kind].weights_for for kind in backend.get(engine).costs)


def _ordered(language: Iterable[str], there: Sequence[str]) -> tuple[str, ...]:
    own = [name for name in language if name in there]
    return (*own, *(name for name in there if name not in own))


def _refused(given: CheckInput, path: KeyPath, value: str, help_text: str = "") -> Finding:
    key = dotted(path)
    named = f"`{key}: {value}`" if value else f"`{key}`"
    part = "value" if value else "key"
    advice = help_text or "take it out: a later version brings it"
    return given.finding("R101", path, f"{named} is not available in this version", advice, part=part)  # type: ignore[arg-type]


def _method(given: CheckInput) -> Iterator[Finding]:
    method = given.recipe.quantization.method
    if not _has_method(method):
        yield _refused(
            given, _METHOD, method, _instead(_METHOD, method, ("auto", "none", *catalog.quantization_methods()))
        )


def _instead(key: tuple[str, ...], value: str, there: Sequence[str]) -> str:
    """Say what a value of a later version takes and what serves without that, else every value that is there."""
    needs, serving = NEEDS.get((key, value), ("", ()))
    serves = [f"`{name}`" for name in serving if name in there]
    if not needs:
        return f"this version has {', '.join(f'`{choice}`' for choice in there)}"
    return f"a later version brings it, and it takes {needs}" + (f": write {' or '.join(serves)}" if serves else "")


def _has_method(method: str) -> bool:
    # A user's own operator is described by an inspection child when the recipe is planned.
    return method in ("auto", "none") or ":" in method or catalog.method_operator(method) in catalog.names()


def _written(given: CheckInput, pattern: tuple[str, ...]) -> list[KeyPath]:
    """List the paths of the text that fit a pattern; a tree walk would be slower than asking for each."""
    paths: list[KeyPath] = [()]
    for part in pattern:
        if part == "*":
            paths = [(*path, child) for path in paths for child in _children(given, path)]
        else:
            paths = [(*path, part) for path in paths]
        paths = [path for path in paths if given.written(*path)]
    return paths


def _children(given: CheckInput, path: KeyPath) -> list[str | int]:
    value = _value(given, path)
    if isinstance(value, Mapping):
        return list(value)
    return list(range(len(value))) if isinstance(value, (tuple, list)) else []


def _value(given: CheckInput, path: KeyPath) -> Any:
    """Return what the recipe holds at a path; None for what it holds no attribute for, such as a transform's name."""
    value: Any = given.recipe
    for part in path:
        if isinstance(value, (Mapping, tuple, list)):
            value = value[part]  # type: ignore[index]
        elif isinstance(value, BaseModel) and part in type(value).model_fields:
            value = getattr(value, str(part))
        else:
            return value
    return value


def _same(value: Any, harmless: tuple[Any, ...]) -> bool:
    if value is None and "none" in harmless:
        return True
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in harmless)
