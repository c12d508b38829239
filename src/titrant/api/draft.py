"""Draft a starter recipe: find out in a child process what there is, ask what nothing says, write the text."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.planned import reading
from titrant.api.starter.data import class_question, data_lines, label_question
from titrant.api.starter.inputs import input_question
from titrant.api.starter.lines import (
    Starter,
    head_lines,
    model_lines,
    output_question,
    refuse,
    size_question,
    tail_lines,
)
from titrant.api.starter.questions import AnswerChoice, OpenQuestion, UnansweredError, answer
from titrant.api.starter.request import NO_LABEL, OWN_WEIGHTS, StarterRequest, Subject
from titrant.api.starter.transform import transform_question
from titrant.schema.values.text import printable

if TYPE_CHECKING:
    from titrant.runtime.worker.parent import Worker


# Threads and seed of a recipe that says nothing of them: the process that was asked can run it.
_AS_MOST_RECIPES = (1, 42)


def draft(
    request: StarterRequest,
    subject: Subject,
    *,
    needs_weights: bool = False,
    keep_worker: "list[Worker] | None" = None,
) -> str:
    """Return the recipe's text; UnansweredError with every question that it leaves, RecipeError where it cannot be.

    With `needs_weights` a factory whose weights nobody names is a question; else it is trained, where there is a label.
    `keep_worker` receives the process that was asked, so that planning need not start another. Raises StepError X108
    where the user's own code raised.
    """
    with reading():
        starter = _starter(request, subject, keep_worker)
    return recipe_text(starter, needs_weights=needs_weights)


def _starter(request: StarterRequest, subject: Subject, keep_worker: "list[Worker] | None") -> Starter:
    asked = _ask(subject, keep_worker)
    source = None
    if subject.kind:
        path = subject.data if subject.kind in ("factory", "sklearn") else subject.from_recipe(subject.data)
        source = (subject.kind, path)
    weights = subject.weights
    if weights is not None and weights != OWN_WEIGHTS:
        weights = subject.from_recipe(weights)
    answers = subject.answers
    args = answer(answers, "model.args")
    if args is not None and not isinstance(args, Mapping):
        refuse("`model.args` is a mapping of names to values", "such as --args '{\"classes\": 2}'")
    inputs = request.inputs if request.inputs is not None else answer(answers, "model.inputs")
    return Starter(
        model=subject.from_recipe(subject.model) if subject.onnx else subject.model,
        onnx=asked["onnx"],
        arguments=asked["arguments"],
        args={**(args or {}), **(request.args or {})},
        weights=weights,
        inputs=inputs,
        source=source,
        data=asked["data"],
        hints=asked["hints"],
        level=answers.get("level", request.level),
        objective=request.objective,
        alone=subject.alone,
        answers=answers,
    )


def _ask(subject: Subject, keep_worker: "list[Worker] | None") -> Mapping[str, Any]:
    """Ask a child process, which looks for modules in the recipe's folder: the user's code runs there only."""
    from titrant.runtime.store.home import open_home
    from titrant.runtime.worker.parent import Worker

    named = subject.kind in ("factory", "sklearn")
    question = {
        "factory": None if subject.onnx else subject.model,
        "onnx": str(Path(subject.model).absolute()) if subject.onnx else None,
        "data": {subject.kind: subject.data if named else str(Path(subject.data).absolute())} if subject.kind else None,
        "label": None if subject.label == NO_LABEL else subject.label,
        "unlabeled": subject.label == NO_LABEL,
    }
    kept = [] if keep_worker is None else keep_worker
    kept.append(Worker(open_home(), subject.folder, *_AS_MOST_RECIPES))
    try:
        asked: Mapping[str, Any] = kept[-1].ask({"do": "inspect", "steps": {"starter": question}})["starter"]
    finally:
        if keep_worker is None:
            kept.pop().close()
    return asked


def weights_question(starter: Starter) -> Iterator[OpenQuestion]:
    """Ask for the weights of a factory that would be trained, where nobody says that it is to be."""
    labelled = starter.label is not None or bool((starter.data or {}).get("candidates"))
    if starter.onnx is not None or starter.weights is not None or not labelled or starter.stated("train") is not None:
        return
    file = AnswerChoice("FILE", "a .safetensors or .pt file")
    choices = (file, AnswerChoice(OWN_WEIGHTS, "the factory loads its own"))
    because = f"{starter.model} is a network without them; `titrant init` writes a recipe that trains it."
    yield OpenQuestion("model.weights", "where are its trained weights?", because, choices)


def questions(starter: Starter) -> Iterator[OpenQuestion]:
    """Yield what nothing says and a guess would change the answers of, in the order of the recipe."""
    label = tuple(label_question(starter))
    yield from output_question(starter)
    yield from size_question(starter)
    yield from label
    if not label:  # what they ask depends on which columns are inputs
        yield from input_question(starter)
        yield from class_question(starter)
        yield from transform_question(starter)


def recipe_text(starter: Starter, *, needs_weights: bool = False) -> str:
    """Write the recipe; UnansweredError with its questions, RecipeError P081 where model or data cannot make one."""
    weights = tuple(weights_question(starter)) if needs_weights else ()
    if any(label_question(starter)):  # without one the lines would be of another task
        raise UnansweredError(*weights, *questions(starter))
    lines = [*head_lines(starter), *model_lines(starter), *data_lines(starter), *tail_lines(starter)]
    if asked := (*weights, *questions(starter)):
        raise UnansweredError(*asked)
    # A name in a comment may hold what ends a line.
    return "\n".join(printable(line.replace("\n", "\\n")) for line in lines) + "\n"
