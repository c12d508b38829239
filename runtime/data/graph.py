"""Run an ONNX graph of transforms: columns of a table in by name, text as text, the model's inputs out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.data.columns import is_text, missing
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, RecipeError, StepError
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import onnxruntime

    from titrant.runtime.values import Fitted

_KEY = "data.transform_from"
# onnxruntime's names of element types that NumPy calls otherwise.
_DTYPES = {"float": "float32", "double": "float64", "string": "object"}
# Sessions by the digest of their graph: opening one takes longer than any row.
_sessions: dict[str, "onnxruntime.InferenceSession"] = {}


@dataclass(frozen=True)
class GraphInput:
    """One input: its name, its dtype as NumPy names it ("object" for text), and how many places a row has."""

    name: str
    dtype: str
    width: int | None
    rank: int


def graph_inputs(data: bytes, name: str) -> tuple[GraphInput, ...]:
    """Return what a graph takes; RecipeError X241 for bytes that onnxruntime does not open, X242 for sequences."""
    return tuple(_input(item, name) for item in opened(data, name).get_inputs())


def graph_outputs(fitted: "Fitted") -> tuple[str, ...]:
    """Return the names of what a graph gives."""
    return tuple(item.name for item in _session(fitted).get_outputs())


def _session(fitted: "Fitted") -> "onnxruntime.InferenceSession":
    digest = str(fitted.params["digest"])
    if digest not in _sessions:
        _sessions[digest] = opened(fitted.arrays["graph"].tobytes(), str(fitted.params["file"]))
    return _sessions[digest]


def _input(item: Any, name: str) -> GraphInput:
    kind = item.type.removeprefix("tensor(").removesuffix(")")
    if kind == item.type:
        message = f"{name} takes an input `{item.name}` of type {item.type}"
        raise RecipeError(Diagnostic("X242", message, help="give each column as an array of numbers or text", key=_KEY))
    width = item.shape[1] if len(item.shape) > 1 and isinstance(item.shape[1], int) else None
    return GraphInput(item.name, _DTYPES.get(kind, kind), width, len(item.shape))


def opened(data: bytes, name: str) -> "onnxruntime.InferenceSession":
    """Open a graph, one thread; RecipeError X241 where onnxruntime refuses it."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = chosen.inter_op_num_threads = 1
    # Spinning threads take the processor from whoever works beside them.
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    chosen.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, chosen, providers=["CPUExecutionProvider"])
    except (
        state.Fail,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        state.InvalidArgument,
        state.RuntimeException,
    ) as error:
        message = f"onnxruntime {onnxruntime.__version__} cannot open {name}: {first_line(error)}"
        advice = "convert the pipeline again, with a `target_opset` that this onnxruntime knows"
        raise RecipeError(Diagnostic("X241", message, help=advice, key=_KEY)) from None


def run_graph(fitted: "Fitted", columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the graph makes of columns (rows, …): model input → (rows, …).

    A column without any value is missing text where the graph takes text. Raises PreconditionError X119 for fractions
    where the graph takes whole numbers, StepError X122 for text in place of numbers or the other way round, X241
    where it fails or gives another number of rows.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    name = str(fitted.params["file"])
    session = _session(fitted)
    asked: Mapping[str, str] = fitted.params["outputs"]
    rows = len(next(iter(columns.values())))
    if not rows:
        return _nothing(session, asked)
    taken: Mapping[str, list[str]] = fitted.params["inputs"]
    for item in session.get_inputs():
        for column in taken[item.name]:
            _check_sort(column, columns[column], takes_text=_input(item, name).dtype == "object")
    feed = {item.name: _fed(_input(item, name), [columns[column] for column in taken[item.name]])
            for item in session.get_inputs()}  # fmt: skip
    try:
        answers = session.run(list(asked.values()), feed)
    except (state.Fail, state.InvalidArgument, state.RuntimeException) as error:
        message = f"the graph {name} cannot transform these rows"
        advice = "give columns as in the training: the same names and types"
        raise StepError(Diagnostic("X241", message, help=advice, said=first_line(error))) from None
    for output, answer in zip(asked.values(), answers, strict=True):
        if not isinstance(answer, np.ndarray) or answer.shape[:1] != (rows,) or answer.dtype.kind not in "biuf":
            message = f"the graph {name} gives `{output}`, which is not one row of numbers for each row of the data"
            raise StepError(Diagnostic("X241", message, help="let it give an array (rows, …) of numbers"))
    return dict(zip(asked, answers, strict=True))


def _nothing(session: "onnxruntime.InferenceSession", asked: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return no rows, of the shapes that the graph notes: not every operator takes none."""
    shapes = {item.name: item.shape[1:] for item in session.get_outputs()}
    return {
        name: np.zeros((0, *(size if isinstance(size, int) else 0 for size in shapes[output])), np.float32)
        for name, output in asked.items()
    }


def _check_sort(name: str, column: np.ndarray, *, takes_text: bool) -> None:
    """Refuse numbers where the graph takes text, and text for numbers (X122); a column without any value is neither."""
    if is_text(column) == takes_text or bool(missing(column).all()):
        return
    was, given = ("text", "numbers") if takes_text else ("numbers", "text")
    advice = "give the texts, with zeros in front where the data have them" if takes_text else "give numbers"
    raise StepError(Diagnostic("X122", f"{name} is {given}, and was {was} where the graph was made", help=advice))


def _fed(item: GraphInput, columns: list[np.ndarray]) -> np.ndarray:
    if len(columns) > 1 or (columns[0].ndim == 1 and item.rank == 2):
        values = np.concatenate([column.reshape(len(column), -1) for column in columns], axis=1)
    else:
        values = columns[0]
    if item.dtype == "object":
        return np.asarray(values if is_text(values) else np.full(values.shape, ""), dtype=object)
    target = np.dtype(item.dtype)
    with np.errstate(invalid="ignore"):
        converted = np.ascontiguousarray(values, dtype=target)
    if target.kind in "iub" and not np.array_equal(converted, values):
        message = f"the graph's input `{item.name}` takes whole numbers ({item.dtype}), and some rows have others"
        raise PreconditionError(Diagnostic("X119", message, help="convert the pipeline with float columns"))
    return converted
