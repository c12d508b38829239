"""Look at the health of a model: its weights one at a time, and with rows what its layers answer."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from titrant.runtime.instruments.health.answers import answers_of_graph, answers_of_module
from titrant.runtime.instruments.health.figures import TensorFigures, gains, measure
from titrant.runtime.instruments.health.finding import SEVERITIES, AnswerFigures, HealthFinding, ModelHealth
from titrant.runtime.instruments.health.judge import judge_answers, judge_normalizations, judge_tensors
from titrant.runtime.instruments.subject.inputs import named_inputs, rows_of
from titrant.runtime.instruments.subject.subject import InspectedModel
from titrant.runtime.instruments.weights.layer_tensor import LayerTensor
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

if TYPE_CHECKING:
    from titrant.runtime.instruments.calls.overhear import ForwardInputs


def health_of(subject: InspectedModel, inputs: "ForwardInputs | None" = None) -> ModelHealth:
    """Measure and judge a model's tensors, and with `inputs` what each layer answers.

    Weights are read in blocks of 4 MiB, one tensor at a time: peak memory is one copy of the largest at most. Raises
    RecipeError X682 for inputs to a file without a model, StepError X683 where the model cannot answer them.
    """
    if inputs is not None and not subject.runs:
        message = f"{subject.name} holds weights and no model, which answers nothing"
        raise RecipeError(
            Diagnostic("X682", message, help="leave the rows out, or name the model that takes the weights")
        )
    # Vectors are kept for the normalizations, whose scale, mean and variance are judged together; they are read again
    # then, and are small. Matrices are measured as they come, and let go.
    vectors: list[LayerTensor] = []
    figures = tuple(_measured(subject, vectors))
    findings: list[HealthFinding] = [*judge_tensors(figures), *judge_normalizations(gains(vectors))]
    answers: tuple[AnswerFigures, ...] = ()
    if inputs is not None:
        answers = _answers(subject, inputs)
        findings += judge_answers(answers)
    count = 0 if inputs is None else max(rows_of(inputs), default=0)
    ordered = by_severity(findings)
    notes = () if inputs is None else subject.notes
    return ModelHealth(subject.name, ordered, figures, answers, count, notes)


def _measured(subject: InspectedModel, vectors: list[LayerTensor]) -> Iterator[TensorFigures]:
    for tensor in subject.tensors():
        if tensor.role in ("scale", "mean", "variance"):
            vectors.append(tensor)
        yield measure(tensor)


def _answers(subject: InspectedModel, inputs: "ForwardInputs") -> tuple[AnswerFigures, ...]:
    if subject.module is not None:
        return answers_of_module(subject.module, inputs)
    assert subject.graph is not None
    return answers_of_graph(subject.graph, named_inputs(subject, inputs))


def by_severity(findings: Iterable[HealthFinding]) -> tuple[HealthFinding, ...]:
    """Order findings, the most severe first, else as they came."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
