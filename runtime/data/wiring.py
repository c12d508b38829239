"""Match a model's inputs with the data's columns and arrays, by their names, and word what does not match."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from titrant.runtime.data.parameters import TensorParams
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.nearest import nearest
from titrant.schema.values.frozen import dataclass

# What columns of single numbers become together, where they are one input.
STACKED = "features"
_SHOWN = 8  # names that a message lists

# What one input is made of: an array or column by itself, or columns that are stacked, in order.
Part = str | tuple[str, ...]


@dataclass(frozen=True)
class ModelInput:
    """One input of a model; `shape` holds the batch first, and is None where only the name is known."""

    name: str
    shape: tuple[int | str, ...] | None = None
    dtype: str | None = None
    required: bool = True


@dataclass(frozen=True)
class Signature:
    """What a model takes: its inputs in their order; with `any_name` it takes others by name as well.

    `named` is False where it takes inputs by position only, as `forward(*tensors)` does: `inputs` then are in the order
    in which the recipe states them, or unknown. With `renames` a lone input is called as the model calls it.
    """

    inputs: tuple[ModelInput, ...]
    any_name: bool = False
    named: bool = True
    renames: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        """The names that must be given."""
        return tuple(item.name for item in self.inputs if item.required)


def groups(columns: Mapping[str, np.ndarray]) -> dict[str, Part]:
    """Return what the data gives by itself: all columns of single values as "features", and each array by its name."""
    single = tuple(name for name, column in columns.items() if is_single(column))
    stacked: dict[str, Part] = {STACKED: single} if single else {}
    return stacked | {name: name for name in columns if name not in single}


def names_in(part: Part) -> tuple[str, ...]:
    """Return the arrays and columns of a part."""
    return (part,) if isinstance(part, str) else tuple(part)


def is_single(column: np.ndarray) -> bool:
    """Whether a column holds one value a row, rather than an array or an image."""
    return column.ndim == 1 and column.dtype.kind != "O"


def match(
    signature: Signature, columns: Mapping[str, np.ndarray], stated: Mapping[str, Part] | None = None
) -> dict[str, Part]:
    """Say what every input of the model is made of, in the order of the model's inputs.

    A lone input takes an array, or all columns, whatever their names. Of several each is matched by name: with an
    array, with a column of its own, or as "features" with the columns that are left. `stated` is what the recipe says.
    Raises RecipeError X129 for an input without a match, and for columns and arrays that no input takes.
    """
    given = groups(columns)
    if stated is not None:
        return _as_stated(signature, stated)
    own_names = {item.name for item in signature.inputs}
    if len(columns) > 1 and set(signature.required) <= set(columns) <= own_names:
        return {item.name: item.name for item in signature.inputs if item.name in columns}
    if len(given) == 1 and len(signature.required) <= 1 and not _is_another(signature, next(iter(given))):
        name, part = next(iter(given.items()))
        renamed = signature.required and (signature.renames or name in own_names)
        return {signature.required[0] if renamed else name: part}
    if not signature.named and not signature.inputs:
        raise _unnamed(given)
    matched = dict(_by_name(signature, columns))
    used = {name for part in matched.values() for name in names_in(part)}
    left: dict[str, Part] = {name: part for name, part in given.items() if isinstance(part, str) and part not in used}
    if single := tuple(name for name in names_in(given.get(STACKED, ())) if name not in used):
        left = {STACKED: single, **left}
    if STACKED in left and STACKED not in matched and (STACKED in own_names or signature.any_name):
        matched[STACKED] = left.pop(STACKED)
    if signature.any_name:
        matched |= left
        left = {}
    missing = [name for name in signature.required if name not in matched]
    if missing or left:
        raise _unmatched(signature, matched, missing, left)
    order = [item.name for item in signature.inputs]
    return {name: matched[name] for name in sorted(matched, key=lambda name: _place(name, order))}


def _is_another(signature: Signature, name: str) -> bool:
    """Whether a name is that of an input which may be left out, while another must be given."""
    optional = {item.name for item in signature.inputs if not item.required}
    return name != STACKED and name in optional and bool(signature.required)


def _by_name(signature: Signature, columns: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Part]]:
    several = len(signature.required) > 1
    for item in signature.inputs:
        # A column that happens to be called as the only input, or as an option, is one of its features.
        if item.name in columns and (several or not item.required or not is_single(columns[item.name])):
            yield item.name, item.name


def _as_stated(signature: Signature, stated: Mapping[str, Part]) -> dict[str, Part]:
    order = [item.name for item in signature.inputs]
    if signature.named:
        unknown = [name for name in stated if name not in order and not signature.any_name]
        missing = [name for name in signature.required if name not in stated]
        # A model's only input may be called anything: it is no question which one is meant.
        if (unknown or missing) and not (len(stated) == len(signature.required) == 1 and unknown):
            raise _misstated(order, unknown, missing)
    return {name: stated[name] for name in sorted(stated, key=lambda name: _place(name, order))}


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _misstated(order: Sequence[str], unknown: Sequence[str], missing: Sequence[str]) -> RecipeError:
    name = (unknown or missing)[0]
    near = nearest(name, order) if unknown else None
    message = f"the model has no input `{name}`" if unknown else f"nothing is said of the model's input `{name}`"
    help = f"did you mean `{near}`?" if near else f"it takes {_listed(order)}"
    return RecipeError(Diagnostic("X129", message, help=help, key=f"data.inputs {name}" if unknown else "data.inputs"))


def _unmatched(
    signature: Signature, matched: Mapping[str, Part], missing: Sequence[str], left: Mapping[str, Part]
) -> RecipeError:
    from titrant.schema.language.write import flow

    names = [item.name for item in signature.inputs if item.required or item.name in matched]
    gives = [*_all(matched), *_all(left)]
    scalar = next((item for item in signature.inputs if item.name in missing and item.shape == ()), None)
    if scalar is not None:
        message = f"the model's input `{scalar.name}` is one number for a whole batch, and no column is called so"
        spec = {"name": scalar.name, "shape": [], "dtype": scalar.dtype or "float32", "value": 1}
        help = f"its value stands in model.inputs, such as {flow(spec)}, beside the other inputs"
        return RecipeError(Diagnostic("X129", message, help=help, key="model.inputs"))
    if missing:
        message = f"the model takes {_listed(names)}, and the data gives {_listed(gives)}: "
        message += f"nothing is called {_listed(missing)}"
        pairs = len(missing) == len(left) == 1
        rest: dict[str, Part] = dict(zip(missing, left.values(), strict=True)) if pairs else {}
        line: dict[str, Part] = {name: matched[name] if name in matched else rest.get(name, "…") for name in names}
        help = f"data: {flow({'inputs': {name: _written(part) for name, part in line.items()}})}"
        help += ", if that is what it means" if pairs else ", with the columns or the array that each input takes"
    else:
        message = f"no input of the model takes {_listed(_all(left))}: it has {_listed(names)}"
        help = f"data: {flow({'inputs': {name: _written(part) for name, part in matched.items()}})}"
    return RecipeError(Diagnostic("X129", message, help=help, key="data.inputs"))


def _unnamed(given: Mapping[str, Part]) -> RecipeError:
    from titrant.schema.language.write import flow

    message = f"the model's forward does not name its inputs, and the data gives {_listed(tuple(given))}"
    line = flow({"inputs": {name: _written(parts) for name, parts in given.items()}})
    return RecipeError(
        Diagnostic("X129", message, help=f"data: {line}, in the order of the forward", key="data.inputs")
    )


def _all(parts: Mapping[str, Part]) -> list[str]:
    return [name for part in parts.values() for name in names_in(part)]


def _written(part: Part) -> str | list[str]:
    """Write a part as a recipe does; an array is a name, columns are a list."""
    return part if isinstance(part, str) else list(part)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_SHOWN])
    return (shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")) or "nothing"


def check_names(signature: Signature, specs: Sequence[TensorParams]) -> None:
    """Raise RecipeError X129 where several inputs of `model.inputs` are called otherwise than the model calls them."""
    order = [item.name for item in signature.inputs]
    if not signature.named or len(specs) < 2:
        return
    unknown = [spec.name for spec in specs if spec.name not in order and not signature.any_name]
    missing = [name for name in signature.required if name not in {spec.name for spec in specs}]
    if unknown or missing:
        name = (unknown or missing)[0]
        near = nearest(name, order) if unknown else None
        message = (
            f"model.inputs names `{name}`, and the model takes {_listed(order)}"
            if unknown
            else f"model.inputs leaves out `{name}`, which the model takes"
        )
        help = f"did you mean `{near}`?" if near else "name them as the model's forward or file does"
        raise RecipeError(
            Diagnostic("X129", message, help=help, key=f"model.inputs {name}" if unknown else "model.inputs")
        )


def check_shapes(inputs: Mapping[str, np.ndarray], specs: Sequence[TensorParams], more: str = "") -> None:
    """Compare the inputs with the shapes of `model.inputs`; RecipeError X126 where they differ.

    `more` stands behind the advice: what was fitted on which rows, and which column is no input.
    """
    for spec in specs:
        given = inputs[spec.name].shape[1:]
        if not spec.shape and not given:
            continue  # one number a batch is a column of numbers here
        if len(spec.shape) != len(given) + 1 or any(
            declared != size for declared, size in zip(spec.shape[1:], given, strict=True) if isinstance(declared, int)
        ):
            expected, actual = ", ".join(map(str, spec.shape)), ", ".join(map(str, ("batch", *given)))
            raise RecipeError(
                Diagnostic(
                    "X126",
                    f"model.inputs: {spec.name} is ({expected}), and the data gives ({actual})",
                    help=f"correct `shape`, or reshape the array in a data factory{more}",
                )
            )
