"""Open model files in an engine, run batches of rows through them, and compare their outputs with a model's."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol, Self

import numpy as np

from titrant.runtime.backends import backend
from titrant.runtime.backends.recurrent import StatefulSession, first_step
from titrant.runtime.values import Outputs, Rows
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

# An input: its name, its shape with text where a dimension is free, its dtype as NumPy names it.
Spec = tuple[str, tuple[int | str, ...], str]


class Session(Protocol):
    """A loaded model that answers batches; use as a context manager."""

    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    fixed_batch: int | None  # the batch size that the file insists on; None: any

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one batch: name → (batch, …) in, name → (batch, …) out, as NumPy arrays on the CPU."""

    def close(self) -> None:
        """Free the model."""

    def __enter__(self) -> Self:
        """Return the session itself."""

    def __exit__(self, *_: object) -> None:
        """Free the model."""


def open_session(name: str, model: Any, *, threads: int, device: str = "cpu") -> Session:
    """Load a model in the named engine, ready for batches of any size."""
    return adapted(backend.get(name).open(model, threads=threads, device=device))


def adapted(session: Session) -> Session:
    """Let an engine's own session take batches of any size, states, and inputs that are one number a batch."""
    recurrence = getattr(session, "recurrence", None)
    if recurrence is not None:
        session = StatefulSession(session, recurrence)
    scalars = tuple(item for item, shape, _ in getattr(session, "specs", ()) if not shape)
    if session.fixed_batch is not None:
        session = PiecewiseSession(session, session.fixed_batch)
    return UniformSession(session, scalars) if scalars else session


class UniformSession:
    """Runs a session with inputs that are one number a batch: rows that differ in these are answered apart."""

    fixed_batch: int | None = None

    def __init__(self, session: Session, scalars: tuple[str, ...]) -> None:
        self.input_names: tuple[str, ...] = session.input_names
        self.output_names: tuple[str, ...] = session.output_names
        self._session = session
        self._scalars = scalars

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one batch: name → (batch, …) in, (batch,) for a number a batch; name → (batch, …) out."""
        changes = [np.flatnonzero(inputs[name][1:] != inputs[name][:-1]) + 1 for name in self._scalars]
        cuts = np.unique(np.concatenate(changes))
        if not len(cuts):
            return self._session.run(inputs)
        split = {name: np.split(values, cuts) for name, values in inputs.items()}
        answers = [
            self._session.run({name: parts[place] for name, parts in split.items()}) for place in range(len(cuts) + 1)
        ]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def close(self) -> None:
        """Free the model."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PiecewiseSession:
    """Runs a session of a fixed batch size piece by piece; the last piece is filled up with its own last row.

    What it is asked for is then what it costs: a batch of 8 with a file made for 1 is eight calls.
    """

    fixed_batch: int | None = None

    def __init__(self, session: Session, size: int) -> None:
        self.input_names: tuple[str, ...] = session.input_names
        self.output_names: tuple[str, ...] = session.output_names
        self._session = session
        self._size = size

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one batch: name → (batch, …) in, name → (batch, …) out.

        Raises StepError X403 for an output without a row for each that was given.
        """
        rows = len(next(iter(inputs.values())))
        pieces: dict[str, list[np.ndarray]] = {name: [] for name in self.output_names}
        for start in range(0, rows, self._size):
            chosen = np.minimum(np.arange(start, start + self._size), rows - 1)
            answers = self._session.run({name: values[chosen] for name, values in inputs.items()})
            for name, values in answers.items():
                _check_length(name, values, self._size)
                pieces[name].append(values[: rows - start])
        return {name: np.concatenate(parts) for name, parts in pieces.items()}

    def close(self) -> None:
        """Free the model."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def checked(specs: Sequence[Spec], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays that the model takes, in its order; what it does not take is left out.

    Raises StepError X201 for an input that is missing or has another shape or dtype than the model's. Nothing is
    converted: a conversion here would be repeated for every batch and timed with it.
    """
    return {name: _checked(name, shape, dtype, arrays) for name, shape, dtype in specs}


def failed_advice(engine: str, feed: Mapping[str, np.ndarray]) -> str:
    """Say what helps where an engine failed on a batch, of which only it knows why."""
    advice = f"run the file with such a batch in {engine} alone; where it fails too, export it anew"
    if any(np.issubdtype(array.dtype, np.integer) for array in feed.values()):
        return f"{advice}; tokens beyond the model's vocabulary fail so too (--show-data shows what {engine} says)"
    return advice


def insisted_batch(specs: Sequence[Spec]) -> int | None:
    """Return the batch size that the model insists on, or None where it is free."""
    sizes = {shape[0] for _, shape, _ in specs if shape and isinstance(shape[0], int)}
    return min(sizes) if sizes else None


def described(shape: Sequence[int | str], dtype: str) -> str:
    """Write a shape and dtype as `(batch, 3, 32, 32) float32`."""
    return f"({', '.join(str(size) for size in shape)}{',' if len(shape) == 1 else ''}) {dtype}"


def _checked(name: str, shape: Sequence[int | str], dtype: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in arrays:
        raise StepError(
            Diagnostic(
                "X201",
                f"the model takes an input {name}, and the rows have {', '.join(arrays) or 'none'}",
                help="name the model's inputs in model.inputs as the data's columns are named",
            )
        )
    array = arrays[name]
    if not shape and array.ndim == 1 and len(array) and (array == array[0]).all():
        array = array[:1].reshape(())
    if array.dtype != _numpy_dtype(dtype) or not _fits(array.shape, shape):
        raise StepError(
            Diagnostic(
                "X201",
                f"input {name}: the model takes {described(shape, dtype)}, "
                f"and the rows have {described(array.shape, str(array.dtype))}",
                help=_advice(array, shape, dtype),
            )
        )
    return array


def _advice(array: np.ndarray, shape: Sequence[int | str], dtype: str) -> str:
    if not shape:
        return "it is one number for a whole batch: write it as `value` of this input in model.inputs"
    if _fits(array.shape, shape):
        return f"give the input as {dtype}"
    if _fits(array.shape[1:], shape[1:]) and len(array.shape) == len(shape):
        return f"the file was made for batches of {shape[0]}: export it with a free batch size, or ask for that one"
    return "change data.transform or data.inputs, or the arguments of the model"


@cache
def _numpy_dtype(name: str) -> np.dtype[Any]:
    """Return a dtype by its name: names are slow to compare for every batch. No array has that of an unknown one."""
    try:
        return np.dtype(name)
    except TypeError:
        return np.dtype("V7")


def _fits(actual: Sequence[int], expected: Sequence[int | str]) -> bool:
    if len(actual) != len(expected):
        return False
    # A loop, since a generator would take longer than the rest of what is asked of each input of each batch.
    for size, want in zip(actual, expected, strict=True):  # noqa: SIM110
        if size != want and not isinstance(want, str):
            return False
    return True


def predict_rows(
    model: Any,
    rows: Rows,
    *,
    engine_name: str,
    threads: int,
    batch: int,
    device: str,
    progress: Callable[[float, float, str], None],
    keeping: Callable[[Session, Rows], tuple[Session, Rows]] | None = None,
) -> Outputs:
    """Answer every row; the arrays are float32, (rows, …), in the order of the rows.

    `keeping` wraps the session and adds to the rows what that takes, where not every number of the answers is kept.

    Raises StepError X401 for NaN or infinity in an output, X402 for an input that the rows lack, X403 for an output
    with another number of rows than it was given, X404 when there are no rows.
    """
    check_rows(rows)
    session = open_session(engine_name, model, threads=threads, device=device)
    try:
        if keeping is not None:
            session, rows = keeping(session, rows)
        inputs = {name: taken(rows, name) for name in session.input_names}
        return Outputs(rows.role, answer_rows(session, inputs, len(rows), batch, progress))
    finally:
        session.close()


def check_rows(rows: Rows) -> None:
    """Raise StepError X404 when there are no rows."""
    if len(rows) == 0:
        raise StepError(
            Diagnostic("X404", f"the role {rows.role} has no rows to answer", help="give it a share in data.split")
        )


def answer_rows(
    session: Session,
    inputs: Mapping[str, np.ndarray],
    count: int,
    batch: int,
    progress: Callable[[float, float, str], None] | None = None,
) -> dict[str, np.ndarray]:
    """Answer `count` rows, `batch` at once: name → (rows, …) float32. Judged and released models answer alike here.

    Raises StepError X401 and X403 as `predict_rows` does.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in session.output_names}
    for start in range(0, count, batch):
        piece = {name: values[start : start + batch] for name, values in inputs.items()}
        given = min(batch, count - start)
        for name, values in session.run(piece).items():
            parts[name].append(_whole(name, values, given, getattr(session, "precision", np.float32)))
        if progress is not None:
            progress(start + given, count, "")
    arrays = {name: np.concatenate(pieces) for name, pieces in parts.items()}
    for name, values in arrays.items():
        _finite(name, values)
    return arrays


def taken(rows: Rows, name: str) -> np.ndarray:
    """Return the rows' array for a model input; StepError X402, naming what there is, when there is none."""
    if name not in rows.inputs:
        there = ", ".join(rows.inputs)
        raise StepError(
            Diagnostic("X402", f"the model takes the input '{name}', and the data has: {there}",
                       help="name the model's inputs in data.inputs or model.inputs")
        )  # fmt: skip
    return rows.inputs[name]


def first_batch(session: Session, rows: Rows, size: int) -> dict[str, np.ndarray]:
    """Take the first rows, repeated when there are fewer than a batch; of recurrent models one step of each."""
    chosen = np.arange(size) % max(len(rows), 1)
    return first_step(session, {name: taken(rows, name)[chosen] for name in session.input_names})


def _whole(name: str, values: np.ndarray, given: int, precision: type[np.floating[Any]]) -> np.ndarray:
    _check_length(name, values, given)
    return values.astype(precision, copy=False)


def _check_length(name: str, values: np.ndarray, given: int) -> None:
    if values.ndim == 0 or len(values) != given:
        raise StepError(
            Diagnostic("X403", f"the output '{name}' has shape {values.shape} for {given} rows",
                       help="every output needs the batch as its first dimension")
        )  # fmt: skip


def _finite(name: str, values: np.ndarray) -> None:
    wrong = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if wrong.any():
        raise StepError(
            Diagnostic("X401", f"the output '{name}' is NaN or infinite for {int(wrong.sum())} of {len(values)} rows",
                       help="look at its weights (`titrant inspect --health` names those that are no numbers) and at "
                       "where it overflows: its scaling, or a wider number format")
        )  # fmt: skip


def measure_parity(reference: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the largest absolute difference of any output, and the largest relative to that output's largest answer.

    `answers` may name its outputs otherwise, but has them in the same order. Where some are NaN or infinite, it also
    counts how many of each are, as `not_finite`. Raises StepError X208 where shapes differ.
    """
    absolute = relative = 0.0
    rows = numbers = 0
    lost = [0, 0]
    for (name, expected), (_, given) in zip(reference.items(), answers.items(), strict=True):
        if expected.shape != given.shape:
            raise StepError(
                Diagnostic(
                    "X208",
                    f"output {name} is {given.shape} in the file and {expected.shape} in the model",
                    help="the forward depends on the batch size: write it so that any batch works",
                )
            )
        rows = len(expected)
        wide, other = expected.astype(np.float64), given.astype(np.float64)
        numbers += wide.size
        lost = [count + int((~np.isfinite(array)).sum()) for count, array in zip(lost, (wide, other), strict=True)]
        difference = float(np.max(np.abs(wide - other), initial=0.0))
        scale = float(np.max(np.abs(wide), initial=0.0)) or 1.0
        absolute, relative = worse(absolute, difference), worse(relative, difference / scale)
    parity = {"rows": rows, "absolute": absolute, "relative": relative}
    return parity | (
        {"not_finite": {"numbers": numbers, "reference": lost[0], "answers": lost[1]}} if any(lost) else {}
    )


def check_parity(
    parity: Mapping[str, Any], tolerance: float, what: str, broken: Callable[[], Sequence[str]] = tuple
) -> dict[str, Any]:
    """Add the tolerance; raise StepError X208 when the relative difference is beyond it or not a number.

    `broken` names the weights of the model that are not finite; it is asked where answers are not.
    """
    if not parity["relative"] <= tolerance:
        lost = parity.get("not_finite")
        raise StepError(_apart(parity, tolerance, what) if lost is None else _lost(lost, what, broken()))
    return {**parity, "tolerance": tolerance}


def _apart(parity: Mapping[str, Any], tolerance: float, what: str) -> Diagnostic:
    return Diagnostic(
        "X208",
        f"the {what} file does not answer as the model does: relative difference {parity['relative']:.3g}, "
        f"and {tolerance:.3g} is allowed",
        help="the forward may depend on the batch size or on random numbers; try the file with one row",
    )


def _lost(lost: Mapping[str, int], what: str, broken: Sequence[str]) -> Diagnostic:
    """Say who answers NaN or infinity, and which weights are to blame."""
    if lost["reference"]:
        count = f"{lost['reference']} of the {lost['numbers']} numbers that the model itself answers"
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        cause = f": {broken[0]}{more} {'are' if more else 'is'} not finite" if broken else ""
        help = "take weights that trained well" if broken else "look at what its inputs hold, and at where it overflows"
        message = f"{count} are NaN or infinite, so that the {what} file cannot be held against it{cause}"
        return Diagnostic("X208", message, help=help)
    count = f"{lost['answers']} of the {lost['numbers']} numbers that the {what} file answers"
    help = "an operation leaves the range of its number format in the file: use bf16 instead of fp16, or fp32"
    return Diagnostic("X208", f"{count} are NaN or infinite, and none that the model does", help=help)


def worse(first: float, second: float) -> float:
    """Return the larger of two differences, NaN where one is NaN."""
    # max() would drop a NaN that comes second.
    return second if second > first or math.isnan(second) else first
