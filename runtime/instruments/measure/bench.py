"""Time what a command named, in a worker: files, factories, and what a run made and released."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from titrant.runtime.api import Listener
from titrant.runtime.backends import backend
from titrant.runtime.backends.runnable import Runnable
from titrant.runtime.backends.torch.factory import build, seeded
from titrant.runtime.instruments.measure.figures import BenchSettings, SideBySide
from titrant.runtime.instruments.measure.inputs import InputShape, Maker, as_inputs, read_arrays, repeated
from titrant.runtime.instruments.measure.race import InputSource, race
from titrant.runtime.instruments.measure.subjects import (
    BenchSubject,
    engine_runnable,
    file_subject,
    subject_of,
)
from titrant.runtime.user_code import call, resolve
from titrant.runtime.values import Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.record import Artifact
from titrant.schema.values.canonical import plain

ReadArtifact = Callable[[Artifact], Any]


def bench(request: Mapping[str, Any], load: ReadArtifact, listen: Listener) -> SideBySide:
    """Time the subjects of a request on its inputs.

    {"subjects": [{"name", and "file", or "factory", "args", "inputs", or "released", "kind", "engine", "shown", or
    "artifact", "engine", "shown"; "columned" where it takes raw columns}, …], "rows" and "raw": artifacts of a run's
    rows or None, "shapes": those of `InputShape`, "data": a file, module:name or "", "batches": sizes or None,
    "settings": those of `BenchSettings`}; `load` reads an artifact of the store. Raises what `race` raises.
    """
    settings = BenchSettings(**request["settings"])
    raw: Rows | None = None if request.get("raw") is None else load(Artifact(**request["raw"]))
    columns = None if raw is None else repeated(dict(raw.inputs))
    subjects = [_subject(asked, load, settings.seed, columns) for asked in request["subjects"]]
    return race(subjects, _source(request, load), settings, request["batches"], listen)


def answer(request: Mapping[str, Any], load: ReadArtifact, send: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Return {"result": what `bench` answers}, and send how far it is as messages of a worker."""

    def listen(done: float, total: float, note: str) -> None:
        send({"event": "progress", "done": float(done), "total": float(total), "note": note})

    return {"result": plain(bench(request, load, listen))}


def _source(request: Mapping[str, Any], load: ReadArtifact) -> InputSource:
    shapes = tuple(InputShape(name, tuple(sizes), dtype, below) for name, sizes, dtype, below in request["shapes"])
    data = str(request.get("data") or "")
    if data and Path(data).suffix in (".npz", ".npy"):
        return InputSource(data=read_arrays(data), words=f"rows of {Path(data).name}")
    if data:
        function = resolve(data)
        return InputSource(make=lambda batch: as_inputs(call(f"{data}({batch})", function, batch)), words=f"by {data}")
    if shapes or request.get("rows") is None:
        return InputSource(shapes=shapes)
    rows: Rows = load(Artifact(**request["rows"]))
    return InputSource(data=dict(rows.inputs), words=f"{rows.role} rows of the run")


def _subject(asked: Mapping[str, Any], load: ReadArtifact, seed: int, columns: Maker | None) -> BenchSubject:
    name, inputs = asked["name"], columns if asked.get("columned") else None
    if "file" in asked:
        return subject_of(name, asked["file"])
    if "factory" in asked:
        return _built(asked, seed)
    if "released" in asked:
        runnable = _released(Path(asked["released"]), asked["kind"], asked["engine"])
        return file_subject(name, _callable(name, runnable), asked["shown"], inputs)
    artifact = Artifact(**asked["artifact"])
    runnable = _callable(name, engine_runnable(asked["engine"], load(artifact)))
    return BenchSubject(name, runnable, asked["shown"], artifact.digest, artifact.size, inputs)


def _built(asked: Mapping[str, Any], seed: int) -> BenchSubject:
    with seeded(seed):
        module = build(asked["factory"], asked["args"])
    specs = tuple((each["name"], tuple(each["shape"]), each.get("dtype", "float32")) for each in asked["inputs"] or ())
    model = TorchModel(module.cpu().eval(), asked["factory"], asked["args"], "", specs, ())
    made: Sequence[tuple[str, object]] = sorted(asked["args"].items())
    arguments = ", ".join(f"{key}={value!r}" for key, value in made)
    subject = subject_of(asked["name"], model)
    return BenchSubject(subject.name, subject.runnable, f"{asked['factory']}({arguments})", "", subject.size_bytes)


def _released(path: Path, kind: str, engine: str) -> Runnable | None:
    """Return a file that a run released as its engine calls it; a folder holds one graph."""
    file = path / "model.xml" if path.is_dir() and (path / "model.xml").is_file() else path
    runnable: Runnable | None = backend.get(engine).runnable(file)
    return engine_runnable(engine, backend.kinds()[kind].load(path)) if runnable is None else runnable


def _callable(name: str, runnable: Runnable | None) -> Runnable:
    if runnable is None:
        message = f"{name} is weights for somebody else's code, which titrant does not run"
        raise RecipeError(Diagnostic("X672", message, help="measure a function that answers with them"))
    return runnable
