"""Run one operator on live values, without a recipe: on a module, a file or arrays that somebody holds in memory."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.api import Listener, declaration_of, silent
from titrant.runtime.backends import backend
from titrant.runtime.catalog import Applied, Declaration, Params
from titrant.runtime.values import Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

if TYPE_CHECKING:
    import torch


def apply(
    operator: str | Callable[..., Mapping[str, Any]],
    inputs: Mapping[str, Any],
    params: Mapping[str, Any] | Params | None = None,
    *,
    seed: int = 42,
    threads: int = 1,
    scratch: Path | None = None,
    listen: Listener = silent,
) -> Applied:
    """Run an operator by name (`quantize.ort_static`, `module:name`) or as the decorated function itself.

    `inputs` is port → value: what another operator gave; a `torch.nn.Module`, by itself where rows stand beside it,
    else as `(module, {"x": array})`; the path of an .onnx file; rows as arrays or tensors by name, `{"x": array}`, or
    with labels `({"x": array}, labels)`. An input that the operator consumes must not be used afterwards. Files that
    outputs refer to are in `scratch`, by default a new temporary folder that is the caller's to delete. Raises
    RecipeError X230 for an unknown operator, X231 for parameters and X232 for inputs that do not fit.
    """
    from titrant.runtime.api import apply as apply_operator

    values = operator_values(declaration_of(operator), inputs)
    return apply_operator(operator, values, params, seed=seed, threads=threads, scratch=scratch, listen=listen)


def operator_values(declaration: Declaration, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operator's inputs with live ones made into values; every other value stays as it is.

    A `torch.nn.Module` becomes a TorchModel, whose inputs are those of the call's rows, or of the arrays that stand
    beside it as `(module, {"x": array})`. The path of a file of the kind that the port takes becomes a model of it.
    Arrays or tensors by name become Rows, with labels as `(arrays, labels)`, labels (rows,) of class indices. Raises
    RecipeError X232 for a module whose inputs nobody shows, arrays of different lengths, and one without a name.
    None is nothing that was handed over.
    """
    values = {port: value for port, value in inputs.items() if value is not None}
    of_rows = [port for port, asked in declaration.inputs.items() if "rows" in asked.kinds]
    for port, value in tuple(values.items()):
        kinds = declaration.inputs[port].kinds if port in declaration.inputs else ()
        if "rows" in kinds and (isinstance(value, Mapping) or _is_labelled(value)):
            values[port] = live_rows(port, value)
        elif kinds == ("rows",) and not isinstance(value, Rows):
            message = f"{declaration.name}: {port} is a {type(value).__name__}, and nothing names the input that it is"
            raise RecipeError(Diagnostic("X232", message, help=f'name it: {{"{port}": {{"x": array}}}}'))
        elif isinstance(value, (str, Path)):
            values[port] = _read_file(Path(value), kinds)
    shown = next((value.inputs for value in values.values() if isinstance(value, Rows)), None)
    for port, value in values.items():
        module, example = value if isinstance(value, tuple) and len(value) == 2 else (value, shown)
        if _is_module(module):
            if example is None:
                message = f"{declaration.name}: nothing shows what the module of {port} takes"
                handed = (
                    f'{{"{port}": module, "{of_rows[0]}": {{"x": array}}}}'
                    if of_rows
                    else f'{{"{port}": (module, {{"x": array}})}}'
                )
                raise RecipeError(
                    Diagnostic("X232", message, help=f"hand over inputs of a few rows beside it: {handed}")
                )
            values[port] = live_model(module, _arrays(port, example))
    return values


def live_rows(role: str, value: Any) -> Rows:
    """Return Rows of arrays by name, and of labels where they are given; each row is a case by itself.

    Whole numbers are classes, fractions the numbers that a regression is to give. Raises RecipeError X232 for labels
    that are neither, or not as many as the rows.
    """
    arrays, labels = value if _is_labelled(value) else (value, None)
    inputs = _arrays(role, arrays)
    count = len(next(iter(inputs.values()), ()))
    places = np.arange(count)
    if labels is None:
        return Rows(role, inputs, None, places, places.astype(np.uint64))
    given = np.asarray(_array(labels))
    if len(given) == count and given.dtype.kind == "f":
        return Rows(role, inputs, None, places, places.astype(np.uint64), targets=given.astype(np.float64))
    if len(given) != count or given.dtype.kind not in "iub":
        message = f"{role}: {len(given)} labels of {given.dtype} for {count} rows"
        raise RecipeError(Diagnostic("X232", message, help="give one class index, a whole number, for each row"))
    classes = tuple(str(index) for index in range(int(given.max(initial=-1)) + 1))
    return Rows(role, inputs, given.astype(np.int64), places, places.astype(np.uint64), classes)


def live_model(module: "torch.nn.Module", example: Mapping[str, np.ndarray]) -> TorchModel:
    """Return a module as operators take it, in eval mode, with the inputs of `example`, name → (rows, …).

    It is asked once for its outputs: their names where it answers a mapping, else `output`, or `output_0` and so on. A
    module in training mode is copied, and stays as it is.
    """
    from titrant.runtime.backends.torch.call import call
    from titrant.runtime.inspect.torch_forward import named_outputs

    ready = copy.deepcopy(module).eval() if module.training else module
    kind = type(module)
    return TorchModel(
        module=ready,
        factory=f"{kind.__module__}:{kind.__qualname__}",
        args={},
        source_digest="",
        inputs=tuple((name, ("batch", *array.shape[1:]), str(array.dtype)) for name, array in example.items()),
        outputs=tuple(name for name, _ in named_outputs(call(ready, example), "")),
    )


def _arrays(port: str, given: Any) -> dict[str, np.ndarray]:
    if not isinstance(given, Mapping):
        message = f"{port}: the rows are a {type(given).__name__}, and nothing names the input that it is"
        raise RecipeError(Diagnostic("X232", message, help='name it: {"x": array}'))
    arrays = {str(name): _standard(_array(value)) for name, value in given.items()}
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
        advice = "give arrays by the names of the model's inputs, each with as many rows"
        raise RecipeError(Diagnostic("X232", f"{port}: its arrays have other numbers of rows: {listed}", help=advice))
    return arrays


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)


def _standard(array: np.ndarray) -> np.ndarray:
    """Return numbers in a type that inputs have: float32 or int64."""
    return np.ascontiguousarray(array, dtype=np.float32 if array.dtype.kind == "f" else np.int64)


def _read_file(path: Path, kinds: tuple[str, ...]) -> Any:
    """Read a file of the one kind that a port takes and that is kept so; any other value is its own."""
    every = backend.kinds()
    fitting = [
        every[kind] for kind in kinds if kind in every and every[kind].file and every[kind].suffix == path.suffix
    ]
    return fitting[0].load(path) if fitting else path


def _is_labelled(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Mapping)


def _is_module(value: Any) -> bool:
    return callable(getattr(value, "named_parameters", None)) and callable(getattr(value, "forward", None))
