"""Run a model over rows, in batches and in order."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from titrant.runtime.engines import Session, open_session
from titrant.runtime.values import Outputs, Rows
from titrant.schema.diagnostics import Diagnostic, StepError


def predict_rows(
    model: Any,
    rows: Rows,
    *,
    engine_name: str,
    threads: int,
    batch: int,
    device: str,
    progress: Callable[[float, float, str], None],
) -> Outputs:
    """Answer every row; the arrays are float32, (rows, …), in the order of the rows.

    Raises StepError X401 for NaN or infinity in an output, X402 for an input that the rows lack, X403 for an output
    with another number of rows than it was given, X404 when there are no rows.
    """
    if len(rows) == 0:
        raise StepError(
            Diagnostic("X404", f"the role {rows.role} has no rows to answer", help="give it a share in data.split")
        )
    session = open_session(engine_name, model, threads=threads, device=device)
    try:
        inputs = {name: taken(rows, name) for name in session.input_names}
        return Outputs(rows.role, answer_rows(session, inputs, len(rows), batch, progress))
    finally:
        session.close()


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
            parts[name].append(_whole(name, values, given))
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


def _whole(name: str, values: np.ndarray, given: int) -> np.ndarray:
    if values.ndim == 0 or len(values) != given:
        raise StepError(
            Diagnostic("X403", f"the output '{name}' has shape {values.shape} for {given} rows",
                       help="every output needs the batch as its first dimension")
        )  # fmt: skip
    return values.astype(np.float32, copy=False)


def _finite(name: str, values: np.ndarray) -> None:
    wrong = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if wrong.any():
        raise StepError(
            Diagnostic("X401", f"the output '{name}' is NaN or infinite for {int(wrong.sum())} of {len(values)} rows",
                       help="the model overflows on these inputs: check its scaling, or a wider number format")
        )  # fmt: skip
