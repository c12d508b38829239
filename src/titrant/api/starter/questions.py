"""Questions that a starter recipe leaves open, since a guess would change what the model answers."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.layers import apply
from titrant.schema.language.spans import Origin, Span
from titrant.schema.language.write import flow
from titrant.schema.language.yaml_tree import Branch, plain_value
from titrant.schema.values.canonical import plain
from titrant.schema.values.frozen import dataclass

# Recipe keys that have an option of their own on the command line.
_OPTIONS = {"data.label": "--label", "model.weights": "--weights", "model.args": "--args"}
# Recipe keys that the command's own arguments write.
_ARGUMENTS = {"data.source": "--data", "data.sources": "--data", "model.onnx": "MODEL", "model.factory": "MODEL"}


@dataclass(frozen=True)
class AnswerChoice:
    """One answer: the value of the key as JSON types, and what it means in a few words."""

    value: Any
    means: str = ""


@dataclass(frozen=True)
class OpenQuestion:
    """What nobody but the model's maker knows: the recipe key that answers it, what was seen, and likely answers."""

    key: str
    asks: str
    because: str
    choices: tuple[AnswerChoice, ...] = ()

    def argument(self, value: Any) -> str:
        """Write the option of the command line that gives an answer, quoted for a shell."""
        option = _OPTIONS.get(self.key)
        if option is not None:
            return f"{option} {shlex.quote(value if isinstance(value, str) else flow(value))}"
        return f"--set {shlex.quote(f'{self.key}={flow(value)}')}"


class UnansweredError(RecipeError):
    """A recipe cannot be written without answers; carries the questions too, all of them at once."""

    def __init__(self, *questions: OpenQuestion) -> None:
        self.questions = questions
        super().__init__(*map(_diagnostic, questions))


def _diagnostic(question: OpenQuestion) -> Diagnostic:
    ways = [
        f"{question.argument(choice.value)}{f' ({choice.means})' if choice.means else ''}"
        for choice in question.choices
    ]
    message = f"`{question.key}`: {question.asks} {question.because}"
    return Diagnostic("R166", message, help="  or  ".join(ways))


def answers_of(overrides: Sequence[str]) -> Mapping[str, Any]:
    """Read `--set a.b=v` flags as the part of a recipe that they write; RecipeError for those that say nothing."""
    origin = Origin("--set", Path(), ("",))
    root, diagnostics = apply(Branch(Span(origin, 0, 0, 0, 0), {}), tuple(overrides), Path())
    if diagnostics:
        raise RecipeError(*diagnostics)
    answers: dict[str, Any] = plain(plain_value(root))
    for key in _empty(answers):
        raise RecipeError(_misplaced(f"`{key}` is given no value", "write it after the `=`, or leave it out"))
    for section in ("model", "data"):
        if not isinstance(answers.get(section, {}), dict):
            raise RecipeError(
                _misplaced(f"`{section}` is a section", f"set one of its keys: --set {section}.KEY=VALUE")
            )
    for key, argument in _ARGUMENTS.items():
        if answer(answers, key) is not None:
            raise RecipeError(_misplaced(f"`{key}` is what the command names", f"give it as {argument}"))
    return answers


def _empty(answers: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in answers.items():
        if value is None:
            yield f"{path}{key}"
        elif isinstance(value, dict):
            yield from _empty(value, f"{path}{key}.")


def _misplaced(message: str, advice: str) -> Diagnostic:
    return Diagnostic("P081", message, help=advice)


def answer(answers: Mapping[str, Any], key: str) -> Any:
    """Return the answer at a dotted key, None where there is none."""
    value: Any = answers
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
