"""What one call of a model is given, as every instrument takes it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

    # Rows first: one tensor or array, several in the order of the forward, or by its names.
    ModelInputs = (
        torch.Tensor | np.ndarray | Sequence[torch.Tensor | np.ndarray] | Mapping[str, torch.Tensor | np.ndarray]
    )
