"""Let a live student learn from a live teacher, by the loop that recipes are trained by."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from titrant.api.train import FitResult, answer, live_task, run_task
from titrant.runtime.training.task import TrainingSettings, Watcher

if TYPE_CHECKING:
    import torch

    from titrant.runtime.training.task import Batch


@dataclass(frozen=True)
class TeacherTerms:
    """What a student learns: `weight` is the teacher's share of the loss, the rest is the `loss` of the labels.

    Both models' answers are softened by the temperature where they are compared. `layers` are module name patterns,
    part by part (`blocks.*` is each block), whose answers are imitated too, of torch's attention its map.
    """

    temperature: float = 2.0
    weight: float = 0.5
    layers: tuple[str, ...] = ()
    loss: str = "cross_entropy"


def distill(
    student: "torch.nn.Module",
    teacher: "torch.nn.Module",
    loader: "Iterable[Any]",
    *,
    tuning: "Iterable[Any] | None" = None,
    terms: TeacherTerms | None = None,
    settings: TrainingSettings | None = None,
    watchers: Sequence[Watcher] = (),
) -> FitResult:
    """Train a student in place on a teacher's answers and the labels, and keep what was best on `tuning`.

    The loss is weight · T² · KL(teacher ‖ student, both softened by T) + (1 − weight) · loss of the labels (Hinton et
    al. 2015); tuning batches are judged by their labels alone. Batches are those of `titrant.train.fit`, from which
    both models answer; the teacher is asked about each and put into evaluation mode. Raises ValueError for terms out of
    range, StepError X561 and X562 for layers that cannot be imitated, X563 where both answer in other shapes, and what
    `titrant.train.fit` raises.
    """
    from titrant.runtime.backends.torch.losses import OF_NUMBERS
    from titrant.runtime.distillation.teaching import Terms, following, form_of
    from titrant.runtime.training.task import TaughtInputs

    said = terms or TeacherTerms()
    if not (said.temperature > 0 and 0 <= said.weight <= 1):
        raise ValueError(
            f"the temperature is above 0 and the weight 0 to 1, not {said.temperature:g} and {said.weight:g}"
        )
    task = live_task(student, loader, tuning=tuning, loss=said.loss, settings=settings)
    teacher = teacher.to(next(student.parameters()).device)
    inputs = next((inputs for inputs, _ in task.train()), None)
    if inputs is None:
        return run_task(task, student, watchers)  # which says what is wrong with the loader
    form = form_of(_answered(student, inputs), classes=said.loss not in OF_NUMBERS)
    taught = Terms(form, said.temperature, said.weight, tuple(said.layers))

    def ask(asked: Any) -> "torch.Tensor":
        answered: torch.Tensor = answer(teacher, asked, first=True)
        return answered

    with following(task, teacher, ask, taught, TaughtInputs(inputs, inputs)) as follow:

        def batches() -> "Iterator[Batch]":
            return ((TaughtInputs(each, each), labels) for each, labels in task.train())

        return run_task(replace(follow.task, train=batches), student, watchers)


def _answered(student: "torch.nn.Module", inputs: Any) -> "torch.Tensor":
    """Return what a student answers, as it is, whose form tells what its outputs are."""
    import torch

    mode = student.training
    with torch.no_grad():
        answered: torch.Tensor = answer(student.eval(), inputs, first=True)
    student.train(mode)
    return answered
