"""Capture the attention of whatever is looked at, and refuse what has none."""

from typing import TYPE_CHECKING

from titrant.runtime.instruments.attention.attention_map import AttentionMap
from titrant.runtime.instruments.subject.subject import Subject
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, RecipeError

if TYPE_CHECKING:
    from titrant.runtime.instruments.calls.overhear import Inputs


def attention_of(subject: Subject, inputs: "Inputs") -> tuple[AttentionMap, ...]:
    """Return the attention of each layer on some inputs, in the order in which it is computed.

    Raises RecipeError X682 for a file of weights, StepError X683 where the model cannot answer, X684 where nothing is
    weighed, X685 for attention that cannot be taken apart.
    """
    if not subject.runs:
        message = f"{subject.name} holds weights and no model: it computes no attention"
        raise RecipeError(Diagnostic("X682", message, help="name the model that takes the weights"))
    maps = _captured(subject, inputs)
    if not maps:
        message = (
            f"{subject.name} computes no attention on these inputs: no softmax of a product of two computed tensors"
        )
        advice = "attention without a softmax, as in linear attention, has no weights to capture"
        raise PreconditionError(Diagnostic("X684", message, help=advice))
    return maps


def _captured(subject: Subject, inputs: "Inputs") -> tuple[AttentionMap, ...]:
    if subject.module is not None:
        from titrant.runtime.instruments.attention.of_module import capture

        return capture(subject.module, inputs)
    from titrant.runtime.instruments.attention.of_graph import capture as capture_graph
    from titrant.runtime.instruments.subject.inputs import named_inputs

    assert subject.graph is not None
    return capture_graph(subject.graph, named_inputs(subject, inputs))
