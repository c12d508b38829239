"""The options that `titrant init` and `titrant optimize` share, and asking on a terminal what they leave open."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.cli import console
from titrant.cli.options import data_option, parse_json, trust_option
from titrant.schema.recipe.level import LEVEL_NAMES

if TYPE_CHECKING:
    from titrant.api.starter.questions import OpenQuestion, UnansweredError


def starter_options(parser: argparse.ArgumentParser) -> None:
    """Declare the model, the data, and what a person decides about them."""
    parser.add_argument(
        "model", metavar="MODEL", help="an .onnx file, a factory module:Name, or a folder with one .onnx and one table"
    )
    parser.add_argument(
        "--data",
        metavar="FILE|REF",
        help="a .csv, .parquet or .npz file, a folder of images, a data factory module:Name, or a set of scikit-learn",
    )
    parser.add_argument("--label", metavar="NAME", help="the column that holds the answer; none: no column does")
    parser.add_argument(
        "--weights", metavar="FILE", help="trained weights of the factory's model; included: it loads its own"
    )
    parser.add_argument("--args", metavar="JSON", help="arguments of the factory")
    parser.add_argument("--inputs", metavar="JSON", help="the model's inputs, where no data says them")
    parser.add_argument("--level", choices=LEVEL_NAMES, default="balanced", help="how far optimization may go")
    parser.add_argument("--target", choices=("latency", "size"), help="what counts first (default: latency, then size)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=v",
        dest="overrides",
        help="write a key into the recipe, such as an answer to a question; v is YAML",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the recipe's file (default: NAME.yaml, beside MODEL)")
    parser.add_argument("--force", action="store_true", help="overwrite a recipe that is there with other content")
    trust_option(parser)
    data_option(parser)


def arguments_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of the verb."""
    return {
        "data": options.data,
        "label": options.label,
        "weights": options.weights,
        "args": parse_json(options.args, "--args", dict),
        "input_specs": parse_json(options.inputs, "--inputs", list),
        "level": options.level,
        "objective": options.target or "",
        "force": options.force,
        "trust": options.trust,
    }


def show_questions(error: "UnansweredError", options: argparse.Namespace) -> int:
    """Print every question with the options that answer it, or as JSON where that is asked for; returns the exit code.

    A line of its own for each answer, which can be copied, where diagnostics fill theirs.
    """
    if getattr(options, "json", False):
        raise error
    count = len(error.questions)
    several = f"{count} questions that only you can answer" if count > 1 else "a question that only you can answer"
    console.note(f"error[R166]: {several}; a guess would change what the model answers")
    for question in error.questions:
        console.note("")
        console.note(console.wrapped(f"{question.key}: {question.asks} {question.because}", "  ", "    "))
        rows = [(question.argument(choice.value), choice.means) for choice in question.choices]
        console.note(_listed(rows, "      "))
    console.note("\nadd an answer for each to the command; it is written into the recipe")
    return error.exit_code


def _listed(rows: Sequence[tuple[str, str]], indent: str) -> str:
    """List answers with what they mean beside them, or above them where a line would be too long to be read."""
    widest = max(len(text) for text, _ in rows)
    if len(indent) + widest + 2 + max(len(means) for _, means in rows) <= console.width():
        return "\n".join(f"{indent}{text:<{widest}}  {means}".rstrip() for text, means in rows)
    return "\n".join(f"{indent}{means}:\n{indent}  {text}" if means else f"{indent}{text}" for text, means in rows)


def ask(question: "OpenQuestion") -> str:
    """Ask one question on the terminal; returns the answer as a `--set` flag has it."""
    from titrant.schema.language.write import flow

    console.note("")
    console.note(console.wrapped(f"{question.key}: {question.asks} {question.because}", "", "  "))
    rows = [(f"{number}. {flow(choice.value)}", choice.means) for number, choice in enumerate(question.choices, 1)]
    console.note(_listed(rows, "  "))
    while True:
        text = console.ask("a number, or the value as YAML: ").strip()
        if text.isdecimal() and 0 < int(text) <= len(question.choices):
            return f"{question.key}={flow(question.choices[int(text) - 1].value)}"
        if text:
            return f"{question.key}={text}"
