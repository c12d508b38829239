"""`titrant init`: write a starter recipe for a model."""

import argparse
from pathlib import Path

from titrant.cli import console
from titrant.cli.options import data_option, parse_json, trust_option
from titrant.schema.diagnostics.diagnostics import OK


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file, or a factory module:Name")
    parser.add_argument("--data", type=Path, metavar="FILE", help="a .csv, .parquet or .npz file, a folder of images")
    parser.add_argument("--label", metavar="COLUMN", help="the column that holds the answer")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="trained weights of the factory's model")
    parser.add_argument("--args", metavar="JSON", help="arguments of the factory")
    parser.add_argument("--inputs", metavar="JSON", help="the model's inputs, where no data says them")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the recipe's file (default: NAME.yaml)")
    trust_option(parser)
    data_option(parser)


def call(options: argparse.Namespace) -> int:
    """Write the recipe, and say what comes next."""
    from titrant.api.init import init as verb

    file = verb(
        options.model,
        options.out,
        data=options.data,
        label=options.label,
        weights=options.weights,
        args=parse_json(options.args, "--args", dict),
        inputs=parse_json(options.inputs, "--inputs", list),
        trust=options.trust,
    )
    console.answer(str(file))
    if not options.quiet:
        console.note(f"answer the lines with ? in it, then: titrant plan {file}")
    return OK
