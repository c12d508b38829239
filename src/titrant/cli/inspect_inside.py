"""What `titrant inspect` prints of the inside of models: health, attention, and two side by side."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.cli import console
from titrant.cli.options import parse_json
from titrant.schema.diagnostics.diagnostics import OK, Diagnostic, RecipeError

if TYPE_CHECKING:
    from titrant.api.advise import Advised
    from titrant.api.inspect_inside import NamedModel


def inside_options(parser: argparse.ArgumentParser) -> None:
    """Declare what looks inside a model, and the rows that it answers meanwhile."""
    group = parser.add_argument_group("inside")
    group.add_argument("--health", action="store_true", help="whether its numbers are sound, and quantize well")
    group.add_argument("--attention", action="store_true", help="where each layer attends, also where that is fused")
    group.add_argument("--advice", action="store_true", help="time its layers and batches, and say what would pay")
    group.add_argument(
        "--rows", type=int, metavar="N", help="let it answer N rows: a run's own, else drawn by --seed (8)"
    )
    group.add_argument("--data", type=Path, metavar="FILE", help="let it answer these rows: an .npz of arrays by input")
    group.add_argument("--seed", type=int, default=42, help="seed of rows that are drawn (42)")


def looks_inside(options: argparse.Namespace) -> bool:
    """Whether a command asks for more than what a model is made of."""
    return bool(options.other or options.health or options.attention or options.advice)


def refuse_rows(options: argparse.Namespace) -> None:
    """Refuse rows where nothing looks at what a model answers."""
    if options.rows is not None or options.data is not None:
        flag = "--rows" if options.rows is not None else "--data"
        advice = "add --health, --attention or --advice, or name a second model"
        raise RecipeError(Diagnostic("P014", f"{flag} has nothing to act on here", help=advice))


def call_inside(options: argparse.Namespace) -> int:
    """Look inside one model, or hold two side by side; exit 0, whatever is found."""
    from titrant.api.inspect_inside import RowsAsked, inspect_advice, inspect_attention, inspect_health, inspect_pair

    _refuse(options)
    rows, first = RowsAsked(options.rows, options.data, options.seed), _named(options, options.model)
    if options.other:
        return _answer(options, inspect_pair(first, _named(options, options.other), rows))
    if options.health:
        return _answer(options, inspect_health(first, rows))
    if options.advice:
        return _advice(options, inspect_advice(first, rows))
    return _answer(options, inspect_attention(first, rows, tokens=options.show_data))


def _named(options: argparse.Namespace, subject: str) -> "NamedModel":
    from titrant.api.inspect_inside import NamedModel

    factory = ":" in subject and not Path(subject).exists()
    return NamedModel(
        subject,
        parse_json(options.args, "--args", dict) if factory else None,
        parse_json(options.inputs, "--inputs", list),
        options.overrides,
        options.trust,
    )


def _refuse(options: argparse.Namespace) -> None:
    """Refuse what asks for two things at once, and options that have nothing to act on."""
    asked = [name for name in ("health", "attention", "advice") if getattr(options, name)]
    if len(asked) > 1 or (asked and options.other):
        both = f"--{asked[0]} and {f'--{asked[1]}' if len(asked) > 1 else 'a second model'}"
        raise RecipeError(Diagnostic("P014", f"{both} are asked for at once", help="ask for one after the other"))
    if options.advice and options.out is not None:
        raise RecipeError(
            Diagnostic("P014", "--out has nothing to act on with --advice", help="use --json, or leave it out")
        )
    if options.level is not None:
        raise RecipeError(Diagnostic("P014", "--level has nothing to act on here", help="leave it out"))
    if options.rows is not None and options.data is not None:
        raise RecipeError(Diagnostic("P014", "--rows and --data both say which rows", help="leave one of them out"))


def _advice(options: argparse.Namespace, advised: "Advised") -> int:
    if options.json:
        console.answer_json({"advice": advised.advice, "profile": advised.profile, "times": advised.times})
        return OK
    if options.verbose:
        console.answer(f"{advised.profile}\n")
    console.answer(str(advised))
    return OK


def _answer(options: argparse.Namespace, seen: Any) -> int:
    from titrant.api.inspect_inside import inside_text, save_inside

    if options.out is not None:
        save_inside(seen, " beside ".join(filter(None, (options.model, options.other))), Path(options.out))
    if options.json:
        console.answer_json(seen)
    else:
        console.answer(inside_text(seen, whole=bool(options.verbose)))
        if options.out is not None:
            console.answer(f"\nwritten to {options.out}")
    return OK
