"""Make what somebody holds in memory, modules, files and arrays, into the values that operators take."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.backends import backend
from titrant.runtime.catalog import ANY_MODEL, Declaration, Port
from titrant.runtime.values import Outputs, Rows, Table, Tables, TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError, TitrantError
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import torch

# Rows that show what a module takes and gives: more than one, so that the batch can be told from a size of 1.
_SHOWN = 2
_LARGEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class OperatorInputs:
    """An operator's inputs as values, by port, and what stood beside them.

    `shown` are rows that a model takes, where some were handed over, and `loaded` the operators that read the files.
    """

    values: Mapping[str, Any]
    shown: Rows | None
    loaded: Mapping[str, tuple[str, ...]]


def live_values(declaration: Declaration, inputs: Mapping[str, Any], rows: Any, folder: Path) -> OperatorInputs:
    """Return an operator's inputs with live ones made into values; every other value stays as it is.

    A `torch.nn.Module` becomes a TorchModel, whose inputs are those of the call's rows, or of the arrays that stand
    beside it as `(module, {"x": array})`. The path of a model's file, an ONNX model, a torch.export program and a
    TorchScript module become a model, loaded into `folder`. Arrays or tensors by name become Rows, with labels as
    `(arrays, labels)`, labels (rows,) of class indices; answers, where these are due, or tables. `rows` are for the one
    port of rows that is needed and not given. None is nothing that was handed over. Raises RecipeError X232 for a
    module whose inputs nobody shows, arrays of different lengths, and one without a name.
    """
    given = {port: value for port, value in inputs.items() if value is not None}
    shown = None if rows is None else live_rows("rows", rows)
    served = {} if shown is None else _served(declaration, given, shown)
    given |= served
    values: dict[str, Any] = {}
    for port, value in given.items():
        asked = declaration.inputs.get(port, Port(()))
        if asked.kinds == ("rows",) or ("rows" in asked.kinds and isinstance(value, (Mapping, tuple))):
            values[port] = _rows(declaration, port, value)
        elif asked.kinds == ("outputs",) and isinstance(value, Mapping) and not asked.many:
            values[port] = Outputs(port, _arrays(port, value))
        elif asked.kinds == ("tables",) and isinstance(value, Mapping):
            values[port] = Tables({"source": Table({name: np.asarray(array) for name, array in value.items()})})
    shown = next((value for value in values.values() if isinstance(value, Rows)), shown)
    loaded: dict[str, tuple[str, ...]] = {}
    for port, value in given.items():
        if port in values:
            continue
        asked = declaration.inputs.get(port, Port(()))
        if asked.many and isinstance(value, Mapping):
            made = {name: _model(declaration, f"{port} {name}", item, shown, folder) for name, item in value.items()}
            values[port] = {name: item for name, (item, _) in made.items()}
            by = tuple(dict.fromkeys(operator for _, operator in made.values() if operator))
        else:
            values[port], operator = _model(declaration, port, value, shown, folder)
            by = (operator,) if operator else ()
        loaded |= {port: by} if by else {}
    if rows is not None and not served and not any(getattr(value, "kind", "") for value in values.values()):
        message = f"{declaration.name} takes no rows, and there is no model whose inputs they would show"
        raise RecipeError(Diagnostic("X232", message, help="leave `rows` out"))
    example = next((live_rows(port, value[1]) for port, value in given.items() if _has_example(value)), shown)
    return OperatorInputs(values, example, loaded)


def _rows(declaration: Declaration, port: str, value: Any) -> Rows:
    if isinstance(value, (Rows, Mapping)) or _is_labelled(value):
        return live_rows(port, value)
    message = f"{declaration.name}: {port} is a {type(value).__name__}, and nothing names the input that it is"
    raise RecipeError(Diagnostic("X232", message, help=_named(value, f'{{"{port}": {{"x": …}}}}')))


def _named(value: Any, form: str) -> str:
    """Return how to hand over what nothing names: an array, or one of all that a loader would give bit by bit."""
    whole = "array" if hasattr(value, "shape") else "np.concatenate(list(…))"
    return f"name it{', all rows at once' if whole != 'array' else ''}: {form.replace('…', whole)}"


def _served(declaration: Declaration, given: Mapping[str, Any], rows: Rows) -> dict[str, Rows]:
    """Return the rows by the port that they are for: the one that is needed, or else that may be given.

    RecipeError X232 where they are for several, and must be told apart.
    """
    free = {
        name: port
        for name, port in declaration.inputs.items()
        if "rows" in port.kinds and port.when is None and name not in given
    }
    due = [name for name, port in free.items() if not port.optional] or list(free)
    if len(due) > 1:
        message = f"{declaration.name}: the rows could be {' or '.join(due)}, which are not the same rows"
        handed = ", ".join(f'"{name}": …' for name in due)
        raise RecipeError(Diagnostic("X232", message, help=f"give each of them by name: {{{handed}}}"))
    return dict.fromkeys(due, rows)


def _model(declaration: Declaration, port: str, value: Any, shown: Rows | None, folder: Path) -> tuple[Any, str]:
    """Return a live model or a file as a value, and the operator that loaded it; anything else is its own value."""
    from titrant.api.live.files import file_model, is_graph, written_graph

    place = f"{declaration.name}: {port}"
    held, example = value if _has_example(value) else (value, None)
    arrays = _arrays(place, example) if example is not None else None if shown is None else shown.inputs
    if isinstance(held, (str, Path)) and _takes_model(declaration, port):
        return file_model(place, Path(held), arrays, folder / f"{port}.load")
    if is_graph(held):
        file = written_graph(held, folder / f"{port}.given")
        return file_model(place, file, arrays, folder / f"{port}.load")
    if not _is_module(held):
        return value, ""
    if arrays is None:
        due = next((name for name, asked in declaration.inputs.items() if "rows" in asked.kinds), None)
        beside = f'{{"{port}": (module, {{"x": array}})}}'
        handed = beside if due is None else f'{{"{port}": module, "{due}": {{"x": array}}}}'
        message = f"{declaration.name}: nothing shows what the module of {port} takes"
        raise RecipeError(Diagnostic("X232", message, help=f"hand over inputs of a few rows beside it: {handed}"))
    consumed = port in declaration.consumes
    return live_model(copied(place, held) if consumed else held, arrays), ""


def _takes_model(declaration: Declaration, port: str) -> bool:
    asked = declaration.inputs.get(port.partition(" ")[0], Port(()))
    return any(kind == ANY_MODEL or kind in backend.kinds() for kind in asked.kinds)


def live_rows(role: str, value: Any) -> Rows:
    """Return Rows of arrays by name, and of labels where they are given; each row is a case by itself.

    Whole numbers are classes, fractions the numbers that a regression is to give. Raises RecipeError X232 for labels
    that are neither, or not as many as the rows.
    """
    if isinstance(value, Rows):
        return value
    arrays, labels = value if _is_labelled(value) else (value, None)
    inputs = _arrays(role, arrays)
    count = len(next(iter(inputs.values()), ()))
    places = np.arange(count)
    if labels is None:
        return Rows(role, inputs, None, places, places.astype(np.uint64))
    given = plain_array(f"{role}: the labels", labels)
    held = len(given) if given.ndim else 0
    if held == count and given.dtype.kind == "f":
        return Rows(role, inputs, None, places, places.astype(np.uint64), targets=given.astype(np.float64))
    if held != count or given.dtype.kind not in "iub":
        message = f"{role}: {held} labels of {given.dtype} for {count} rows"
        raise RecipeError(Diagnostic("X232", message, help="give one class index, a whole number, for each row"))
    if given.min(initial=0) < 0:
        message = f"{role}: a label is {given.min()}, and classes are counted from 0"
        raise RecipeError(Diagnostic("X232", message, help="leave rows out that have no class"))
    classes = tuple(str(index) for index in range(int(given.max(initial=-1)) + 1))
    return Rows(role, inputs, given.astype(np.int64), places, places.astype(np.uint64), classes)


def live_model(module: "torch.nn.Module", example: Mapping[str, np.ndarray]) -> TorchModel:
    """Return a module as operators take it, in eval mode on the CPU, with the inputs of `example`, name → (rows, …).

    It is asked once for its outputs: their names where it answers a mapping, else `output`, or `output_0` and so on. A
    module in training mode, or on another device, is copied, and stays as it is. Raises RecipeError X675 for one whose
    weights have no values yet, X232 for one that cannot be copied, or that takes only numbers of another type than the
    float32 of rows, StepError X683 for one that does not take `example`, X674 for one that forks.
    """
    import torch

    from titrant.runtime.backends.torch.call import call, raised_by_forward
    from titrant.runtime.backends.torch.determinism import tensor_of
    from titrant.runtime.inspect.torch_forward import named_outputs
    from titrant.runtime.instruments.refused.inputs import refused_inputs
    from titrant.runtime.user_code import call_unforked

    ready, kind = on_cpu(module), type(module)
    with torch.no_grad():
        shown = {name: array[:_SHOWN] for name, array in example.items()}
        try:
            answer = call_unforked(kind.__name__, lambda: call(ready, shown))
        except StepError as error:
            _refuse_other_type(ready, example)
            raise refused_inputs(error) from None
        except (TitrantError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - a forward may raise anything
            raise refused_inputs(raised_by_forward([tensor_of(array) for array in shown.values()], error)) from None
    return TorchModel(
        module=ready,
        factory=f"{kind.__module__}:{kind.__qualname__}",
        args={},
        source_digest="",
        inputs=tuple((name, ("batch", *array.shape[1:]), str(array.dtype)) for name, array in example.items()),
        outputs=tuple(name for name, _ in named_outputs(answer, "")),
    )


def _refuse_other_type(module: "torch.nn.Module", example: Mapping[str, np.ndarray]) -> None:
    """Say that a module's weights are not of the type in which rows are held: RecipeError X232."""
    import torch

    types = {tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()}
    if not types or torch.float32 in types or not any(array.dtype.kind == "f" for array in example.values()):
        return
    kind = str(types.pop()).removeprefix("torch.")
    message = f"the weights of {type(module).__name__} are {kind}, and its rows are handed over as float32"
    advice = "give it in float32, copy.deepcopy(model).float(), or let its forward cast what it is given"
    raise RecipeError(Diagnostic("X232", message, help=advice))


def on_cpu(module: "torch.nn.Module") -> "torch.nn.Module":
    """Return a module in eval mode whose weights are on the CPU: itself where it is so, else a copy.

    Raises RecipeError X675 for weights without values (lazy, or on the meta device), X232 for one that torch cannot
    copy.
    """
    from titrant.runtime.backends.torch.call import refuse_empty

    refuse_empty(module)
    tensors = (*module.parameters(), *module.buffers())
    elsewhere = any(tensor.device.type != "cpu" for tensor in tensors)
    if not elsewhere and not any(part.training for part in module.modules()):
        return module
    return copied(type(module).__name__, module).cpu().eval()


def copied(place: str, module: "torch.nn.Module") -> "torch.nn.Module":
    """Return a copy of a module; RecipeError X232 where what it holds cannot be copied."""
    try:
        return copy.deepcopy(module)
    except (TypeError, RuntimeError, NotImplementedError) as error:
        message = f"{place}: the module cannot be copied: {first_line(error)}"
        advice = "put it into evaluation mode on the CPU, and take out what deepcopy cannot copy, such as an open file"
        raise RecipeError(Diagnostic("X232", message, help=advice)) from None


def _arrays(port: str, given: Any) -> dict[str, np.ndarray]:
    if not isinstance(given, Mapping):
        message = f"{port}: the rows are a {type(given).__name__}, and nothing names the input that it is"
        raise RecipeError(Diagnostic("X232", message, help=_named(given, '{"x": …}')))
    arrays = {str(name): _standard(port, str(name), value) for name, value in given.items()}
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
        advice = "give arrays by the names of the model's inputs, each with as many rows"
        raise RecipeError(Diagnostic("X232", f"{port}: its arrays have other numbers of rows: {listed}", help=advice))
    return arrays


def plain_array(place: str, value: Any) -> np.ndarray:
    """Return an array, a tensor of any device or lists of numbers as an array; RecipeError X232 for what is none."""
    try:
        if hasattr(value, "detach"):
            plain = value.detach().cpu()
            return np.asarray((plain.float() if plain.is_floating_point() else plain).numpy())
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        message = f"{place}: a {type(value).__name__} is no array of numbers: {first_line(error)}"
        raise RecipeError(Diagnostic("X232", message, help="give a dense array, one row a case")) from None
    if isinstance(value, np.ma.MaskedArray) and (hidden := int(np.ma.count_masked(value))):
        message = f"{place}: {hidden:,} of {value.size:,} values are masked"
        raise RecipeError(Diagnostic("X232", message, help="fill them as the model expects: array.filled(…)"))
    return array


def _standard(place: str, name: str, value: Any) -> np.ndarray:
    """Return numbers in a type that inputs have, float32 or int64; RecipeError X232 for those that have no place."""
    array = plain_array(f"{place}: {name}", value)
    if array.dtype.kind not in "fiubc":
        what = f"an array of {array.dtype}" if array.ndim else f"a {type(value).__name__}"
        advice = "make numbers of it, all rows in one array: np.stack(list(…)) of a generator"
        raise RecipeError(Diagnostic("X232", f"{place}: {name} is {what}, and no array of numbers", help=advice))
    if array.dtype.kind == "c" or (array.dtype.kind == "u" and array.max(initial=0) > _LARGEST):
        message = f"{place}: {name} is {array.dtype}, and inputs are float32 or int64"
        raise RecipeError(Diagnostic("X232", message, help="convert it: what an input cannot hold is not cut off"))
    return np.ascontiguousarray(array, dtype=np.float32 if array.dtype.kind == "f" else np.int64)


def _is_labelled(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Mapping)


def _has_example(value: Any) -> bool:
    pair = isinstance(value, tuple) and len(value) == 2
    return pair and (_is_module(value[0]) or isinstance(value[0], (str, Path)))


def _is_module(value: Any) -> bool:
    named, forward = (getattr(value, name, None) for name in ("named_parameters", "forward"))
    return callable(named) and callable(forward) and not isinstance(value, type)
