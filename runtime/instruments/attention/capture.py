"""Capture the attention of whatever is looked at, and refuse what has none."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from titrant.runtime.instruments.subject.subject import InspectedModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, RecipeError
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.instruments.calls.overhear import ForwardInputs


@dataclass(frozen=True)
class AttentionMap:
    """`weights` (batch, heads, queries, keys), float32, each row a distribution over keys, or zeros.

    `fused` says that the layer itself kept none, and that they were computed from its queries and keys.
    """

    layer: str
    weights: "np.ndarray"
    fused: bool

    @property
    def rows(self) -> int:
        """How many rows were answered."""
        return len(self.weights)


def attention_of(subject: InspectedModel, inputs: "ForwardInputs") -> tuple[AttentionMap, ...]:
    """Return the attention of each layer on some inputs, in the order in which it is computed.

    Raises RecipeError X682 for a file of weights, StepError X683 where the model cannot answer, X684 where nothing is
    weighed, X685 for attention that cannot be taken apart.
    """
    if not subject.runs:
        message = f"{subject.name} holds weights and no model: it computes no attention"
        raise RecipeError(Diagnostic("X682", message, help="name the model that takes the weights"))
    maps = tuple(AttentionMap(*captured) for captured in _captured(subject, inputs))
    # A network without attention is no mistake of the model's: in a run the step is noted as having seen nothing, and
    # all else goes on. Whoever asked for it by name is told what was looked for.
    if not maps:
        message = (
            f"{subject.name} computes no attention on these inputs: no softmax of a product of two computed tensors"
        )
        advice = "attention without a softmax, as in linear attention, has no weights to capture"
        raise PreconditionError(Diagnostic("X684", message, help=advice))
    return maps


def _captured(subject: InspectedModel, inputs: "ForwardInputs") -> "Iterable[tuple[str, np.ndarray, bool]]":
    """Yield (layer, weights, whether they were fused)."""
    if subject.module is not None:
        from titrant.runtime.instruments.attention.of_module import capture

        return capture(subject.module, inputs)
    from titrant.runtime.instruments.attention.of_graph import capture as capture_graph
    from titrant.runtime.instruments.subject.inputs import named_inputs

    assert subject.graph is not None
    return capture_graph(subject.graph, named_inputs(subject, inputs))
