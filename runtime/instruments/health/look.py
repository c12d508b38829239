"""Look at the health of a model: its weights one at a time, and with rows what its layers answer."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from titrant.runtime.instruments.health.answers import answers_of_graph, answers_of_module, rows_of
from titrant.runtime.instruments.health.figures import TensorFigures, measure
from titrant.runtime.instruments.health.finding import HealthFinding, LayerAnswers, ModelHealth
from titrant.runtime.instruments.health.judge import by_severity, judge_answers, judge_normalizations, judge_tensors
from titrant.runtime.instruments.health.normalization import gains
from titrant.runtime.instruments.subject.inputs import named_inputs
from titrant.runtime.instruments.subject.subject import Subject
from titrant.runtime.instruments.weights.layer_tensor import LayerTensor
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

if TYPE_CHECKING:
    from titrant.runtime.instruments.calls.overhear import Inputs


def health_of(subject: Subject, inputs: "Inputs | None" = None) -> ModelHealth:
    """Measure and judge a model's tensors, and with `inputs` what each layer answers.

    Weights are read in blocks of 4 MiB, one tensor at a time: peak memory is one copy of the largest at most. Raises
    RecipeError X682 for inputs to a file without a model, StepError X683 where the model cannot answer them.
    """
    if inputs is not None and not subject.runs:
        message = f"{subject.name} holds weights and no model, which answers nothing"
        raise RecipeError(
            Diagnostic("X682", message, help="leave the rows out, or name the model that takes the weights")
        )
    vectors: list[LayerTensor] = []
    figures = tuple(_measured(subject, vectors))
    findings: list[HealthFinding] = [*judge_tensors(figures), *judge_normalizations(gains(vectors))]
    answers: tuple[LayerAnswers, ...] = ()
    if inputs is not None:
        answers = _answers(subject, inputs)
        findings += judge_answers(answers)
    count = max(rows_of(inputs), default=0) if inputs is not None else 0
    return ModelHealth(subject.name, by_severity(findings), figures, answers, count)


def _measured(subject: Subject, vectors: list[LayerTensor]) -> Iterator[TensorFigures]:
    for tensor in subject.tensors():
        if tensor.role in ("scale", "mean", "variance"):
            vectors.append(tensor)
        yield measure(tensor)


def _answers(subject: Subject, inputs: "Inputs") -> tuple[LayerAnswers, ...]:
    if subject.module is not None:
        return answers_of_module(subject.module, inputs)
    assert subject.graph is not None
    return answers_of_graph(subject.graph, named_inputs(subject, inputs))
