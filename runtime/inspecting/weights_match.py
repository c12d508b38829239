"""Compare a weights file with the model while planning, so that a plan is not made in vain."""

from pathlib import Path
from typing import TYPE_CHECKING

from titrant.runtime.models.weights import check_match, check_values, read_state

if TYPE_CHECKING:
    import torch

    from titrant.runtime.data.parameters import File

# The compiler gives a large weights file by a digest of its header: then its values are none of inspection's business.
BY_HEADER = "header-"


def compare_weights(weights: "File | str | None", module: "torch.nn.Module") -> tuple[str, ...]:
    """Check names and shapes against the model's, and for a file given by its content also for NaN; returns notes.

    Raises StepError X152 to X155 as model.load does.
    """
    if weights is None or isinstance(weights, str):
        return ()
    name, whole = Path(weights.path).name, not weights.digest.startswith(BY_HEADER)
    state, notes = read_state(weights.path, values=whole)
    notes += check_match(module, state, name)
    if whole:
        check_values(state, name)
        return notes
    return (*notes, f"names and shapes of {name} fit the model; its values are read when it is loaded")
