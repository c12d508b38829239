"""Look at a model (a recipe, a file, a factory or a live module), say whether a level suits it, or what a run's run."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.planned import reading
from titrant.api.starter.request import holds_program, is_reference
from titrant.runtime.instruments.refused.files import no_file
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import DataFacts, Hardware, ModelFacts, RoleFacts
from titrant.schema.language.parse import ParsedRecipe, parse, read
from titrant.schema.record import NOT_TRIED, LayerPrecision
from titrant.schema.release import Release
from titrant.schema.values.canonical import read_back
from titrant.schema.values.files import WEIGHT_SUFFIXES, YAML_SUFFIXES
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import is_text

if TYPE_CHECKING:
    from titrant.compiler.bind.bound_recipe import BoundRecipe
    from titrant.compiler.predict.suitability import Suitability
    from titrant.runtime.instruments.architecture.architecture import Architecture
    from titrant.runtime.report.search_values import Sensitivity

# A name for what nobody has named; recipes need one.
_DRAWN = (".svg", ".html", ".htm")  # the endings of a drawing's file
_NAME = "inspected"
_INSPECTED_WHOLE = (".onnx", ".safetensors", *YAML_SUFFIXES)
# Files that hold a graph, by the key of `model` that takes them.
_FILES = {"onnx": "an ONNX file", "torchscript": "a TorchScript file", "exported": "a torch.export file"}
# Stands for inputs that are not known: layers are looked at, what they answer is not.
_UNKNOWN_INPUTS: tuple[dict[str, Any], ...] = ({"name": "input", "shape": ["batch", 1]},)


@dataclass(frozen=True)
class Inspected:
    """What was found out: the model, the data where a recipe names some, and how a level suits, where asked."""

    subject: str
    model: ModelFacts
    data: DataFacts | None = None
    suitability: "Suitability | None" = None
    release: Release | None = None  # what a file that titrant released says of itself
    architecture: "Architecture | None" = None  # its layers and how data flows, where it was `drawn`

    def save(self, file: Path | str) -> Path:
        """Write what was found out to a page (.html), or the drawing alone (.svg), and return its path.

        RecipeError X662 for any other suffix, X721 for a file that cannot be written, X720 where it was not `drawn`.
        """
        check_out(str(file))
        if self.architecture is None:
            message = f"{self.subject} was inspected without its architecture"
            raise RecipeError(Diagnostic("X720", message, help="ask for it: titrant.inspect(…, drawn=True)"))
        return self.architecture.save(Path(file))


def check_out(file: str) -> None:
    """Raise RecipeError before any work is done: X662 for a file that no drawing has, X721 for no such folder."""
    path = Path(file)
    if path.suffix.lower() not in _DRAWN:
        message = f"an architecture cannot be saved as {path.name}"
        raise RecipeError(Diagnostic("X662", message, help="give it a name that ends in .svg or .html"))
    if not path.parent.is_dir():
        message = f"{file} cannot be written: there is no folder {path.parent}"
        raise RecipeError(Diagnostic("X721", message, help="make the folder first, or name another"))


@dataclass(frozen=True)
class RunLayers:
    """How the engine of each of a run's candidates runs the layers of the original, beside what was planned.

    `layers` maps a candidate's id to them; one that was not made has none. `released` are ids. `sensitivity` says what
    each region does to the answers in lower precision alone, by the candidate whose mixtures were searched.
    `not_tried` are the ids of what was to mend another candidate, and was not asked for; they are not in `layers`.
    """

    run: str
    released: tuple[str, ...]
    layers: Mapping[str, tuple[LayerPrecision, ...]]
    sensitivity: "Mapping[str, Sensitivity]" = field(default_factory=dict)
    not_tried: tuple[str, ...] = ()


def is_run(subject: str) -> bool:
    """Tell a run (its folder, its id or a prefix of it, `latest`) from a model."""
    if subject == "latest" or (Path(subject) / "plan.json").is_file():
        return True
    if Path(subject).suffix or Path(subject).exists() or is_reference(subject):
        return False
    from titrant.runtime.store.home import home_folder

    return any(folder.name.startswith(subject) for folder in (home_folder() / "runs").glob("*"))


def inspect_run(run: str) -> RunLayers:
    """Return what the engines of a run's candidates really run; `run` is a folder, an id, a unique prefix or "latest".

    Raises RecipeError for a run that there is not, that did not come to its end, or whose record is damaged.
    """
    from titrant.api.runs import damaged, find_run, read_json
    from titrant.runtime.store.home import home_folder

    folder = find_run(run, home_folder(), ended=True)
    file = folder / "record.json"
    if not file.is_file():
        message = f"the run {folder.name} did not come to its end: nothing is known of what its engines run"
        raise RecipeError(Diagnostic("P080", message, help="run its recipe again: it goes on where it stopped"))
    record = read_json(file)
    try:
        layers = {
            str(candidate["candidate"]): tuple(LayerPrecision(**layer) for layer in candidate.get("layers", ()))
            for candidate in record["candidates"]
        }
        untried = tuple(each["candidate"] for each in record["candidates"] if each.get("status") == NOT_TRIED)
        made = {name: layers[name] for name in layers if name not in untried}
        damages = _sensitivity(folder / "report.json")
        return RunLayers(folder.name, tuple(record["released"]), made, damages, untried)
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(file, f"it holds no run ({error})") from None


def _sensitivity(file: Path) -> "Mapping[str, Sensitivity]":
    """Read what a run found out of its regions; {} where it has no report, or searched no mixture."""
    from titrant.api.runs import read_json
    from titrant.runtime.report.search_values import read_sensitivity

    if not file.is_file():
        return {}
    values = (read_json(file).get("record") or {}).get("values") or {}
    return read_sensitivity(values.get("sensitivity") or {})


def inspect(
    subject: str,
    *,
    level: str | None = None,
    args: Mapping[str, Any] | None = None,
    input_specs: Sequence[Mapping[str, Any]] | None = None,
    overrides: Sequence[str] = (),
    hardware: Hardware | None = None,
    trust: bool = False,
    drawn: bool = False,
) -> Inspected:
    """Inspect a recipe, a file with a graph or weights, or a factory `module:Name` with its `args` and `input_specs`.

    Graphs are in .onnx, .pt2 (torch.export) and TorchScript files; the latter do not say the shapes of their inputs.

    `input_specs` are as `model.inputs` has them: name, shape, dtype; without them a factory's layers are counted and
    its FLOPs are not. A model is looked at in a child process, without its weights' values, and the answer is kept.
    `level` ("auto" for the recipe's, or the planner's choice) asks how it suits. With `drawn` the answer has the
    architecture, which its `save` writes as a picture or a page. Raises RecipeError, or StepError when the user's own
    code fails.
    """
    suffix = Path(subject).suffix.lower()
    if suffix in YAML_SUFFIXES:
        _refuse({"args": args, "inputs": input_specs}, "a recipe, which has its own")
        levels = [] if level in (None, "auto") else [f"level={level}"]
        parsed = read(Path(subject), [*overrides, *levels])
        return inspect_recipe(subject, parsed, level, hardware, trust=trust, drawn=drawn)
    if overrides:
        raise RecipeError(Diagnostic("P014", f"--set has nothing to act on in {subject}", help="give a recipe"))
    source = source_of(Path(subject))
    if not source and subject.lower().endswith(WEIGHT_SUFFIXES):
        return _weights(subject, level, args, input_specs, drawn=drawn)
    if source:
        says = source != "torchscript"  # a script names its inputs, and says nothing of their shapes
        _refuse({"args": args, "inputs": input_specs if says else None}, _FILES[source])
        if not is_text(str(Path(subject).absolute())):
            advice = "reach it by a link of another name"
            raise RecipeError(Diagnostic("P080", f"the name of {subject} is not UTF-8", help=advice))
        if not Path(subject).is_file():
            raise no_file(subject)
    elif not is_reference(subject):
        raise _no_model(subject)
    parsed = bare_recipe(subject, level or "auto", args, input_specs)
    shown = input_specs is not None or source in ("onnx", "exported")
    return _bare(subject, parsed, level, hardware, trust=trust, shown=shown, drawn=drawn)


def inspect_recipe(
    subject: str, parsed: ParsedRecipe, level: str | None, hardware: Hardware | None, *, trust: bool, drawn: bool
) -> Inspected:
    """Inspect the model of a parsed recipe, which need not be a file; see `inspect`."""
    from titrant.api.plan import inspector
    from titrant.compiler.bind.bind import bind
    from titrant.compiler.facts.inspect import facts
    from titrant.compiler.predict.suitability import suitability_of
    from titrant.runtime.store.home import open_home

    bound, home = bind(parsed, trust=trust), open_home()
    with inspector(bound, home) as (ask, _):
        inspected = facts(bound, ask, home.path / "facts", contents=False, drawn=drawn)
        machine = None if level is None else hardware or _machine(home.path)
        verdict = None if machine is None else suitability_of(bound, machine, inspected.model, inspected.data)
    return Inspected(
        subject,
        inspected.model,
        inspected.data,
        verdict,
        architecture=_architecture(inspected.architecture, inspected.model),
    )


def _architecture(values: Mapping[str, Any] | None, facts: ModelFacts) -> "Architecture | None":
    if values is None:
        return None
    from titrant.runtime.instruments.architecture.architecture import Architecture
    from titrant.runtime.instruments.architecture.layer_graph import LayerGraph

    return Architecture(read_back(LayerGraph, values), facts)


def source_of(file: Path) -> str:
    """Return the key of a recipe's `model` that takes a file with a graph in it; "" for any other."""
    if file.suffix.lower() in (".onnx", ".pt2"):
        return "onnx" if file.suffix.lower() == ".onnx" else "exported"
    return "torchscript" if file.is_file() and holds_program(file) else ""


def _weights(
    subject: str,
    level: str | None,
    args: Mapping[str, Any] | None,
    inputs: Sequence[Mapping[str, Any]] | None,
    *,
    drawn: bool,
) -> Inspected:
    from titrant.runtime.inspect.weights import describe_weights

    _refuse({"args": args, "inputs": inputs}, "a weights file")
    file = Path(subject)
    if not file.is_file():
        raise _no_model(subject)
    if file.suffix.lower() != ".safetensors":
        message = f"{file.name} can only be read with torch, and holds no model"
        raise RecipeError(Diagnostic("P080", message, help="name the factory that takes these weights: module:Name"))
    if level is not None:
        message = f"{file.name} holds weights and no model: what a method makes of them depends on the layers"
        raise RecipeError(Diagnostic("P080", message, help="name the factory that takes these weights, or a recipe"))
    facts = describe_weights(file)
    if not drawn:
        return Inspected(subject, facts, release=release_of(file))
    from titrant.runtime.instruments.architecture.architecture import Architecture
    from titrant.runtime.instruments.architecture.layer_graph import of_layers

    note = "the file holds weights and no model: what becomes of them is not known"
    drawn_weights = Architecture(of_layers(file.name, facts.layers, (note,)), facts)
    return Inspected(subject, facts, release=release_of(file), architecture=drawn_weights)


def release_alone(subject: str) -> Release | None:
    """Return what a released program, or folder of files, says of itself: of such nothing else is looked at.

    None for what is inspected whole, or says nothing.
    """
    from titrant.runtime.backends import backend

    path = Path(subject)
    if path.suffix.lower() in _INSPECTED_WHOLE:
        return None
    if path.is_file():
        return release_of(path)
    names = {kind.stamp.file: None for kind in backend.kinds().values() if kind.stamp is not None}
    said = (release_of(path / name) for name in names if (path / name).is_file())
    return next((release for release in said if release is not None), None)


def release_of(file: Path) -> Release | None:
    """Return what a file that titrant released says of itself; None where it says nothing that can be read."""
    from titrant.runtime.backends import backend

    stamps = (kind.stamp for kind in backend.kinds().values() if kind.stamp is not None)
    for stamp in stamps:
        if Path(stamp.file).suffix == file.suffix.lower():
            with suppress(OSError, ValueError):
                return read_back(Release, json.loads(stamp.read(file)))
    return None


def bare_recipe(
    subject: str, level: str, args: Mapping[str, Any] | None, inputs: Sequence[Mapping[str, Any]] | None
) -> ParsedRecipe:
    """Write the recipe that stands for a model without one; it stands in the current folder."""
    from titrant.schema.language.write import dump

    source = source_of(Path(subject))
    model: dict[str, Any] = {source: str(Path(subject).absolute())} if source else {}
    if not source:
        model = {"factory": subject, "args": dict(args or {}), "weights": "included"}
        model |= {} if args else {"args": {}}
    model["inputs"] = [dict(spec) for spec in inputs or _UNKNOWN_INPUTS]
    text = dump({"titrant": 1, "name": _NAME, "level": level, "task": "unlabeled", "model": model})
    return parse(text, "inspected", folder=Path.cwd())


def _bare(
    subject: str,
    parsed: ParsedRecipe,
    level: str | None,
    hardware: Hardware | None,
    *,
    trust: bool,
    shown: bool,
    drawn: bool,
) -> Inspected:
    from titrant.api.plan import inspector
    from titrant.compiler.bind.bind import bind
    from titrant.compiler.facts.inspect import model_facts
    from titrant.runtime.store.home import open_home

    bound, home = bind(parsed, trust=trust), open_home()
    with reading(), inspector(bound, home) as (ask, _):
        cache, first_look = home.path / "facts", level is None
        model, values = model_facts(bound, ask, cache, shown=shown, drawn=drawn, first_look=first_look)
    architecture = _architecture(values, model)
    release = release_of(Path(subject)) if Path(subject).is_file() else None
    if level is None:
        return Inspected(subject, model, release=release, architecture=architecture)
    suitability = bare_suitability(bound, model, level, hardware or _machine(home.path))
    return Inspected(subject, model, None, suitability, release, architecture)


def bare_suitability(bound: "BoundRecipe", model: ModelFacts, level: str, hardware: Hardware) -> "Suitability":
    """Ask how a level suits a model without a recipe, as if there were rows to calibrate with."""
    from titrant.compiler.predict.suitability import suitability_of
    from titrant.runtime.cost.forward import ASSUMED_ROWS
    from titrant.schema.recipe.data import Data

    recipe = bound.recipe
    # A source that is never read: it says that there will be real rows.
    data = Data.model_validate({"source": {"sklearn": "digits"}})
    with_rows = recipe.model_copy(update={"data": data, "level": level})
    rows = {"calibration": RoleFacts(rows=ASSUMED_ROWS, units=ASSUMED_ROWS)}
    facts = DataFacts(digest="", rows=0, columns=(), classes=(), positive=None, inputs=model.inputs, roles=rows)
    suitability = suitability_of(replace(bound, recipe=with_rows), hardware, model, facts)
    because = "asked for" if level != "auto" else suitability.because
    return replace(suitability, because=f"{because}; assuming that there are rows to calibrate with")


def _machine(home: Path) -> Hardware:
    from titrant.compiler.machine.detect import detect

    return detect(home)


def _refuse(given: Mapping[str, object], what: str) -> None:
    named = [f"--{name}" for name, value in given.items() if value is not None]
    if named:
        raise RecipeError(Diagnostic("P014", f"{named[0]} has nothing to act on in {what}", help="leave it out"))


def _no_model(subject: str) -> RecipeError:
    advice = "give a recipe (.yaml), an .onnx, .pt2, TorchScript or .safetensors file, or a factory: module:Name"
    if not Path(subject).is_file():
        return no_file(subject, advice)
    return RecipeError(Diagnostic("P080", f"{subject} is not a model that titrant looks at", help=advice))
