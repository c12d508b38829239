"""Look inside what a command names, in a child process: health, attention, or two models side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.inspect import bare_recipe, is_run, source_of
from titrant.api.starter.request import is_reference
from titrant.runtime.instruments.refused.files import no_file
from titrant.runtime.instruments.refused.numbers import check_whole
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.parse import ParsedRecipe, read
from titrant.schema.values.canonical import read_back
from titrant.schema.values.files import WEIGHT_SUFFIXES, YAML_SUFFIXES
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.api.advise import Advised
    from titrant.compiler.bind.bound_recipe import BoundRecipe
    from titrant.runtime.instruments.attention.seen import AttentionSeen
    from titrant.runtime.instruments.comparison.difference import ModelComparison
    from titrant.runtime.instruments.health.finding import ModelHealth
    from titrant.runtime.page.section import PageSection

    SeenInside = ModelHealth | AttentionSeen | ModelComparison

# Any model stands for one in the recipe that a child process is started with.
_ANY = "titrant.recipes.models:TabularNet"
_ROWS = 8
_READ = "give a recipe (.yaml), an .onnx, .pt2, TorchScript or weights file, a factory (module:Name), or a run"


@dataclass(frozen=True)
class NamedModel:
    """A model as a command names it, with the arguments and inputs of a factory and what overrides a recipe."""

    subject: str
    args: Mapping[str, Any] | None = None
    inputs: Sequence[Mapping[str, Any]] | None = None
    overrides: Sequence[str] = ()
    trust: bool = False


@dataclass(frozen=True)
class RowsAsked:
    """The inputs that models answer: `data` (.npz, .npy), else `count` cases of a run's own, else drawn by `seed`."""

    count: int | None = None
    data: Path | None = None
    seed: int = 42

    @property
    def any(self) -> bool:
        """Whether rows were asked for at all."""
        return self.count is not None or self.data is not None


def inspect_health(model: NamedModel, rows: RowsAsked) -> "ModelHealth":
    """Return the health of a model; what its layers answer only where rows are asked for. Raises as `check_health`."""
    from titrant.runtime.instruments.health.finding import ModelHealth

    return read_back(ModelHealth, _look("health", [model], rows, given=rows.any))


def inspect_attention(model: NamedModel, rows: RowsAsked, *, tokens: bool = False) -> "AttentionSeen":
    """Return what there is to be seen of a model's attention; with `tokens` the first row's are named.

    Raises as `capture_attention`.
    """
    from titrant.runtime.instruments.attention.seen import AttentionSeen

    return read_back(AttentionSeen, _look("attention", [model], rows, given=True, tokens=tokens))


def inspect_advice(model: NamedModel, rows: RowsAsked) -> "Advised":
    """Time a model's layers and batches in a child process, and return what the figures speak for.

    Raises as `titrant.advise` does.
    """
    from titrant.api.advise import LEVEL, advised
    from titrant.api.inspect import inspect
    from titrant.runtime.instruments.advice import MeasuredModel

    figures = read_back(MeasuredModel, _look("advice", [model], rows, given=True))
    if is_run(model.subject):  # what it released is quantized or not; its recipe says what else there is
        return advised(figures, None)
    inspected = inspect(
        model.subject,
        level=LEVEL,
        args=model.args,
        input_specs=model.inputs,
        overrides=model.overrides,
        trust=model.trust,
    )
    return advised(figures, inspected.suitability)


def advise_draft(parsed: ParsedRecipe, *, trust: bool) -> "Advised":
    """Return what the figures of a recipe's model speak for, before the recipe is a file."""
    from titrant.api.advise import LEVEL, advised
    from titrant.api.inspect import inspect_recipe
    from titrant.runtime.instruments.advice import MeasuredModel

    opened = _bound(NamedModel(parsed.recipe.name, trust=trust), parsed)
    figures = read_back(MeasuredModel, _seen("advice", [opened], RowsAsked(), given=True))
    inspected = inspect_recipe(parsed.recipe.name, parsed, LEVEL, None, trust=trust, drawn=False)
    return advised(figures, inspected.suitability)


def inspect_pair(first: NamedModel, second: NamedModel, rows: RowsAsked) -> "ModelComparison":
    """Return two models side by side; a run is its original in the first place, what it released in the second.

    Raises as `compare_models`.
    """
    from titrant.runtime.instruments.comparison.difference import ModelComparison

    return read_back(ModelComparison, _look("comparison", [first, second], rows, given=True))


def _look(
    what: str, models: Sequence[NamedModel], rows: RowsAsked, *, given: bool, tokens: bool = False
) -> Mapping[str, Any]:
    if rows.count is not None:
        check_whole("--rows", rows.count, 1)
    if rows.data is not None and not rows.data.is_file():
        raise no_file(rows.data)
    opened = [_opened(model, released=place > 0) for place, model in enumerate(models)]
    return _seen(what, opened, rows, given=given, tokens=tokens)


def _seen(
    what: str, opened: "Sequence[_Opened]", rows: RowsAsked, *, given: bool, tokens: bool = False
) -> Mapping[str, Any]:
    """Ask the child process about models that are opened."""
    from titrant.api.plan import inspector
    from titrant.compiler.bind.bind import bind
    from titrant.runtime.store.home import open_home

    home = open_home()
    bound = next((each.bound for each in opened if each.bound is not None), None)
    bound = bind(bare_recipe(_ANY, "auto", None, None)) if bound is None else bound
    runs = given and (what != "comparison" or not any(each.weights for each in opened))
    with inspector(bound, home) as (ask, _):
        subjects = [each.subject(ask, home.path / "facts") for each in opened]
        request = {
            "do": "look", "look": what, "seed": rows.seed, "subjects": subjects, "tokens": tokens,
            "rows": _rows(rows, opened) if runs else None,
        }  # fmt: skip
        seen: Mapping[str, Any] = ask(request)["seen"]
    return seen


@dataclass(frozen=True)
class _Opened:
    """What a name stands for: a recipe that is bound, or a subject as the child process takes it.

    `own_rows` are a run's tuning rows, `weights` says that it is a file without a model, `specs` name its inputs where
    the command does.
    """

    name: str
    bound: "BoundRecipe | None" = None
    file_or_artifact: Mapping[str, Any] | None = None
    weights: bool = False
    own_rows: Mapping[str, Any] | None = None
    specs: Sequence[Any] = ()

    def subject(self, ask: Any, cache: Path) -> Mapping[str, Any]:
        """Return it as the child process takes it; of a recipe with data, with what these say of its inputs."""
        if self.bound is None:
            return {"name": self.name, **(self.file_or_artifact or {})}
        from titrant.compiler.facts.inspect import digest_files, facts
        from titrant.compiler.facts.load_steps import model_load
        from titrant.schema.values.canonical import plain

        operator, params = model_load(self.bound, digest_files(self.bound))
        if "inputs" in params:
            params["inputs"] = [] if not self.specs else params["inputs"]
        data = None if self.bound.recipe.data is None else plain(facts(self.bound, ask, cache, contents=False).data)
        return {"name": self.name, "operator": operator, "params": params, "data": data}


def _opened(model: NamedModel, *, released: bool) -> _Opened:
    """Tell what a name stands for; a run is what it `released`, else its original."""
    path = Path(model.subject)
    if is_run(model.subject):
        return _of_run(model.subject, released=released)
    if path.suffix.lower() in YAML_SUFFIXES:
        return _bound(model, read(path, list(model.overrides)))
    if model.overrides:
        raise RecipeError(Diagnostic("P014", f"--set has nothing to act on in {model.subject}", help="give a recipe"))
    if path.is_file():
        weights = not source_of(path) and path.name.lower().endswith(WEIGHT_SUFFIXES)
        return _Opened(
            model.subject, file_or_artifact={"file": str(path.absolute())}, weights=weights, specs=_specs(model)
        )
    if not is_reference(model.subject):
        raise no_file(path, _READ)
    return _bound(model, bare_recipe(model.subject, "auto", model.args, model.inputs))


def _bound(model: NamedModel, parsed: ParsedRecipe) -> _Opened:
    from titrant.compiler.bind.bind import bind

    return _Opened(model.subject, bind(parsed, trust=model.trust), specs=_specs(model))


def _specs(model: NamedModel) -> list[list[Any]]:
    return [[spec["name"], list(spec["shape"]), spec.get("dtype", "float32")] for spec in model.inputs or ()]


def _of_run(name: str, *, released: bool) -> _Opened:
    """Return a run's original, or the first file that it released, with its tuning rows as they are stored."""
    from titrant.api.runs import damaged, find_run, read_json
    from titrant.api.validate import released_file
    from titrant.runtime.store.artifacts import Store
    from titrant.runtime.store.home import home_folder, open_home
    from titrant.schema.record import Artifact

    folder = find_run(name, home_folder(), ended=True)
    record, plan = read_json(folder / "record.json"), read_json(folder / "plan.json")
    store = Store(open_home())
    try:
        made = {each["step"]: each["result"]["outputs"] for each in record["steps"] if each.get("result")}
        step, _, port = plan["original"].rpartition(".")
        original = made.get(step, {}).get(port)
        rows = made.get("transform", {}).get("tuning")
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(folder / "record.json", f"it holds no run ({error})") from None
    kept = rows if rows is not None and store.has(Artifact(**rows)) else None
    if released:
        return _Opened(f"{name} released", file_or_artifact={"file": str(released_file(folder).path)}, own_rows=kept)
    if original is None or not store.has(Artifact(**original)):
        message = f"the original of {folder.name} is no longer stored"
        raise RecipeError(Diagnostic("P080", message, help="run its recipe again, or name its recipe"))
    return _Opened(f"{name} original", file_or_artifact={"artifact": original}, own_rows=kept)


def _rows(rows: RowsAsked, opened: Sequence[_Opened]) -> dict[str, Any]:
    """Return which inputs are answered, as the child process takes it."""
    if rows.data is not None:
        return {"file": str(rows.data.absolute())}
    count = _ROWS if rows.count is None else rows.count
    own = next((each.own_rows for each in opened if each.own_rows is not None), None)
    if own is not None:
        return {"artifact": own, "most": count}
    return {"drawn": count, "specs": next((list(each.specs) for each in opened if each.specs), [])}


def inside_text(seen: "SeenInside", *, whole: bool = False) -> str:
    """Write what was seen in at most 100 columns; `whole` shortens nothing."""
    from titrant.runtime.instruments.attention.seen import attention_text
    from titrant.runtime.instruments.comparison.difference import ModelComparison, comparison_text
    from titrant.runtime.instruments.health.finding import ModelHealth, health_text

    if isinstance(seen, ModelHealth):
        return health_text(seen, whole=whole)
    if isinstance(seen, ModelComparison):
        return comparison_text(seen, whole=whole)
    return attention_text(seen)


def save_inside(seen: "SeenInside", name: str, file: Path) -> Path:
    """Write what was seen of a model of that name as a page (.html), and return its path.

    RecipeError X662 for any other suffix, X721 for a file that cannot be written.
    """
    from titrant.runtime.page.write import page_html
    from titrant.schema.values.text import os_reason

    if file.suffix.lower() not in (".html", ".htm"):
        message = f"what was seen inside a model cannot be saved as {file.name}"
        raise RecipeError(Diagnostic("X662", message, help="give it a name that ends in .html, or take --json"))
    page = page_html(name, _sections(seen, name), brand="titrant inspect")
    try:
        file.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        message = f"{file} cannot be written: {os_reason(error)}"
        raise RecipeError(Diagnostic("X721", message, help="name a file in a folder that exists")) from None
    return file


def _sections(seen: "SeenInside", name: str) -> "tuple[PageSection, ...]":
    from titrant.runtime.instruments.attention.section import attention_sections
    from titrant.runtime.instruments.comparison.difference import ModelComparison
    from titrant.runtime.instruments.comparison.section import comparison_sections
    from titrant.runtime.instruments.health.finding import ModelHealth
    from titrant.runtime.instruments.health.section import health_section

    if isinstance(seen, ModelComparison):
        return comparison_sections(seen)
    if isinstance(seen, ModelHealth):
        return (health_section({name: seen}),)
    return attention_sections({name: seen})
