"""The classification sets that come inside scikit-learn."""

import numpy as np

from titrant.runtime.values import Table
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.nearest import nearest

SETS = ("breast_cancer", "digits", "iris", "wine")


def read_bundled(name: str) -> Table:
    """Load a set: one column a feature under its scikit-learn name, and `target` with its class names.

    `digits` has the 64 pixels as `pixel_0_0` … `pixel_7_7` (0..16) and, for whoever names it, `image` (rows, 1, 8, 8)
    float32 in 0..1. Raises RecipeError X105 for another name.
    """
    if name not in SETS:
        near = nearest(name, SETS)
        help = f"did you mean {near}?" if near else f"one of {', '.join(SETS)}"
        raise RecipeError(Diagnostic("X105", f"scikit-learn brings no classification set {name}", help=help))
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    columns = {
        str(feature): np.ascontiguousarray(found.data[:, place]) for place, feature in enumerate(found.feature_names)
    }
    columns["target"] = found.target.astype(np.int64)
    if name == "digits":
        columns["image"] = (found.images[:, None] / 16).astype(np.float32)
    return Table(columns, {str(value): str(text) for value, text in enumerate(found.target_names)})


def hidden(name: str | None) -> tuple[str, ...]:
    """Columns that are loaded only for whoever names them, because they repeat others."""
    return ("image",) if name == "digits" else ()
