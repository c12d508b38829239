"""The attention weights of one layer."""

from typing import TYPE_CHECKING

from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class AttentionMap:
    """`weights` (batch, heads, queries, keys), float32, each row a distribution over keys, or zeros.

    `fused` says that the layer itself kept none, and that they were computed from its queries and keys.
    """

    layer: str
    weights: "np.ndarray"
    fused: bool
