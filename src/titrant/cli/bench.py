"""`titrant bench`: time models side by side on the same inputs, and print or write the figures."""

import argparse
from pathlib import Path

from titrant.cli import console
from titrant.cli.options import data_option, json_option, parse_json, trust_option
from titrant.schema.diagnostics.diagnostics import OK, Diagnostic, RecipeError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    help_text = (
        "a file (.onnx, .pt2, TorchScript, OpenVINO .xml, a released .safetensors), module:Name, or a run: folder, id, "
        "unique prefix, or latest"
    )
    parser.add_argument("models", nargs="+", metavar="RUN|MODEL", help=help_text)
    group = parser.add_argument_group("inputs")
    group.add_argument(
        "--input-shape",
        action="append",
        default=[],
        metavar="[NAME=]SIZES[:DTYPE[:LIMIT]]",
        help="sizes of an input, the batch first: 1,3,224,224, or ids=1,128:int64:30522; again for each input",
    )
    group.add_argument(
        "--data", metavar="FILE|module:name", help="an .npz or .npy file, or a function of the batch size"
    )
    group.add_argument("--batch", metavar="1,4,16,32", help="batch sizes to time")
    group.add_argument("--seed", type=int, default=0, help="of numbers that are drawn (0)")
    group.add_argument("--args", metavar="JSON", help="arguments of a factory")
    group.add_argument("--inputs", metavar="JSON", help="inputs of a factory: a list of {name, shape, dtype}")
    trust_option(group)
    data_option(group)
    group = parser.add_argument_group("timing")
    group.add_argument("--iterations", type=int, default=100, help="timed runs of each model at each batch size (100)")
    group.add_argument("--warmup", type=int, default=10, help="runs before the clock counts (10)")
    group.add_argument("--threads", type=int, default=1, help="threads of every engine (1)")
    group.add_argument("--device", help="cpu, cuda, cuda:N or mps (the CPU)")
    json_option(parser, "every figure and sample")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write a page (.html), the picture (.svg), .md or .json too"
    )


def call(options: argparse.Namespace) -> int:
    """Time what is named and print the figures."""
    from titrant.api.bench import bench
    from titrant.runtime.instruments.measure.report import refuse_ending, save, text_of

    if options.out is not None:
        refuse_ending(options.out)
    with console.Counting(quiet=options.quiet or options.json) as count:
        result = bench(
            options.models,
            input_shapes=options.input_shape,
            data=options.data,
            batches=_batches(options.batch),
            iterations=options.iterations,
            warmup=options.warmup,
            threads=options.threads,
            device=options.device,
            seed=options.seed,
            args=parse_json(options.args, "--args", dict),
            input_specs=parse_json(options.inputs, "--inputs", list),
            trust=options.trust,
            listen=lambda done, total, note: count(f"timing {note}", int(done), int(total)),
        )
    written = None if options.out is None else save(result, options.out)
    if options.json:
        console.answer_json(result)
    else:
        console.answer(text_of(result))
    if written is not None and not options.quiet:
        console.note(f"written: {written}")
    return OK


def _batches(text: str | None) -> tuple[int, ...] | None:
    """Read `1,4,16,32`; RecipeError X671 for anything else."""
    if text is None:
        return None
    sizes = [part.strip() for part in text.split(",")]
    if not all(size.isascii() and size.isdigit() and len(size) < 10 for size in sizes):
        message = f"--batch is {text}"
        raise RecipeError(Diagnostic("X671", message, help="write whole numbers above 0: --batch 1,4,16,32"))
    return tuple(dict.fromkeys(map(int, sizes)))
