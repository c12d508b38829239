"""Pick example rows that a module takes."""

import numpy as np

from titrant.runtime.engines.inputs import Spec, checked, fixed_batch
from titrant.runtime.values import Rows, TorchModel
from titrant.schema.diagnostics import Diagnostic, StepError


def example_arrays(model: TorchModel, rows: Rows, count: int) -> dict[str, np.ndarray]:
    """Return the first `count` rows in the order of the model's inputs, beginning anew where there are fewer.

    A model with a fixed batch size gets that many. Raises StepError X201 when rows and model do not fit together and
    X202 when there are no rows.
    """
    if len(rows) == 0:
        raise StepError(
            Diagnostic("X202", f"there are no {rows.role} rows to try the model on", help="give the role rows")
        )
    wanted = fixed_batch(model.inputs) or count
    indices = np.arange(wanted) % len(rows)
    arrays = {name: array[indices] for name, array in rows.inputs.items()}
    return checked(model.inputs, arrays)


def zeros(specs: tuple[Spec, ...], batch: int = 2) -> tuple[np.ndarray, ...]:
    """Return inputs of zeros; every free dimension but the first is given as many as there are rows."""
    return tuple(
        np.zeros([size if isinstance(size, int) else batch for size in shape], dtype=dtype) for _, shape, dtype in specs
    )
