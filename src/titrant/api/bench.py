"""Time models side by side in a process of their own: files, factories, and what runs made and released."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.inspect import is_run
from titrant.api.starter.request import is_reference
from titrant.runtime.instruments.refused.files import no_file
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.files import json_object
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import torch

    from titrant.runtime.api import Listener
    from titrant.runtime.instruments.measure.figures import SideBySide
    from titrant.runtime.store.home import Home

_TIMED = "profile.latency"
_ROWS_GONE = "the rows that the run timed are no longer stored: numbers are drawn unless --data names others"


@dataclass(frozen=True)
class _Named:
    """What one argument stands for: subjects of a request, a run's rows, where its code is, and what is left out."""

    subjects: tuple[Mapping[str, Any], ...]
    rows: Mapping[str, Any] | None = None
    raw: Mapping[str, Any] | None = None
    folder: str = ""
    notes: tuple[str, ...] = ()


def bench(
    models: Sequence[str],
    *,
    input_shapes: Sequence[str] = (),
    data: str | None = None,
    batches: Sequence[int] | None = None,
    iterations: int = 100,
    warmup: int = 10,
    threads: int = 1,
    device: "torch.device | str | None" = None,
    seed: int = 0,
    args: Mapping[str, Any] | None = None,
    input_specs: Sequence[Mapping[str, Any]] | None = None,
    trust: bool = False,
    listen: "Listener | None" = None,
) -> "SideBySide":
    """Time models in turns on the same inputs, in a child process, and return the figures of all.

    Each of `models` is a file (.onnx, .pt2, TorchScript, OpenVINO .xml, a released .safetensors), a factory
    `module:Name` with `args` and `input_specs`, or a run (folder, id, unique prefix, "latest"), which stands for its
    original, its plain conversions and every file that it released. `input_shapes` are `NAME=SIZES:DTYPE:LIMIT`, of
    which only the sizes must stand; `data` is an .npz or .npy file, or a function `module:name` of the batch size. Else
    the inputs are rows of a run, or drawn as the model itself says. `batches` None are 1, 4, 16 and 32, or the batch
    that a shape or a file says. Raises RecipeError for arguments (X671 to X673, P080), StepError for a model that fails
    on the inputs (X683).
    """
    from titrant.runtime.instruments.measure.figures import BenchSettings, SideBySide, checked_settings
    from titrant.runtime.instruments.measure.inputs import parse_shape
    from titrant.runtime.instruments.measure.race import BATCHES
    from titrant.runtime.store.home import open_home
    from titrant.schema.values.canonical import plain, read_back

    settings = checked_settings(
        BenchSettings(iterations, warmup, threads, "" if device is None else str(device), seed), batches
    )
    if not models:
        raise RecipeError(Diagnostic("X672", "no model is named", help="name a file, module:Name or a run"))
    if input_shapes and data:
        raise RecipeError(Diagnostic("X673", "--input-shape and --data say the same", help="give one of them"))
    shapes = [parse_shape(text) for text in input_shapes]
    home = open_home()
    named = [_named(model, home, args, input_specs) for model in models]
    _refuse_unused(named, args=args, inputs=input_specs)
    folder = _folder(named)
    _check_trust([each for item in named for each in item.subjects], data, folder, trust=trust)
    rows = next((item.rows for item in named if item.rows is not None), None)
    raw = next((item.raw for item in named if item.raw is not None), None)
    if batches is None and (data or (rows is not None and not shapes)):
        batches = BATCHES
    request = {
        "do": "bench",
        "subjects": list(_distinct(named, models)),
        "rows": rows,
        "raw": raw,
        "shapes": [[shape.name, list(shape.sizes), shape.dtype, shape.below] for shape in shapes],
        "data": str(Path(data).absolute()) if data and Path(data).suffix in (".npz", ".npy") else data,
        "batches": None if batches is None else list(batches),
        "settings": plain(settings),
    }
    result = read_back(SideBySide, _ask(request, home, folder, listen))
    notes = (*result.notes, *(note for item in named for note in item.notes))
    return replace(result, notes=notes)


def _ask(request: Mapping[str, Any], home: "Home", folder: Path, listen: "Listener | None") -> Any:
    from titrant.runtime.worker.parent import Worker

    def tell(message: Mapping[str, Any]) -> None:
        if listen is not None and message["event"] == "progress":
            listen(message["done"], message["total"], message["note"])

    settings = request["settings"]
    with Worker(home, folder, settings["threads"], settings["seed"]) as worker:
        return worker.ask(request, tell)["result"]


def _named(
    model: str, home: "Home", args: Mapping[str, Any] | None, inputs: Sequence[Mapping[str, Any]] | None
) -> _Named:
    if is_run(model):
        return _of_run(model, home)
    if not Path(model).exists() and is_reference(model):
        factory = {"name": model.rpartition(":")[2], "factory": model, "args": dict(args or {}), "inputs": inputs}
        return _Named((factory,))
    if Path(model).suffix in (".yaml", ".yml"):
        advice = "run it, and name the run: titrant bench latest"
        raise RecipeError(Diagnostic("X672", f"{model} is a recipe, which holds no model", help=advice))
    if not Path(model).exists():
        raise no_file(model, "check the path, list runs with: titrant show runs, or write a factory as module:Name")
    return _Named(({"name": Path(model).name or model, "file": str(Path(model).absolute()), "shown": model},))


def _of_run(name: str, home: "Home") -> _Named:
    """Return the models of a run: its original, plain conversions, and what it released, as far as they are there."""
    from titrant.api.runs import damaged, find_run, read_json
    from titrant.runtime.store.artifacts import Store
    from titrant.runtime.store.placed import forged

    folder = find_run(name, home.path, ended=True)
    if not (folder / "record.json").is_file():
        message = f"the run {folder.name} did not come to its end: nothing of it can be timed"
        raise RecipeError(Diagnostic("P080", message, help="run its recipe again: it goes on where it stopped"))
    if (other := forged(folder)) is not None:
        raise damaged(other.path, other.why)
    plan, record, store = read_json(folder / "plan.json"), read_json(folder / "record.json"), Store(home)
    try:
        timed = next(step for step in plan["steps"] if step["operator"] == _TIMED)
        subjects, notes = [], []
        for model, shown, place in _stored(plan, timed):
            artifact = _artifact(record, place)
            if artifact is None or not store.has(_as_artifact(artifact)):
                notes.append(f"{model}: left out, since it is no longer stored; run the recipe again to have it")
                continue
            columned = model in timed["params"].get("columned", ())
            engine = timed["params"]["engines"][model]
            subjects.append(
                {"name": model, "artifact": artifact, "engine": engine, "shown": shown, "columned": columned}
            )
        manifest = json_object(folder / "outputs" / "titrant.json") or {}
        for released in manifest.get("models", ()):
            path = folder / "outputs" / released["file"]
            subjects.append(
                {
                    "name": released["candidate"], "released": str(path.absolute()), "kind": released["kind"],
                    "engine": released["engine"], "shown": f"outputs/{released['file']}",
                    "columned": released.get("transforms") == "inside",
                }
            )  # fmt: skip
        rows, raw = (_stored_rows(record, timed, store, port) for port in ("rows", "raw"))
        notes += [_ROWS_GONE] if rows is None else []
    except (KeyError, TypeError, StopIteration) as error:
        raise damaged(folder / "plan.json", f"it times nothing ({error})") from None
    if not subjects:
        message = f"the run {folder.name} released nothing, and its original is no longer stored"
        raise RecipeError(Diagnostic("P080", message, help="run its recipe again, or name another run"))
    recipe_folder = str((json_object(folder / "environment.json") or {}).get("recipe_folder", ""))
    return _Named(tuple(subjects), rows, raw, recipe_folder, tuple(notes))


def _stored(plan: Mapping[str, Any], timed: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the original, then the plain conversions: the name, what it is called, and the step's output."""
    candidates = {candidate["id"] for candidate in plan["candidates"]}
    plain = {candidate["plain"] for candidate in plan["candidates"]}
    models = timed["inputs"]["models"]
    for model in sorted(models, key=lambda name: models[name] != plan["original"]):
        if model not in candidates and (model in plain or models[model] == plan["original"]):
            yield model, f"stored by step {models[model].rpartition('.')[0]}", models[model]


def _artifact(record: Mapping[str, Any], place: str) -> Mapping[str, Any] | None:
    """Return what a step of a run gave, as its record says; None where the step was not needed."""
    step, _, output = place.rpartition(".")
    given = next((each["result"] for each in record["steps"] if each["step"] == step), None)
    return None if given is None else given["outputs"].get(output)


def _as_artifact(value: Mapping[str, Any]) -> Any:
    from titrant.schema.record import Artifact

    return Artifact(**value)


def _stored_rows(
    record: Mapping[str, Any], timed: Mapping[str, Any], store: Any, port: str
) -> Mapping[str, Any] | None:
    place = timed["inputs"].get(port)
    artifact = None if place is None else _artifact(record, place)
    return artifact if artifact is not None and store.has(_as_artifact(artifact)) else None


def _refuse_unused(named: Sequence[_Named], **given: object) -> None:
    if any("factory" in subject for item in named for subject in item.subjects):
        return
    unused = [f"--{name}" for name, value in given.items() if value is not None]
    if unused:
        message = f"{unused[0]} has nothing to act on: no factory is named"
        raise RecipeError(Diagnostic("P014", message, help="leave it out"))


def _folder(named: Sequence[_Named]) -> Path:
    """Return where the user's code is looked for: the folder of a run's recipe, else this one."""
    folders = list(dict.fromkeys(item.folder for item in named if item.folder))
    if len(folders) > 1:
        message = f"the runs are of recipes in different folders: {' and '.join(folders[:2])}"
        raise RecipeError(Diagnostic("P080", message, help="time one of them, or the files that they released"))
    return Path(folders[0]) if folders and Path(folders[0]).is_dir() else Path.cwd()


def _check_trust(subjects: Sequence[Mapping[str, Any]], data: str | None, folder: Path, *, trust: bool) -> None:
    """Refuse code from outside this folder unless it is trusted, as a recipe's would be, before any of it runs."""
    from titrant.compiler.bind.bind import bind
    from titrant.schema.language.parse import parse
    from titrant.schema.language.write import dump

    factories: list[Mapping[str, Any]] = [subject for subject in subjects if "factory" in subject]
    made = data if data and Path(data).suffix not in (".npz", ".npy") else None
    if not factories and made is None:
        return
    if made is not None and not is_reference(made):
        message = f"{made} is neither a file of arrays nor a function"
        advice = "give an .npz or .npy file, or module:function, which takes the batch size"
        raise RecipeError(Diagnostic("X673", message, help=advice))
    for subject in factories or [{"factory": "titrant.recipes.models:TabularNet", "args": {}}]:
        model = {"factory": subject["factory"], "args": subject["args"], "weights": "included"}
        specs = subject.get("inputs") or [{"name": "input", "shape": ["batch", 1]}]
        recipe: dict[str, Any] = {
            "titrant": 1,
            "name": "bench",
            "task": "unlabeled",
            "model": model | {"inputs": specs},
        }
        if made is not None:
            recipe["data"] = {"source": {"factory": made}}
        bind(parse(dump(recipe), "bench", folder=folder), trust=trust)


def _distinct(named: Sequence[_Named], models: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the subjects under names that differ: of several arguments each bears its own where names meet."""
    every = [subject["name"] for item in named for subject in item.subjects]
    taken: dict[str, int] = {}
    for item, model in zip(named, models, strict=True):
        for subject in item.subjects:
            name = subject["name"]
            if every.count(name) > 1:
                name = f"{model}: {name}" if len(item.subjects) > 1 else model
            taken[name] = taken.get(name, 0) + 1
            yield {**subject, "name": name if taken[name] == 1 else f"{name} ({taken[name]})"}
