"""Let a training follow a teacher: its softened answers, and those of its layers, beside the loss of the labels.

Hinton et al. 2015: weight · T² · KL(teacher / T ‖ student / T) + (1 − weight) · loss. What layers differ by is added to
the teacher's part, as the mean over the layers that are imitated.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from titrant.runtime.backends.torch.determinism import plain_attention
from titrant.runtime.distillation.layers import LayerAnswers, LayerPair, distance, pairs, projection, watched
from titrant.runtime.training.task import Inputs, TaughtInputs, TrainingTask
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.frozen import dataclass

# What outputs are: a score for each class, one logit a case, or plain values.
AnswerForm = Literal["classes", "one_logit", "values"]
# Of a teacher's answers, those of its layers included, that are kept for all train rows.
CACHE_BYTES = 512 << 20


@dataclass(frozen=True)
class Terms:
    """How the teacher's part is made: `weight` is its share of the loss, `layers` name modules that are imitated."""

    form: AnswerForm
    temperature: float = 2.0
    weight: float = 0.5
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """What a teacher answers a batch: its first output, and its layers' answers in the order of the pairs."""

    output: torch.Tensor
    layers: tuple[torch.Tensor, ...] = ()


# From what was `asked` to the teacher's first output.
AskTeacher = Callable[[Any], torch.Tensor]


def form_of(output: torch.Tensor, *, classes: bool) -> AnswerForm:
    """Say what an output (cases, …) is: of a task with classes scores, or one logit a case."""
    if not classes:
        return "values"
    return "one_logit" if output.numel() == len(output) else "classes"


def imitation(form: AnswerForm, temperature: float, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return how far a student's outputs are from the teacher's, a mean over cases.

    Of classes T² times the Kullback-Leibler divergence of both at temperature T, of one logit that of the two classes
    it stands for, of values the mean squared difference.
    """
    if form == "values":
        return functional.mse_loss(student, teacher)
    own, other = (_logits(form, output) / temperature for output in (student, teacher))
    divergence = functional.kl_div(
        functional.log_softmax(own, 1), functional.log_softmax(other, 1), reduction="batchmean", log_target=True
    )
    return divergence * temperature**2


def _logits(form: AnswerForm, output: torch.Tensor) -> torch.Tensor:
    if form == "classes":
        return output
    logit = output.reshape(-1, 1)
    return torch.cat([logit, torch.zeros_like(logit)], 1)


class Beside(nn.Module):
    """A student and the projections that are trained with it."""

    def __init__(self, student: nn.Module, projections: Iterable[nn.Module]) -> None:
        super().__init__()
        self.student = student
        self.projections = nn.ModuleList(projections)

    def forward(self, *given: Any, **named: Any) -> Any:
        """Answer as the student does."""
        return self.student(*given, **named)


class Following:
    """A student that follows a teacher: its `task`, and `teach`, which answers what was asked as the teacher does."""

    def __init__(self, task: TrainingTask, terms: Terms, names: Sequence[str], seen: LayerAnswers) -> None:
        self._labels, self._terms, self._names, self._seen = task, terms, names, seen
        self._projections: list[nn.Module] = []
        self.task = task
        self.teach: Callable[[Any], Lesson]

    def begin(self, paired: Sequence[LayerPair], example: TaughtInputs) -> None:
        """Compare both answers to two rows, and make what brings those of layers to one shape."""
        module = self._labels.module
        mode = module.training
        with torch.no_grad(), plain_attention():
            output = self._call(module.eval(), example)
            own = tuple(_seen(self._seen, pair.student, "student") for pair in paired)
        module.train(mode)
        lesson = self.teach(example.asked)
        check_outputs(output, lesson.output)
        self._projections = [projection(*each) for each in zip(paired, own, lesson.layers, strict=True)]
        if any(True for project in self._projections for _ in project.parameters()):
            module = Beside(module, self._projections)
        self.task = replace(self._labels, module=module, objective=self._objective, call=self._call)

    def _call(self, module: nn.Module, inputs: Inputs) -> torch.Tensor:
        self._seen.clear()
        return self._labels.call(module, inputs.inputs if isinstance(inputs, TaughtInputs) else inputs)

    def _objective(self, output: torch.Tensor, labels: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """Return the whole loss of a batch that the teacher is asked about, and that of the labels of any other."""
        if not isinstance(inputs, TaughtInputs):
            return self._labels.objective(output, labels, inputs)
        weight, lesson = self._terms.weight, self.teach(inputs.asked)
        taught = imitation(self._terms.form, self._terms.temperature, output.float(), lesson.output)
        own = [self._seen[name] for name in self._names]
        self._seen.clear()  # or they would be held until the next batch
        if own:
            compared = zip(self._projections, own, lesson.layers, strict=True)
            taught = taught + torch.stack([distance(project(mine), other) for project, mine, other in compared]).mean()
        if weight == 1:
            return taught
        return weight * taught + (1 - weight) * self._labels.objective(output, labels, inputs.inputs)


@contextmanager
def following(
    task: TrainingTask, teacher: nn.Module, ask: AskTeacher, terms: Terms, example: TaughtInputs
) -> Iterator[Following]:
    """Give a student that follows a teacher, as long as it is entered; `ask` answers with the teacher's first output.

    The task's `train` is to give `TaughtInputs`; of others, such as tuning rows, the loss is that of the labels. Where
    projections are trained beside, its module holds the student. `example` are two rows. Raises StepError X561 and X562
    for layers that cannot be imitated, X563 where both answer in other shapes.
    """
    paired = pairs(task.module, teacher, terms.layers)
    with ExitStack() as entered:
        others = entered.enter_context(watched(teacher, tuple(dict.fromkeys(pair.teacher for pair in paired))))
        own = entered.enter_context(watched(task.module, tuple(pair.student for pair in paired)))
        follow = Following(task, terms, tuple(pair.student for pair in paired), own)

        def teach(asked: Any) -> Lesson:
            others.clear()
            with torch.no_grad(), plain_attention():
                output = ask(asked).float()
            return Lesson(output, tuple(_seen(others, pair.teacher, "teacher") for pair in paired))

        follow.teach = teach
        teacher.eval()
        follow.begin(paired, example)
        yield follow


def kept(teach: Callable[[Any], Lesson], rows: int, batch: int) -> Callable[[Any], Lesson]:
    """Ask a teacher once about all rows, which go by number; where its answers take too much, asked each time."""
    parts = [teach(torch.arange(min(batch, rows)))]
    size = sum(part.nbytes for part in (parts[0].output, *parts[0].layers)) / min(batch, rows)
    if size * rows > CACHE_BYTES:
        return teach
    parts += [teach(torch.arange(start, min(start + batch, rows))) for start in range(batch, rows, batch)]
    output = torch.cat([part.output for part in parts])
    layers = tuple(torch.cat(each) for each in zip(*(part.layers for part in parts), strict=True))
    return lambda places: Lesson(output[places], tuple(layer[places] for layer in layers))


def judged(task: TrainingTask) -> tuple[float, float]:
    """Return a task's loss and accuracy on its tuning rows, as its module is; 0 for an accuracy that nobody counts."""
    total, right, rows = 0.0, 0, 0
    mode = task.module.training
    task.module.eval()
    with torch.no_grad():
        for inputs, labels in () if task.tuning is None else task.tuning():
            output = task.call(task.module, inputs)
            total += float(task.objective(output, labels, inputs)) * len(labels)
            right += 0 if task.right is None else task.right(output, labels)
            rows += len(labels)
    task.module.train(mode)
    return total / max(rows, 1), right / max(rows, 1)


def check_outputs(student: torch.Tensor, teacher: torch.Tensor) -> None:
    """Raise StepError X563 where a student answers in another shape than its teacher; it names both."""
    if student.shape != teacher.shape:
        message = f"the student answers {tuple(student.shape)}, and the teacher {tuple(teacher.shape)}"
        advice = "give the student as many outputs as the teacher has, such as `classes: auto`"
        raise StepError(Diagnostic("X563", message, help=advice))


def _seen(seen: LayerAnswers, name: str, whose: str) -> torch.Tensor:
    if name not in seen:
        message = f"layer {name} of the {whose} is not called when it answers"
        raise StepError(Diagnostic("X562", message, help="name a layer that the forward calls"))
    return seen[name]
