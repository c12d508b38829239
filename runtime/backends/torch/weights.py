"""Find, in what a weights file holds, the tensors that are a model's, and load them: every one, or none.

Trainers put a state dict under a key and its names behind prefixes. Each place from which all of a model's tensors can
be taken is a fit; one fit is taken and described, several are a question.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.runtime.backends.torch.checkpoint import Keys, Saved, read_saved, some
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.language.nearest import nearest
from titrant.schema.seen import LoadedWeights
from titrant.schema.values.shards import index_beside

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

# What torch.compile, FSDP and activation checkpointing put between the parts of a name.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# A counter of batch normalization, which old files lack and evaluation does not read.
_COUNTER = "num_batches_tracked"
_SHOWN = 3
_COMPARED = 500  # names of a file in which the nearest is looked for
_MOST_STEMS = 3


@dataclass(frozen=True)
class WeightsChoice:
    """Where in a file the recipe says that the weights stand; None where it does not say."""

    key: str | None = None
    prefix: str | None = None


UNSAID = WeightsChoice()


@dataclass
class WeightsPlace:
    """A place in a file that has names of the model: under `keys`, behind `prefix`; `stem` is the model's own prefix.

    `state` is name in the model → tensor, `taken` counts what came from under which keys, `twice` are names for which
    there are two tensors.
    """

    keys: Keys
    prefix: str
    stem: str = ""
    state: "dict[str, torch.Tensor]" = field(default_factory=dict)
    taken: Counter[Keys] = field(default_factory=Counter)
    twice: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The keys as a recipe writes them."""
        return ".".join(self.keys)


def load_weights(module: "torch.nn.Module", path: str, choice: WeightsChoice = UNSAID) -> LoadedWeights:
    """Load a weights file into a module and say how it fitted.

    Raises as `read_saved` and `fit_weights` do, and X155 as `check_values` does.
    """
    saved = read_saved(path)
    state, loaded = fit_weights(module, saved, choice, path)
    check_values(module, state, saved.file)
    module.load_state_dict({**module.state_dict(), **state}, strict=True)
    return loaded


def check_values(module: "torch.nn.Module", state: "Tensors", name: str) -> None:
    """Raise StepError X155 for NaN in a state of a module, and for infinity in parameters of torch's own layers.

    Infinity in a buffer or in what a user's module holds may be meant: a mask is made of it.
    """
    own = {
        f"{layer}.{key}".lstrip(".")
        for layer, part in module.named_modules()
        if type(part).__module__.startswith("torch.nn.")
        for key, _ in part.named_parameters(recurse=False)
    }
    floating = {key: tensor for key, tensor in state.items() if tensor.is_floating_point()}
    unknown = [key for key, tensor in floating.items() if bool(tensor.isnan().any())]
    endless = [key for key in own.intersection(floating) if bool(floating[key].isinf().any())]
    broken = [f"NaN in {some(unknown)}"] * bool(unknown) + [f"infinity in {some(sorted(endless))}"] * bool(endless)
    if broken:
        message = f"{name}: {' and '.join(broken)}"
        raise StepError(Diagnostic("X155", message, help="take a checkpoint that trained well"))


def not_finite(module: "torch.nn.Module") -> list[str]:
    """Name the parameters and buffers of a module that hold NaN, and the parameters that hold infinity."""
    parameters = {name for name, _ in module.named_parameters()}
    return [
        name
        for name, value in module.state_dict().items()
        if value.is_floating_point() and bool(value.isnan().any() or (name in parameters and value.isinf().any()))
    ]


def fit_weights(
    module: "torch.nn.Module", saved: Saved, choice: WeightsChoice = UNSAID, path: str = ""
) -> "tuple[dict[str, torch.Tensor], LoadedWeights]":
    """Return name in the model → tensor for all that the module holds, and how they were found.

    Raises StepError X154 unless names, shapes and kinds of number match in one place of the file, RecipeError X163
    where they do in several, X164 for a key or prefix of `choice` that the file does not have.
    """
    import torch

    expected = {name: item for name, item in module.state_dict().items() if isinstance(item, torch.Tensor)}
    for stem in _stems(expected):
        places = _places(saved, expected, stem)
        complete = [place for place in places if not any(_differences(place, expected))]
        chosen = [place for place in complete if _is_chosen(place, choice)]
        if len(chosen) > 1:
            raise RecipeError(_question(chosen, saved))
        if chosen and not _extra(chosen[0], saved, complete):
            return chosen[0].state, _loaded(chosen[0], expected, saved)
    _check_choice(choice, saved)
    raise StepError(_misfit(saved, expected, choice, path))


def _stems(expected: "Tensors") -> Iterator[str]:
    """Yield what may stand in front of all of the model's names and not of the file's: nothing first."""
    yield ""
    parts = [name.split(".") for name in expected]
    for length in range(1, _MOST_STEMS):
        if parts and all(len(name) > length and name[:length] == parts[0][:length] for name in parts):
            yield ".".join(parts[0][:length]) + "."


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _places(saved: Saved, expected: "Tensors", stem: str) -> list[WeightsPlace]:
    """List every place from which a name of the model's can be taken, in the order of the file."""
    targets = {_unwrapped(name.removeprefix(stem)): name for name in expected}
    plain = len(targets) == len(expected)
    targets = targets if plain else {name.removeprefix(stem): name for name in expected}
    places: dict[tuple[Keys, str], WeightsPlace] = {}
    for keys, state in saved.tensors.items():
        for name, tensor in state.items():
            parts = [*keys, *(_unwrapped(name) if plain else name).split(".")]
            for start in range(len(parts)):
                target = targets.get(".".join(parts[start:]))
                if target is None:
                    continue
                prefix = "".join(f"{part}." for part in parts[len(keys) : start])
                head = (keys[:start], prefix)
                place = places.setdefault(head, WeightsPlace(*head, stem))
                if target in place.state:
                    place.twice.append(target)
                place.state[target] = tensor
                place.taken[keys] += 1
    return list(places.values())


def _is_chosen(place: WeightsPlace, choice: WeightsChoice) -> bool:
    return choice.key in (None, place.key) and (choice.prefix is None or _dotted(choice.prefix) == place.prefix)


def _dotted(prefix: str) -> str:
    plain = _unwrapped(prefix.rstrip("."))
    return f"{plain}." if plain else ""


def _differences(place: WeightsPlace, expected: "Tensors") -> Iterator[str]:
    """Yield what keeps a place from having all of the model's weights, in words."""
    shapes = [name for name, tensor in place.state.items() if tensor.shape != expected[name].shape]
    yield from (
        f"{name} is {_shape(place.state[name])} in the file and {_shape(expected[name])} in the model"
        for name in shapes[:_SHOWN]
    )
    if len(shapes) > _SHOWN:
        yield f"{len(shapes) - _SHOWN} more shapes differ"
    kinds = [name for name, tensor in place.state.items() if not _same_kind(name, tensor, expected[name])]
    if kinds:
        pair = f"{_dtype(place.state[kinds[0]])} in the file and {_dtype(expected[kinds[0]])} in the model"
        yield f"{kinds[0]} is {pair}" + (f", and {len(kinds) - 1} more are of another kind" if len(kinds) > 1 else "")
    yield from _counted("the file lacks", _missing(place, expected), len(expected))
    if place.twice:
        yield f"the file holds two tensors for {some(place.twice)}"
    yield from (
        f"the model ties {name} and {other}, and in the file they differ" for name, other in _untied(place, expected)
    )


def _counted(what: str, names: Sequence[str], total: int) -> Iterator[str]:
    if names:
        of = f" ({len(names)} of {total})" if len(names) > _SHOWN else ""
        yield f"{what} {some(list(names))}{of}"


def _same_kind(name: str, saved: "torch.Tensor", expected: "torch.Tensor") -> bool:
    """Whether both hold fractions, or both whole numbers, or both complex ones: a cast between these loses values."""
    if name.endswith(_COUNTER):
        return True
    fractions = saved.is_floating_point() == expected.is_floating_point()
    return fractions and saved.is_complex() == expected.is_complex()


def _missing(place: WeightsPlace, expected: "Tensors") -> list[str]:
    """List what the model has and the place has not; counters, and tensors tied to one that is there, are not lost."""
    there = {_memory(expected[name]) for name in place.state}
    absent = [name for name in expected if name not in place.state]
    return [name for name in absent if not name.endswith(_COUNTER) and _memory(expected[name]) not in there]


def _memory(tensor: "torch.Tensor") -> tuple[object, ...]:
    """Return what is equal for tied tensors alone."""
    where = (tensor.untyped_storage()._cdata, tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
    return where if tensor.numel() else (id(tensor),)


def _extra(place: WeightsPlace, saved: Saved, complete: Sequence[WeightsPlace]) -> list[str]:
    """List the tensors that stand where the model's do, under the same keys and prefix, and are none of its own.

    Nor are they those of another place that has all of the model's, such as an average.
    """
    taken = {id(tensor) for other in (place, *complete) for tensor in other.state.values()}
    return [
        name
        for keys in place.taken
        for name, tensor in saved.tensors[keys].items()
        if id(tensor) not in taken and _unwrapped(name).startswith(place.prefix)
    ]


def _untied(place: WeightsPlace, expected: "Tensors") -> Iterator[tuple[str, str]]:
    """Yield pairs of names that are one tensor in the model and have different values in the file."""
    import torch

    first: dict[tuple[object, ...], str] = {}
    for name, tensor in place.state.items():
        other = first.setdefault(_memory(expected[name]), name)
        if other is name or tensor.is_meta or tensor.shape != place.state[other].shape:
            continue
        if not torch.allclose(tensor, place.state[other], rtol=0, atol=0, equal_nan=True):
            yield other, name


def _loaded(place: WeightsPlace, expected: "Tensors", saved: Saved) -> LoadedWeights:
    """Describe a fit."""
    pairs = Counter((_dtype(tensor), _dtype(expected[name])) for name, tensor in place.state.items())
    wrapped = [part for keys in place.taken for name in saved.tensors[keys] for part in name.split(".")]
    beside = {keys: len(state) - place.taken.get(keys, 0) for keys, state in saved.tensors.items()}
    left: Counter[str] = Counter()
    for keys, count in beside.items():
        first = next((name for name in saved.tensors[keys] if not _unwrapped(name).startswith(place.prefix)), "")
        if count:
            left[first if keys in place.taken else keys[0] if keys else first] += count
    absent = [name for name in expected if name not in place.state]
    return LoadedWeights(
        file=saved.file,
        tensors=len(place.state),
        elements=sum(math.prod(tensor.shape) for tensor in place.state.values()),
        key=place.key,
        prefix=place.prefix,
        added=place.stem,
        wrappers=tuple(wrapper for wrapper in WRAPPERS if wrapper in wrapped),
        left_out=tuple(left.items()),
        others=saved.others,
        casts=tuple((old, new, count) for (old, new), count in pairs.items() if old != new),
        counters=sum(1 for name in absent if name.endswith(_COUNTER)),
        tied=sum(1 for name in absent if not name.endswith(_COUNTER)),
        shards=saved.shards,
        values_read=not any(tensor.is_meta for tensor in place.state.values()),
    )


def _question(fits: Sequence[WeightsPlace], saved: Saved) -> Diagnostic:
    """Ask which of several places is meant, with the line for each."""
    keys, prefixes = len({place.key for place in fits}) > 1, len({place.prefix for place in fits}) > 1
    options = [_option(place, keys, prefixes) for place in fits[:_SHOWN]]
    more = f", and {len(fits) - _SHOWN} more" if len(fits) > _SHOWN else ""
    sets = ", ".join(map(_named, fits[:_SHOWN])) + more
    message = f"{saved.file} holds {len(fits)} sets of weights that fit the model: {sets}"
    others = " or ".join(f"`{option}`" for option in options[1:])
    advice = f"say which one is meant: `weights: {{path: …, {options[0]}}}`, or with {others}"
    return Diagnostic("X163", message, help=advice)


def _named(place: WeightsPlace) -> str:
    behind = f" behind `{place.prefix}`" if place.prefix else ""
    return (f"under `{place.key}`" if place.key else "at the top") + behind


def _option(place: WeightsPlace, keys: bool, prefixes: bool) -> str:
    """Write what means one place beside the path: of key and prefix what tells it from the others."""
    parts = [f"key: {_quoted(place.key)}"] if keys else []
    return ", ".join(parts + ([f"prefix: {_quoted(place.prefix)}"] if prefixes else []))


def _quoted(text: str) -> str:
    return f'"{text}"' if not text or not text.replace("_", "").isalnum() else text


def _check_choice(choice: WeightsChoice, saved: Saved) -> None:
    """Raise RecipeError X164 where the file does not have the key, or under it no name with the prefix."""
    heads = [".".join(keys[:length]) for keys in saved.tensors for length in range(len(keys) + 1)]
    if choice.key is not None and choice.key not in heads:
        there = list(dict.fromkeys(head for head in heads if head)) or ['tensors at the top alone: write key: ""']
        message = f"{saved.file} holds no tensors under `{choice.key}`"
        near = nearest(choice.key, there)
        advice = f"it has {some(there)}" + (f": did you mean `{near}`?" if near else "")
        raise RecipeError(Diagnostic("X164", message, help=advice))
    if choice.prefix is None:
        return
    under = [
        _unwrapped(name)
        for keys, state in saved.tensors.items()
        if choice.key is None or ".".join(keys) == choice.key
        for name in state
    ]
    if not any(name.startswith(_dotted(choice.prefix)) for name in under):
        message = f"no name in {saved.file} begins with `{choice.prefix}`"
        raise RecipeError(Diagnostic("X164", message, help=f"they are as {some(under)}"))


def _misfit(saved: Saved, expected: "Tensors", choice: WeightsChoice, path: str) -> Diagnostic:
    """Say how the place that comes nearest differs from the model, and what may mend it."""
    every = _places(saved, expected, "")
    complete = [place for place in every if not any(_differences(place, expected))]
    places = [place for place in every if _is_chosen(place, choice)]
    nearest = max(places, key=lambda place: (len(place.state) - len(place.twice), -len(place.keys)), default=None)
    index = index_beside(Path(path)) if path else None
    place = nearest or WeightsPlace((), "")
    extra = _extra(place, saved, complete)
    differences = [*_differences(place, expected), *_counted("the model lacks", extra, len(place.state) + len(extra))]
    if nearest is None:
        names = [name for state in saved.tensors.values() for name in state]
        differences = [
            f"none of its {len(names)} names is one of the model's {len(expected)}: it has {some(names)}, "
            f"the model {some(list(expected))}"
        ]
    where = _named(place) + " " if place.keys or place.prefix else ""
    message = f"{saved.file} {where}does not fit the model: {'; '.join(differences)}"
    if index is not None:
        return Diagnostic("X154", message, help=f"this is one shard of several: name {index.name}")
    return Diagnostic("X154", message, help=_mend(_missing(place, expected), extra, nearest is not None))


def _mend(missing: Sequence[str], extra: Sequence[str], some_match: bool) -> str:
    for name in missing[:_SHOWN]:
        near = nearest(name, extra[:_COMPARED], 0.5)
        if near:
            return f"`{near}` in the file is nearest to the model's `{name}`: name it so in the factory or the file"
    if not some_match:
        return "these are another model's weights: name the factory that they were trained with"
    return "give `model.args` the values that the model was trained with"


def _dtype(tensor: "torch.Tensor") -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _shape(tensor: "torch.Tensor") -> str:
    return "(" + ", ".join(str(size) for size in tensor.shape) + ("," if tensor.ndim == 1 else "") + ")"
