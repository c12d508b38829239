"""Write a run's evaluation rows with both models' answers to a file, from which people compute their own figures."""

import csv
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.contract.answers import read_answers
from titrant.runtime.contract.reading import Reading
from titrant.runtime.contract.tasks.tokens import TokenScores
from titrant.runtime.data.row_labels import names_of
from titrant.runtime.store.artifacts import DamagedError, Store
from titrant.runtime.store.home import Home, row_key
from titrant.runtime.store.locks import unfinished_folder
from titrant.schema.compare.steps import results
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.plan import Plan, Step
from titrant.schema.recipe.tasks import TASKS
from titrant.schema.record import RunRecord

if TYPE_CHECKING:
    from titrant.runtime.values import Outputs, Rows

_CONTRACT, _EVALUATION = "validate.contract", "transform.evaluation"
# More numbers a row than these are no table that anybody reads; .npz holds them as they are.
_MOST_COLUMNS = 2000
SUFFIXES = (".csv", ".npz")


def write_rows(plan: Plan, record: RunRecord, home: Home, file: Path) -> int:
    """Write the evaluation rows of a run to a new .csv or .npz file that its owner can read; return their number.

    Columns (arrays in .npz): `row`, what `data.id` calls it, else a keyed digest of its content, the same in every file
    of this home and numbered where it comes again; `unit`, where several rows count as one, numbered in this file;
    `subgroup.NAME`; `label`; and for the original and each judged candidate `NAME.answer` and `NAME.score.CLASS`,
    probabilities 0..1 (.npz: `NAME.scores`, (rows, classes)). Without classes `NAME.OUTPUT`, (rows, …) float32, of a
    language model `NAME.log_likelihood` and `NAME.token`, (rows, length), 0 and -1 where none is judged. Raises
    RecipeError P035 for a run that judged nothing or whose rows the store no longer has, P036 for a file that cannot be
    written.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise RecipeError(
            Diagnostic("P036", f"rows are not written as {file.suffix or file.name}", help="name a .csv or a .npz file")
        )
    columns = _columns(plan, record, home)
    text = _csv(columns) if file.suffix.lower() == ".csv" else _npz(columns)
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(text)
    except FileExistsError:
        raise RecipeError(
            Diagnostic("P036", f"{file} is there already", help="remove it, or name another file")
        ) from None
    except OSError as error:
        message = f"{file} cannot be written: {error.strerror}"
        raise RecipeError(Diagnostic("P036", message, help="name a file in a folder that you may write to")) from None
    return len(columns["row"])


def _columns(plan: Plan, record: RunRecord, home: Home) -> dict[str, np.ndarray]:
    done = results(record)
    judged = [
        step
        for step in plan.steps
        if step.operator == _CONTRACT and step.stage == "judge" and step.inputs["rows"] == _EVALUATION
        if step.id in done
    ]
    if not judged:
        raise _missing("the run judged nothing on evaluation rows")
    store = Store(home)
    with unfinished_folder(home, "rows") as folder:

        def load(reference: object) -> Any:
            producer, _, port = str(reference).rpartition(".")
            result = done[producer].result if producer in done else None
            if result is None or port not in result.outputs:
                raise _missing(f"the run has no result of {producer}")
            try:
                return store.get(result.outputs[port], folder / f"{producer}.{port}")
            except DamagedError:
                raise _missing(f"the store no longer has {producer}.{port}") from None

        rows = load(judged[0].inputs["rows"])
        columns = _about(rows, row_key(home), _own_names(plan, judged[0], load))
        columns |= dict(_answers("original", rows, judged[0], load, "original"))
        for step in judged:
            if step.candidate:  # the original's own gates have none
                columns |= dict(_answers(step.candidate, rows, step, load, "candidate"))
    return columns


def _own_names(plan: Plan, judging: Step, load: Any) -> np.ndarray | None:
    """Return what `data.id` calls the evaluation rows by, (rows,) text; None where the recipe names no such column."""
    steps = {step.id: step for step in plan.steps}
    making = steps[str(judging.inputs["rows"]).rpartition(".")[0]]
    reading = steps[str(making.inputs["tables"]).rpartition(".")[0]]
    if reading.params.get("id") is None:
        return None
    sources = load(making.inputs["tables"]).sources
    places = load(making.inputs["split"]).roles.get("evaluation", {})
    named = [(sources[name].row_names, rows) for name, rows in places.items()]
    parts = [names[rows] for names, rows in named if names is not None]
    return np.concatenate(parts) if parts and len(parts) == len(named) else None


def _about(rows: "Rows", key: bytes, own: np.ndarray | None) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {"row": np.array(names_of(rows.ids, key, own))}
    units, numbers = np.unique(rows.units, return_inverse=True)
    if len(units) < len(rows):
        columns["unit"] = numbers
    for name, places in rows.subgroups.items():
        columns[f"subgroup.{name}"] = np.array([*rows.subgroup_values[name], ""])[places]
    if rows.targets is not None:
        columns["label"] = rows.targets
    if rows.labels is not None:
        columns["label"] = np.array(rows.classes)[rows.labels]
    return columns


def _answers(name: str, rows: "Rows", step: Step, load: Any, port: str) -> Iterator[tuple[str, np.ndarray]]:
    outputs: Outputs = load(step.inputs[port])
    reading = Reading(**{key: step.params[key] for key in Reading.model_fields if key in step.params})
    if TASKS[reading.task].label == "tokens":
        for values in outputs.arrays.values():
            kept = TokenScores.read(values)
            yield f"{name}.log_likelihood", kept.log_likelihood
            yield f"{name}.token", kept.tokens
        return
    if rows.labels is None:
        yield from ((f"{name}.{output}", values) for output, values in outputs.arrays.items())
        return
    answers = read_answers(reading, rows, outputs, load(step.inputs["point"]))
    yield f"{name}.answer", np.array(rows.classes)[answers.decisions]
    yield f"{name}.scores", answers.probabilities
    yield f"{name}.classes", np.array(rows.classes)


def _csv(columns: Mapping[str, np.ndarray]) -> bytes:
    table: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        base = name.removesuffix(".scores")
        if name.endswith(".classes") and f"{name.removesuffix('.classes')}.scores" in columns:
            continue
        if name.endswith(".scores") and f"{base}.classes" in columns:
            classes = columns[f"{base}.classes"].tolist()
            table |= {f"{base}.score.{kind}": values[:, place] for place, kind in enumerate(classes)}
        elif values.ndim == 1:
            table[name] = values
        else:
            flat = values.reshape(len(values), -1)
            table |= {f"{name}.{place}": flat[:, place] for place in range(min(flat.shape[1], _MOST_COLUMNS + 1))}
        if len(table) > _MOST_COLUMNS:
            raise RecipeError(
                Diagnostic(
                    "P036", f"a row would have more than {_MOST_COLUMNS:,} columns", help="write them to a .npz file"
                )
            )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(values.tolist() for values in table.values()), strict=True))
    return text.getvalue().encode("utf-8", "surrogatepass")


def _npz(columns: Mapping[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **columns)
    return stream.getvalue()


def _missing(why: str) -> RecipeError:
    return RecipeError(
        Diagnostic("P035", f"{why}: there are no rows to write", help="run the recipe again: what is stored is reused")
    )
