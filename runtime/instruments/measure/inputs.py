"""The inputs that models are timed on, the same for all: drawn by shape, taken from data, or made by a function."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from titrant.runtime.backends.runnable import RunInputs, as_array
from titrant.runtime.backends.session import Spec
from titrant.runtime.instruments.measure.figures import TimedInput
from titrant.runtime.instruments.refused.files import no_file
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.frozen import dataclass

# `NAME=SIZES:DTYPE:LIMIT`, of which only the sizes must stand.
_SHAPE = re.compile(r"(?:(?P<name>[^=]+)=)?(?P<sizes>[^:]*)(?::(?P<dtype>[^:]*))?(?::(?P<limit>[^:]*))?")
_DTYPES = (
    "float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool",
)  # fmt: skip
_WHOLE_BELOW = 2
_EXAMPLE = (
    "write a shape such as 1,3,224,224 or input_ids=1,128:int64:30522: the batch first, whole numbers below the last"
)
BATCH = "batch"


@dataclass(frozen=True)
class InputShape:
    """The shape of one input, its first size the batch: a number, or "batch" where it follows what is timed.

    `name` is "" for a lone input, `dtype` "" where the model says it, or float32. Whole numbers are drawn from 0 up to
    `below`, which is not among them.
    """

    name: str
    sizes: tuple[int | str, ...]
    dtype: str = ""
    below: int = _WHOLE_BELOW


def parse_shape(text: str) -> InputShape:
    """Read `NAME=SIZES:DTYPE:LIMIT`, such as `input_ids=1,128:int64:30522`; RecipeError X673 for anything else."""
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise _unreadable(f"`{text}` is no shape")
    written = match["sizes"].strip("()[] ").removesuffix(",")
    sizes = [part.strip() for part in written.replace("x", ",").split(",")] if written else []
    read = tuple(BATCH if place == 0 and size == BATCH else _size(text, size) for place, size in enumerate(sizes))
    if not read:
        raise _unreadable(f"`{text}` holds no sizes")
    dtype = (match["dtype"] or "").strip()
    if dtype and dtype not in _DTYPES:
        raise _unreadable(f"`{text}`: there is no dtype {dtype}; there are {', '.join(_DTYPES)}")
    limit = match["limit"]
    below = _WHOLE_BELOW if limit is None else _size(text, limit.strip())
    return InputShape((match["name"] or "").strip(), read, dtype, below)


def _size(text: str, written: str) -> int:
    if not written.isascii() or not written.isdigit() or int(written) < 1 or len(written) > 12:
        raise _unreadable(f"`{text}`: `{written}` is no whole number above 0")
    return int(written)


def _unreadable(message: str) -> RecipeError:
    return RecipeError(Diagnostic("X673", message, help=_EXAMPLE))


def given_shapes(shape: Any, dtype: str | Mapping[str, str]) -> tuple[InputShape, ...]:
    """Return shapes as Python gives them: sizes of one input, the batch first, or by name; RecipeError X673 else."""
    named = dict(shape) if isinstance(shape, Mapping) else {"": shape}
    shapes = []
    for name, sizes in named.items():
        kind = dtype.get(name, "") if isinstance(dtype, Mapping) else dtype
        text = f"{name}={sizes}" if name else str(sizes)
        if not isinstance(sizes, Sequence) or isinstance(sizes, str) or not sizes:
            raise _unreadable(f"`{text}` is no shape")
        if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes[1:]):
            raise _unreadable(f"`{text}`: sizes are whole numbers above 0")
        if kind and kind not in _DTYPES:
            raise _unreadable(f"`{text}`: there is no dtype {kind}; there are {', '.join(_DTYPES)}")
        first = sizes[0] if sizes[0] == BATCH else _size(text, str(sizes[0]))
        shapes.append(InputShape(str(name), (first, *sizes[1:]), kind))
    return tuple(shapes)


Maker = Callable[[int], RunInputs]


def merged(shapes: Sequence[InputShape], specs: Sequence[Spec]) -> tuple[InputShape, ...]:
    """Return the shape of every input: what a model says of its inputs, filled and replaced by what is given.

    RecipeError X673 where a size is known of neither, where a shape is of no input, of another rank, or says another
    size than the model itself or another batch than the other shapes.
    """
    _refuse_batches(shapes)
    names = [name for name, _, _ in specs]
    given = {shape.name: shape for shape in shapes}
    if len(given) < len(shapes):
        raise _unreadable("two shapes are of one input: write NAME=SIZES for each")
    if "" in given and len(names) == 1 and len(given) == 1:
        given = {names[0]: given[""]}
    if "" in given and len(specs) != 1 and (specs or len(given) > 1):
        raise _unreadable(f"the model takes {', '.join(names) or 'several inputs'}: write NAME=SIZES for each")
    unknown = [name for name in given if specs and name not in names]
    if unknown:
        raise _unreadable(f"the model has no input {unknown[0]}: it takes {', '.join(names)}")
    if not specs:
        if not given:
            raise _unreadable("nothing says what the model takes: give the shape of its inputs, or data")
        return tuple(given.values())
    return tuple(_filled(spec, given.get(spec[0])) for spec in specs)


def _refuse_batches(shapes: Sequence[InputShape]) -> None:
    """Refuse shapes of which one has another batch than the next."""
    sized = [shape for shape in shapes if shape.sizes and shape.sizes[0] != BATCH]
    for shape in sized[1:]:
        if shape.sizes[0] != sized[0].sizes[0]:
            first, other = (f"{each.name or 'the input'} {_words(each.sizes)}" for each in (sized[0], shape))
            raise _unreadable(f"{first} and {other} have batches of other sizes: a run has one")


def _filled(spec: Spec, given: InputShape | None) -> InputShape:
    name, sizes, dtype = spec
    if given is not None:
        if len(given.sizes) != len(sizes):
            words = f"{len(given.sizes)} sizes are given for {name} {_words(sizes)}"
            raise _unreadable(f"{words}: the batch is the first of them")
        if any(isinstance(own, int) and own != size for own, size in list(zip(sizes, given.sizes, strict=True))[1:]):
            raise _unreadable(f"{_words(given.sizes)} is given for {name}, and the model takes {_words(sizes)}")
        return InputShape(name, given.sizes, given.dtype or dtype, given.below)
    free = [size for size in sizes[1:] if isinstance(size, str)]
    if free:
        raise _unreadable(f"the input {name} {_words(sizes)} leaves {', '.join(free)} open: say how large it is")
    if dtype not in _DTYPES:
        raise _unreadable(f"the input {name} is of {dtype}, and no such values are drawn: give data")
    return InputShape(name, (BATCH, *sizes[1:]) if sizes else (), dtype)


def _words(sizes: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, sizes))})"


def drawn(shapes: Sequence[InputShape], seed: int) -> Maker:
    """Return what draws inputs of a batch size, normal or whole numbers; always the same for a seed and a size."""

    def make(batch: int) -> RunInputs:
        import numpy as np

        generator = np.random.default_rng(seed)
        arrays: dict[str, np.ndarray] = {}
        for shape in shapes:
            sizes = (batch, *(int(size) for size in shape.sizes[1:]))
            dtype = np.dtype(shape.dtype or "float32")
            if dtype.kind == "f":
                numbers: Any = generator.standard_normal(sizes)
            else:
                largest = 2 if dtype.kind == "b" else min(shape.below, np.iinfo(dtype).max)
                numbers = generator.integers(0, largest, sizes)
            # One number for a whole batch is the same in each of its rows.
            arrays[shape.name] = (numbers if shape.sizes else np.full_like(numbers, numbers[0])).astype(dtype)
        return tuple(arrays.values()) if "" in arrays else arrays

    return make


def repeated(inputs: RunInputs) -> Maker:
    """Return what takes the first rows of data, which begin anew where there are fewer than a batch.

    RecipeError X673 where there are no rows.
    """
    values = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)
    if any(_rows(value) == 0 for value in values):
        raise _unreadable("the data have no rows")

    def make(batch: int) -> RunInputs:
        import numpy as np

        def cut(value: Any) -> Any:
            rows = _rows(value)
            return value if rows is None or rows == batch else value[np.arange(batch) % rows]

        return (
            {name: cut(value) for name, value in inputs.items()}
            if isinstance(inputs, Mapping)
            else tuple(map(cut, inputs))
        )

    return make


def _rows(value: Any) -> int | None:
    shape = getattr(value, "shape", None)
    return int(shape[0]) if shape is not None and len(shape) else None


def as_inputs(value: Any) -> RunInputs:
    """Return what a call is given as inputs: a mapping by name, a sequence in order, anything else as the only one."""
    if isinstance(value, Mapping):
        return {str(name): item for name, item in value.items()}
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def rows_of(inputs: RunInputs) -> int:
    """Return how many rows the first array has, 1 where there is none."""
    values = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)
    return next((rows for value in values if (rows := _rows(value)) is not None), 1)


def described(inputs: RunInputs) -> tuple[TimedInput, ...]:
    """Say what inputs are, by name or place."""
    named = (
        inputs.items()
        if isinstance(inputs, Mapping)
        else (("input" if len(inputs) == 1 else f"input {place}", item) for place, item in enumerate(inputs))
    )
    return tuple(
        TimedInput(
            str(name),
            tuple(getattr(value, "shape", ())),
            str(getattr(value, "dtype", type(value).__name__)).rpartition(".")[2],
        )
        for name, value in named
    )


def read_arrays(file: Any) -> RunInputs:
    """Read .npz (arrays by name) or .npy (one array), rows first; RecipeError X702 for no file, X673 for another."""
    import numpy as np

    advice = "save arrays with numpy.savez(FILE, name=array), rows first"
    try:
        read = np.load(file, allow_pickle=False)
        arrays: RunInputs = {name: read[name] for name in read.files} if hasattr(read, "files") else (read,)
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, (FileNotFoundError, IsADirectoryError)):
            raise no_file(file) from None
        message = f"{file} cannot be read: it holds no arrays that can be read"
        raise RecipeError(Diagnostic("X673", message, help=advice)) from None
    if not arrays or any(
        as_array(value).ndim == 0 for value in (arrays.values() if isinstance(arrays, dict) else arrays)
    ):
        raise RecipeError(Diagnostic("X673", f"{file} holds no rows", help=advice))
    return arrays
