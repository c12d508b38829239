"""Train a student to answer as a teacher does, beside what the labels say."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, operator
from titrant.runtime.cost.forward import ASSUMED_ROWS, forward_seconds, speed_of
from titrant.runtime.cost.sizes import torch_bytes
from titrant.runtime.operators.train import fit as train_fit
from titrant.runtime.operators.train.fit import FitParams, Teaching, ready, requires
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from titrant.runtime.training.processes.ranks import Ranks
    from titrant.runtime.training.role_batches import Batches
    from titrant.runtime.training.task import TrainingTask
    from titrant.runtime.values import Rows, TorchModel

# Rows that the teacher is asked about at once.
_ASKED = 256


class DistillParams(FitParams):
    """How the weights are fitted, and what of the teacher they follow."""

    temperature: float = Field(2.0, gt=0, description="softening of both models' answers where they are compared")
    weight: float = Field(0.5, ge=0, le=1, description="share of the teacher in the loss; the rest is the labels'")
    layers: tuple[str, ...] = Field(
        (),
        description="module name patterns, part by part, whose answers are imitated too; of attention its map",
    )


def predict(
    params: DistillParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Model the training, and a pass over the train rows of a teacher that is taken to be as large as the student."""
    made = train_fit.predict(params, hardware, model, work)
    if model is None or made.seconds is None or made.peak_bytes is None:
        return made
    rows = work.rows.get("train", ASSUMED_ROWS)
    asked = rows / _ASKED * forward_seconds(model, speed_of(hardware, work.threads), run_cost("torch", "torch"), _ASKED)
    copied = work.bytes.get("train", 0)
    peak = made.peak_bytes + copied + torch_bytes(model) + _ASKED * (model.activation_bytes or 0)
    return replace(made, seconds=made.seconds + asked, peak_bytes=peak)


@operator(
    "distill.fit",
    version=1,
    family="distill",
    params=DistillParams,
    inputs={"model": "torch", "teacher": "torch", "train": "rows", "tuning": "rows"},
    outputs={"model": "torch", "curves": "value"},
    consumes=["model"],
    requires=requires,
    predict=predict,
    loads=(
        "torch",
        "torch._dynamo",
        "titrant.runtime.backends.torch.losses",
        "titrant.runtime.distillation.teaching",
    ),
    costless=("learning_rate", "weight_decay", "momentum", "loss", "deterministic", "metric", "temperature", "weight"),
    libraries=("torch", "numpy"),
    user_code=True,
)
def distill_fit(
    params: DistillParams, context: Context, *, model: Any, teacher: Any, train: Any, tuning: Any
) -> dict[str, Any]:
    """Fit a student's weights by a teacher's answers to train rows, and keep those of the best epoch on tuning rows.

    The loss is weight · T² · KL(teacher ‖ student, both softened by T) + (1 − weight) · loss of the labels (Hinton et
    al. 2015); a single logit stands for two classes, and outputs that are no classes are compared by their squared
    difference. To the teacher's part comes what the named layers differ by, each case's answers brought to mean 0 and
    variance 1; where widths differ a linear projection is trained beside and thrown away.

    Helps when: the student is smaller than the teacher, was pruned or factorized, or there are few labels. It can also
                lose: better_than_start says whether it did.
    Inputs:     model - the student, with trainable parameters; teacher - any module that answers the same rows in the
                same shape; train, tuning - rows with labels
    Outputs:    model - the student's structure, best weights, eval mode; curves - as of train.fit. The measurements
                start_tuning_loss and start_tuning_accuracy are the student's before, tuning_loss and tuning_accuracy
                those of the best epoch, teacher_tuning_accuracy the teacher's; better_than_start is 1 where what says
                which epoch is best was better than at the start
    Fails:      StepError as train.fit, when student and teacher answer in other shapes (names both), and when a
                pattern names no layers of both, or layers that cannot be compared
    Cost:       as train.fit, and one forward pass of the teacher over the train rows, of several processes in each; in
                each epoch where its answers would take more than 512 MiB
    """
    start: dict[str, float] = {}

    @contextmanager
    def taught(task: "TrainingTask", rows: "Batches") -> "Iterator[TrainingTask]":
        from titrant.runtime.distillation.teaching import judged

        start["loss"], start["accuracy"] = judged(task)
        with _following(task, (model, teacher), (train, rows), params, context) as followed:
            yield followed

    teaching = Teaching(teacher, taught, __name__)
    fitted, curves = train_fit.fit(model, train, tuning, params, context, teaching=teaching)
    best = curves["best_epoch"]
    loss, accuracies = curves["tuning_loss"][best], curves["tuning_accuracy"]
    better = accuracies[best] > start["accuracy"] if params.metric == "tuning accuracy" else loss < start["loss"]
    context.measure("start_tuning_loss", start["loss"])
    context.measure("tuning_loss", loss)
    if accuracies:
        context.measure("start_tuning_accuracy", start["accuracy"])
        context.measure("teacher_tuning_accuracy", _accuracy(teacher, tuning, params))
    context.measure("better_than_start", int(better))
    return {"model": fitted, "curves": curves}


def fit_rank(folder: "Path", options: Mapping[str, Any], ranks: "Ranks") -> None:
    """Fit as one of several ranks the student that lies in a folder, beside its teacher."""
    from titrant.runtime.backends import kinds
    from titrant.runtime.training.processes.fitting import fit_as_rank

    params = DistillParams.model_validate(options["params"], strict=False)
    teacher = kinds.load("torch", folder / "teacher")

    def make_task(given: "tuple[TorchModel, Rows, Rows]", context: Any) -> Any:
        model, train, _ = given

        def taught(task: "TrainingTask", rows: "Batches") -> AbstractContextManager["TrainingTask"]:
            return _following(task, (model, teacher), (train, rows), params, context)

        return ready(params, given, context, taught)

    fit_as_rank(folder, options, ranks, make_task, deterministic=params.deterministic)


@contextmanager
def _following(
    task: "TrainingTask",
    models: "tuple[TorchModel, TorchModel]",
    given: "tuple[Rows, Batches]",
    params: DistillParams,
    context: Context,
) -> "Iterator[TrainingTask]":
    """Give the task of a student, the first of `models`, that follows a teacher on all train rows."""
    import torch

    from titrant.runtime.backends.torch.losses import OF_NUMBERS
    from titrant.runtime.distillation.teaching import Terms, following, form_of, kept
    from titrant.runtime.training.role_batches import batches_of, first_output
    from titrant.runtime.training.task import TaughtInputs

    (student, teacher), (train, rows) = models, given
    asked = batches_of(teacher, train)

    def ask(places: "torch.Tensor") -> "torch.Tensor":
        inputs, _ = asked.take(places)
        return first_output(teacher, asked.arguments.call(teacher.module, inputs))

    def lesson(places: "torch.Tensor") -> "tuple[TaughtInputs, torch.Tensor]":
        inputs, labels = rows.take(places)
        return TaughtInputs(inputs, places), labels

    two = torch.arange(min(2, len(rows.labels)))
    with torch.no_grad():
        output = task.call(student.module.eval(), rows.take(two)[0])
    form = form_of(output, classes=params.loss not in OF_NUMBERS)
    terms = Terms(form, params.temperature, params.weight, params.layers)
    with following(task, teacher.module, ask, terms, lesson(two)[0]) as follow:
        follow.teach = kept(follow.teach, len(rows.labels), _ASKED)
        yield replace(
            follow.task, train=lambda: map(lesson, rows.numbers(params.batch_size, params.processes, context.generator))
        )


def _accuracy(model: "TorchModel", tuning: "Rows", params: DistillParams) -> float:
    import torch

    from titrant.runtime.backends.torch.losses import OF_NUMBERS, correct
    from titrant.runtime.training.role_batches import batches_of, first_output

    rows = batches_of(model, tuning)
    boundary = 0.5 if params.loss in OF_NUMBERS else 0.0
    right = 0
    with torch.inference_mode():
        for places in torch.arange(len(rows.labels)).split(_ASKED):
            inputs, labels = rows.take(places)
            output = first_output(model, rows.arguments.call(model.module, inputs))
            right += correct(output, labels, rows.scored, boundary)
    return right / len(rows.labels)
