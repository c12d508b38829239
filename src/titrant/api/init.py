"""Write a starter recipe for a model, with what was found out about it."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.draft import draft
from titrant.api.planned import reading, write_file
from titrant.api.starter.request import StarterRequest, Subject, subject_of
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError, RecipeError

if TYPE_CHECKING:
    from titrant.schema.language.parse import ParsedRecipe


def init(
    model: str,
    out: Path | str | None = None,
    *,
    data: str | None = None,
    label: str | None = None,
    weights: str | None = None,
    args: Mapping[str, Any] | None = None,
    input_specs: Sequence[Mapping[str, Any]] | None = None,
    level: str = "balanced",
    objective: str = "",
    overrides: Sequence[str] = (),
    force: bool = False,
    trust: bool = False,
    measure: bool = False,
) -> Path:
    """Write a starter recipe that runs, and return its file (default: NAME.yaml beside the model).

    `model` is an .onnx file, a factory `module:Name` with its `weights` ("included": it loads its own) and `args`, a
    folder with one .onnx file and one table, or a table alone, for which a small network is trained. `data` is a .csv,
    .parquet or .npz file, a folder of images, a data factory `module:Name` or a set of scikit-learn by its name, with
    the column that holds the `label` ("none": no column does). `input_specs`, as `model.inputs` has them, are needed
    for a factory without data. `objective` is what counts first, latency or size. `overrides` are keys of the recipe,
    "a.b=v".

    With `measure` the model's layers and batches are timed on drawn rows first, and the recipe starts from what that
    speaks for: batches that pay are timed in a run, the rest stands in it as suggestions with the figures.
    The recipe is planned before it is written. A file that is there with other content is overwritten with `force`
    only. Raises UnansweredError, a RecipeError, with all questions of which a guess would change the model's answers,
    RecipeError P081 where no recipe can be written, StepError when the factory or its data cannot be read.
    """
    file = None if out is None else Path(out)
    request = StarterRequest(model, file, data, label, weights, args, input_specs, level, objective, tuple(overrides))
    subject = subject_of(request)
    refuse_other(subject.file, None, force=force)
    text = draft(request, subject)
    parsed = parsed_draft(subject, text)
    _check_plan(parsed, trust=trust)
    if measure:
        text = _with_advice(text, parsed, subject, trust=trust)
    write_file(subject.file, text)
    return subject.file


def _with_advice(text: str, parsed: "ParsedRecipe", subject: Subject, *, trust: bool) -> str:
    """Add what was measured to a draft: a line that only times more, and suggestions that a person decides on."""
    from titrant.api.inspect_inside import advise_draft

    with reading():
        advised = advise_draft(parsed, trust=trust)
    lines = ["# measured on this machine, on drawn rows; a run judges what each line brings"]
    for piece in advised.advice:
        lines += textwrap.wrap(piece.words, 98, initial_indent="# ", subsequent_indent="#   ")
        key = piece.line.partition(":")[0]
        if piece.about == "batch" and piece.line and not parsed.source.has((key,)):
            lines.append(piece.line)
        elif piece.line:
            lines.append(f"# ? {piece.line}")
    longer = "".join(f"{line}\n" for line in [text.rstrip("\n"), *lines])
    parsed_draft(subject, longer)
    return longer


def parsed_draft(subject: Subject, text: str) -> "ParsedRecipe":
    """Parse a draft as if it stood in its file."""
    from titrant.schema.language.parse import parse

    return parse(text, str(subject.file), folder=subject.folder)


def refuse_other(file: Path, text: str | None, *, force: bool) -> None:
    """Raise RecipeError P003 where a file is there with another text than this."""
    if force or not file.exists():
        return
    if text is not None and file.is_file() and file.read_bytes() == text.encode():
        return
    other = "" if text is None else " with another content"
    advice = f"run it: titrant run {file}; --force overwrites it, --out names another file"
    raise RecipeError(Diagnostic("P003", f"{file} is there already{other}", help=advice))


def _check_plan(parsed: "ParsedRecipe", *, trust: bool) -> None:
    """Plan the recipe, so that what is written runs; that this machine cannot hold it is no fault of the recipe."""
    from titrant.api.plan import plan

    try:
        with reading():
            plan(parsed, trust=trust)
    except InfeasibleError:
        return
