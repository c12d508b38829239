"""Use a released model from its folder alone: transforms, the judged file, the operating point."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from titrant.runtime.backends import backend, kinds
from titrant.runtime.backends.backend import ExecutedLayer
from titrant.runtime.backends.recurrent import stateful
from titrant.runtime.backends.session import Session, answer_rows, open_session
from titrant.runtime.contract.answers import judged_output, read_answers
from titrant.runtime.contract.reading import Reading
from titrant.runtime.contract.tasks.multilabel import THRESHOLD, label_probabilities
from titrant.runtime.data.classes import in_own_type
from titrant.runtime.serve.rows import columns_of, refuse_ignored
from titrant.runtime.values import Outputs, Rows, Transforms
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.recipe.tasks import TASKS
from titrant.schema.values.text import is_text

MANIFEST = "titrant.json"
_PARTS = {"name": str, "task": str, "threads": int, "reading": dict, "files": dict, "models": list, "shipped": dict}

# What a release that does not say it was judged in.
_BATCH = 64


@dataclass(frozen=True)
class Answer:
    """What a released model says of some rows.

    `outputs`: name → (rows, …) float32. `probabilities`: (rows, classes) float64, and `decisions`:
    (rows,) classes at the operating point, whole numbers and truth values where the label has those, else names; of
    several labels (rows, labels) bool. Both are None for a model that does not classify. `candidate` and `rung` name
    the file that answered, as `Released` does.
    """

    outputs: Mapping[str, np.ndarray]
    probabilities: np.ndarray | None
    decisions: np.ndarray | None
    candidate: str
    rung: str


class Released:
    """A released model; call it with raw rows, as the recipe's data source gives them. Use as a context manager.

    `rung` is its name in a ladder of variants, "" without one, `batch` how many rows it answered at once when it was
    judged, `judged_instructions` the instruction sets of the processor that it was judged on, () where an earlier
    version released it.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], model: Mapping[str, Any], threads: int) -> None:
        self.name: str = about["name"]
        self.task: str = about["task"]
        self.candidate: str = model["candidate"]
        self.rung: str = model.get("rung", "")
        self._takes_columns: bool = model.get("transforms") == "inside"
        self._closed = False
        self.transforms = _transforms(folder, about)
        self.classes: tuple[str, ...] = self.transforms.classes if self.transforms else ()
        kind = self.transforms.class_kind if self.transforms else "text"
        self._decided = in_own_type(self.classes, kind)
        self._reading = Reading(**about["reading"])
        self._point = _point(folder, about)
        path = folder / model["file"]
        self._engine: str = model["engine"]
        self._model = _file(path, model["kind"], self._engine)
        self._threads = threads
        self.batch: int = about.get("batch") or _BATCH
        self.judged_instructions: tuple[str, ...] = tuple(about.get("instructions", ()))
        self._session: Session = open_session(self._engine, self._model, threads=threads)

    def __call__(self, rows: Any, *, batch: int | None = None) -> Answer:
        """Answer rows: a DataFrame, a mapping of column name to array, or to value for one row, a list of such
        rows, or one array for a model with one input. None and NaN are missing, as they were when it was fitted.

        A model that was judged on a folder of images also takes the path of one, a list of paths, or a column of them,
        and reads the files as those were read.

        `batch` rows are answered at once, by default `self.batch`, as many as when it was judged: the report says
        whether answers depend on that. Raises ValueError for a batch below 1 or a
        model that was closed, StepError X342 for rows of another form or none, X401 for an answer that is NaN or
        infinite, and what the transforms say of missing columns or values.
        """
        _check_number("batch", batch)
        at_once = self.batch if batch is None else batch
        if self._closed:
            raise ValueError("this model was closed: load it again")
        inputs = self._inputs(rows)
        count = len(next(iter(inputs.values()))) if inputs else 0
        if not count:
            raise StepError(Diagnostic("X342", "there are no rows to answer", help="give at least one row"))
        outputs = answer_rows(self._session, inputs, count, at_once)
        named = (self.candidate, self.rung)
        if TASKS[self._reading.task].label not in ("class", "labels") or self.transforms is None:
            return Answer(outputs, None, None, *named)
        if TASKS[self._reading.task].label == "labels":
            name = judged_output(self._reading, Outputs("", outputs))
            cases = Rows("", {}, None, *(np.zeros(count, np.int64),) * 2, self.classes)
            marks = label_probabilities(cases, name, self._reading.kind(name), outputs[name])
            return Answer(outputs, marks, marks >= THRESHOLD, *named)
        none = np.zeros(count, np.int64)
        about = self.transforms
        cases = Rows("", {}, None, none, none, self.classes, about.positive, ordered=about.ordered)
        answers = read_answers(self._reading, cases, Outputs("", outputs), self._point)
        return Answer(outputs, answers.probabilities, self._decided[answers.decisions], *named)

    def executed(self) -> tuple[ExecutedLayer, ...]:
        """Return each layer with weights as the engine really runs it here, by the engine's own names of nodes.

        It may differ from what the file says: an engine may compute in another precision. Raises ValueError for a model
        that was closed.
        """
        if self._closed:
            raise ValueError("this model was closed: load it again")
        return backend.get(self._engine).executed(self._model, threads=self._threads)

    def close(self) -> None:
        """Free the model; closing it again does nothing."""
        if not self._closed:
            self._closed = True
            self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _inputs(self, rows: Any) -> dict[str, np.ndarray]:
        from titrant.runtime.data.raw import raw_columns, raw_names
        from titrant.runtime.data.transforms import apply

        if self.transforms is None:
            return columns_of(rows, self._session.input_names)
        if self.transforms.images:
            from titrant.runtime.data.images.given import as_rows

            resize = any(fitted.name == "resize" for fitted in self.transforms.steps)
            rows = as_rows(rows, self.transforms.images, resize=resize)
        given = columns_of(rows, raw_names(self.transforms))
        recurrent = stateful(self._session)
        states = () if recurrent is None else tuple(recurrent.recurrence.feeds.values())
        columns = {name for names in self.transforms.inputs.values() for name in names}
        refuse_ignored(given, self.transforms.constants, [name for name in states if name not in columns])
        return raw_columns(self.transforms, given) if self._takes_columns else apply(self.transforms, given)


def load(
    folder: Path | str, *, name: str | None = None, rung: str | None = None, threads: int | None = None
) -> Released:
    """Load a released model from a run's folder, or from its outputs folder wherever that was copied to.

    `name` chooses among several released files (their stem), `rung` among those of a ladder; without either it is the
    first that the recipe lists. `threads` is by default what the recipe's target says.
    Raises RecipeError X340 where nothing was released, X264 for a rung that was not, X303 for a name that is not UTF-8
    and X343 where its engine is not here, StepError X341 where a file is not what was released and X344 where its run
    did not release it, ValueError for `threads` below 1 or a name beside a rung.
    """
    outputs = _outputs(Path(folder))
    if not is_text(str(outputs.absolute())):
        message = f"the name of {outputs} is not UTF-8, and no engine takes it"
        raise RecipeError(Diagnostic("X303", message, help="reach it by a link of another name"))
    _check_number("threads", threads)
    about = _manifest(outputs / MANIFEST)
    _verify(outputs, about["files"])
    _refuse_forged(outputs)
    models = {Path(model["file"]).stem: model for model in about["models"]}
    if name is not None and name not in models:
        raise RecipeError(
            Diagnostic("X340", f"{outputs} holds no model named {name}", help=f"it holds {', '.join(models)}")
        )
    if name is not None and rung is not None:
        raise ValueError(f"name {name} and rung {rung} each choose a file: give one of them")
    chosen = models[name] if name is not None else _of_rung(outputs, about["models"], rung)
    return Released(outputs, about, chosen, threads or about["threads"])


def _of_rung(outputs: Path, models: Sequence[Mapping[str, Any]], rung: str | None) -> Mapping[str, Any]:
    """Return the released file of a rung, the first where none is asked for."""
    rungs = {model["rung"]: model for model in models if "rung" in model}
    if rung is None:
        return models[0]
    if rung not in rungs:
        help_text = f"it holds {', '.join(rungs)}" if rungs else "only a recipe with quantization.adapt releases rungs"
        raise RecipeError(Diagnostic("X264", f"{outputs} holds no rung {rung}", help=help_text))
    return rungs[rung]


def _file(path: Path, kind: str, engine: str) -> Any:
    """Refer to a released file; RecipeError X343 where what brought its engine or its kind is not installed here."""
    brought = backend.get(engine).kinds.get(kind) if engine in backend.names() else None
    if brought is not None:
        return brought.load(path / brought.file if path.is_dir() else path)
    if engine not in backend.names() or kind not in backend.kinds():
        there = ", ".join(backend.names())
        message = (
            f"{path.name} is of kind {kind} and runs in {engine}, which this titrant does not have: it has {there}"
        )
        raise RecipeError(Diagnostic("X343", message, help="install the package that brought it where it was made"))
    return backend.kinds()[kind].load(path)


def _outputs(folder: Path) -> Path:
    for place in (folder / "outputs", folder):
        if (place / MANIFEST).is_file():
            return place
    kept = (folder / "quarantine" / MANIFEST).is_file() or (folder / "record.json").is_file()
    why = "the run did not keep its contract: keep the original model" if kept else "give the folder of a finished run"
    raise RecipeError(Diagnostic("X340", f"there is no released model in {folder}", help=why))


def _manifest(file: Path) -> Mapping[str, Any]:
    """Read what was released; StepError X341 where the file is damaged."""
    try:
        about = json.loads(file.read_text("utf-8"))
        if all(isinstance(about[key], kind) for key, kind in _PARTS.items()) and about["models"]:
            return dict(about)
        why = "a part of it is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"it holds no {error}" if isinstance(error, KeyError) else str(error)
    advice = "run the recipe again: it writes its outputs anew from the store"
    raise StepError(Diagnostic("X341", f"{file} is not the file that was released: {why}", help=advice))


def _check_number(name: str, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{name} is a whole number, 1 or more, not {value!r}")


def _verify(folder: Path, files: Mapping[str, str]) -> None:
    from titrant.schema.values.files import digest_file

    for file, digest in files.items():
        path = folder / file
        if not path.is_file() or digest_file(path) != digest:
            raise StepError(
                Diagnostic(
                    "X341",
                    f"{path} is not the file that was released",
                    help="run the recipe again: it writes its outputs anew from the store",
                )
            )


def _refuse_forged(outputs: Path) -> None:
    """Raise StepError X344 where the run that the outputs lie in did not put them out."""
    from titrant.runtime.store.placed import forged

    if outputs.name == "outputs" and (other := forged(outputs.parent)) is not None:
        message = f"{other.path} is not what the run put out: {other.why}"
        raise StepError(Diagnostic("X344", message, help="run the recipe again: it puts its outputs out anew"))


def _transforms(folder: Path, about: Mapping[str, Any]) -> Transforms | None:
    for item in about["shipped"].values():
        if item["kind"] == "transforms":
            transforms: Transforms = kinds.load("transforms", folder / item["file"])
            return transforms
    return None


def _point(folder: Path, about: Mapping[str, Any]) -> Mapping[str, Any]:
    item = about["shipped"].get("operating_point")
    point: Mapping[str, Any] = json.loads((folder / item["file"]).read_bytes()) if item else {"kind": "argmax"}
    return point
