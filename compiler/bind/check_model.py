"""Check the quantization method and the formats, and the inputs, outputs and layers that inspection found."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from titrant.compiler.bind.bound_recipe import CheckInput, Finding, meant
from titrant.compiler.bind.check_reduction import option_findings
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.backends.model_kind import ModelKind
from titrant.runtime.catalog import LEAVE, Declaration
from titrant.runtime.method import Method
from titrant.schema.facts import DataFacts, ModelFacts, TensorSpec
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.deploy import Export
from titrant.schema.recurrent import steps_of

Dimension = int | str

_ADAPT: KeyPath = ("quantization", "adapt")
# The lists of patterns that a recipe can hold.
LISTS = (("quantization", "skip"), ("quantization", "only"))
_REDUCED = (("reduction", "pruning", "skip"), ("reduction", "factorize", "skip"))

_BITS = "bits"

_CLASSES_GIVEN = "write `classes: auto`, or name the output that holds the classes under `model.output`"
_CLASSES_LISTED = "`data.classes` lists all of the model's classes, in the order of its outputs"
# What scikit-learn's converters call the output that a class is decided from.
_PROBABILITIES = ("probabilities", "output_probability")
_CLASSES_MADE = "build the model's last layer from `classes`, or name the output that holds them under `model.output`"


def method_fits(given: CheckInput) -> Iterator[Finding]:
    """Check an explicit method against its operator, the model, the engine and every format asked for."""
    quantization = given.recipe.quantization
    declaration = _declaration(quantization.method)
    if declaration is None or declaration.method is None:
        yield from _options_without_method(given)
        return
    method = declaration.method
    path: KeyPath = ("quantization", "options")
    yield from option_findings(given, declaration, quantization.options, path, method.name)
    if _BITS in quantization.options:  # levels and safeguards look there
        message = f"`{_BITS}` is a key of `quantization` itself"
        advice = f"write `quantization.bits: {quantization.options[_BITS]}`, beside `method`"
        yield given.finding("R107", (*path, _BITS), message, advice, part="key")
    if quantization.bits != "auto" and quantization.bits not in method.bits:
        offers = " or ".join(f"`{bits}`" for bits in method.bits)
        message = f"`{method.name}` does not offer {quantization.bits} bits"
        yield given.finding("R108", ("quantization", "bits"), message, f"it offers {offers}; or leave `bits` out")
    original, taken = _original(given), backend.kinds().get(method.takes)
    if original is not None and taken is not None and backend.conversion(original.name, taken.name) is None:
        message = f"`{method.name}` takes {taken.title}, and the model is {original.title}"
        others = " or ".join(f"`{name}`" for name in _taking(original))
        choose = f"choose {others}, or " * bool(others)
        otherwise = f"give {taken.title} as `model.{taken.sources[0]}`" if taken.sources else "leave it to `auto`"
        advice = f"{choose}{otherwise}"
        yield given.finding("R108", ("quantization", "method"), message, advice)
        return
    yield from _formats(given, method)
    yield from _engine(given, method)


def _original(given: CheckInput) -> ModelKind | None:
    """Return the kind of the model as the recipe gives it; None for a source that no engine loads."""
    source = given.recipe.model.source
    return next((kind for kind in backend.kinds().values() if source in kind.sources), None)


def _taking(original: ModelKind) -> Iterator[str]:
    """Yield the methods that take a kind, the most aggressive first."""
    for name in reversed(catalog.quantization_methods()):
        method = catalog.get(catalog.method_operator(name)).method
        if method is not None and backend.conversion(original.name, method.takes) is not None:
            yield name


def _declaration(method: str) -> Declaration | None:
    if method in ("auto", "none") or ":" in method:
        return None
    operator = catalog.method_operator(method)
    return catalog.get(operator) if operator in catalog.names() else None


def _options_without_method(given: CheckInput) -> Iterator[Finding]:
    method = given.recipe.quantization.method
    if given.recipe.quantization.options and method in ("auto", "none"):
        message = f"`options` are an operator's own, and `method` is `{method}`"
        advice = "name the method that they belong to, or take them out"
        yield given.finding("R107", ("quantization", "options"), message, advice, part="key")


def _formats(given: CheckInput, method: Method) -> Iterator[Finding]:
    for place, export in enumerate(given.recipe.export):
        if export.format in backend.formats() and export.format != method.format:
            message = f"`{export.format}` cannot hold what `{method.name}` makes"
            advice = f"write `{method.format}`, or choose another method"
            yield given.finding("R108", ("export", place, "format"), message, advice)


def _engine(given: CheckInput, method: Method) -> Iterator[Finding]:
    engine = given.recipe.target.engine
    if engine in backend.names() and engine != method.engine:
        message = f"`{method.name}` runs in {method.engine}, and `target.engine` is `{engine}`"
        advice = f"write `{method.engine}`, or choose another method"
        yield given.finding("R108", ("target", "engine"), message, advice)


def formats_fit(given: CheckInput) -> Iterator[Finding]:
    """Check formats against the model and the engine, and that no two files get one name."""
    recipe = given.recipe
    engine = recipe.target.engine
    original = _original(given)
    if original is not None and engine in backend.names() and not _reachable(original, backend.formats_of(engine)):
        runs = backend.engines_of(original.name)[0]
        message = f"{original.title} runs in {runs}, and `target.engine` is `{engine}`"
        yield given.finding("R108", ("target", "engine"), message, f"write `{runs}` or `auto`")
    for place, export in enumerate(recipe.export):
        yield from _format(given, place, export, original)
    yield from _names(given)


def _format(given: CheckInput, place: int, export: Export, original: ModelKind | None) -> Iterator[Finding]:
    form, engine = export.format, given.recipe.target.engine
    path: KeyPath = ("export", place, "format")
    keeps_file = original is not None and original.is_graph
    if original is not None and keeps_file and form in ("auto", original.format) and export.opset is not None:
        message = f"{original.title} keeps its own opset"
        yield given.finding("R108", ("export", place, "opset"), message, "take `opset` out", part="key")
        return
    if form not in backend.formats():
        return
    kind = backend.kind_of_format(form)
    # Any other method settles engine and format, and `method_fits` has looked at both.
    method_is_open = given.recipe.quantization.method in ("auto", "none")
    if original is not None and not _can_become(original, kind):
        instead = " or ".join(f"`{name}`" for name in _reachable(original, backend.formats()))
        message = f"{original.title} cannot become {kind.label}"
        yield given.finding("R108", path, message, f"write {instead}, or give a torch module as `model.factory`")
    elif method_is_open and engine in backend.names() and form not in backend.formats_of(engine):
        message = f"`{form}` runs in {backend.engines_of(kind.name)[0]}, and `target.engine` is `{engine}`"
        advice = f"write `{backend.formats_of(engine)[0]}`, or another engine"
        yield given.finding("R108", path, message, advice)


def _can_become(original: ModelKind, kind: ModelKind) -> bool:
    """Whether conversions, or a method, lead from a kind to another."""
    if backend.conversion(original.name, kind.name) is not None:
        return True
    methods = (catalog.get(catalog.method_operator(name)).method for name in catalog.quantization_methods())
    return any(
        method.format == kind.format and backend.conversion(original.name, method.takes) is not None
        for method in methods
        if method is not None
    )


def _reachable(original: ModelKind, forms: Iterable[str]) -> tuple[str, ...]:
    """Return those of some formats that an original can become."""
    return tuple(
        form for form in forms if backend.conversion(original.name, backend.kind_of_format(form).name) is not None
    )


def _names(given: CheckInput) -> Iterator[Finding]:
    exports = given.recipe.export
    winners = {export.name or "model" for export in exports if export.format == "auto"}
    for place, export in enumerate(exports):
        if export.format != "auto" and (export.name or "model") in winners:
            message = f"this file and the one of format `auto` would both be named `{export.name or 'model'}`"
            yield given.finding("R115", ("export", place), message, "give one of them a `name`")


def inputs_fit(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check that the data gives every input of the model, in its shape and sort of number."""
    offered = {spec.name: spec for spec in data.inputs}
    path: KeyPath = ("model", "inputs") if given.written("model", "inputs") else ("model",)
    for needed in model.inputs:
        if needed.name not in offered:
            message = f"the model takes an input `{needed.name}`, and the data gives none of that name"
            advice = f"{meant(needed.name, offered, 'it gives')} Inputs are matched by name: set `model.inputs`"
            yield given.finding("R136", (*path, needed.name), message, advice, part="key")
            continue
        offer = offered[needed.name]
        stepped = model.state is not None and steps_of(needed.shape, offer.shape) is not None
        if not stepped and not _same_shape(needed.shape[1:], offer.shape[1:]):
            message = f"the model's input `{needed.name}` is {_shape(needed)}, and the data gives {_shape(offer)}"
            advice = "change the model's arguments, `data.inputs`, or the transforms"
            if data.indicators:
                count = f"{len(data.indicators):,} of its numbers say where a gap was filled"
                advice = f"{count}: take `indicator` out of `impute`, or {advice}"
            yield given.finding("R136", (*path, needed.name), message, advice, part="key")
        elif _is_whole(needed.dtype) != _is_whole(offer.dtype):
            message = f"the model's input `{needed.name}` is {needed.dtype}, and the data gives {offer.dtype}"
            advice = "whole numbers and fractions are not converted silently: change one of the two"
            yield given.finding("R136", (*path, needed.name), message, advice, part="key")


def _same_shape(shape: tuple[Dimension, ...], other: tuple[Dimension, ...]) -> bool:
    """Compare shapes; a free size, which is text, fits every number."""
    return len(shape) == len(other) and all(
        isinstance(a, str) or isinstance(b, str) or a == b for a, b in zip(shape, other, strict=True)
    )


def _is_whole(dtype: str) -> bool:
    return "int" in dtype or dtype == "bool"


def outputs_fit(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check that the output that is judged is there and has a number for each class."""
    named = {spec.name: spec for spec in model.outputs}
    specs = given.recipe.model.output or ()
    yield from _named_outputs(given, model)
    decided = tuple(_decided(given, model, data))
    yield from decided
    if decided:
        return
    if given.task.label == "labels" and data.classes:
        yield from _labels_fit(given, model, data)
        return
    if not given.classifying or not model.outputs or len(data.classes) < 2:
        return
    first = specs[0].name if specs and specs[0].name else model.outputs[0].name
    judged = named.get(first)
    if judged is None:
        return
    if given.recipe.task == "binary_classification" and len(data.classes) > 2:
        return  # the task is the mistake
    columns = judged.shape[1] if len(judged.shape) == 2 else 1 if len(judged.shape) == 1 else None
    allowed = (1, 2) if given.recipe.task == "binary_classification" else (len(data.classes),)
    if isinstance(columns, str) or columns in allowed:
        return
    shapes = " or ".join(f"(batch, {size})" for size in allowed)
    message = f"the model's output `{judged.name}` is {_shape(judged)}, and {len(data.classes)} classes need {shapes}"
    path: KeyPath = ("model", "args", "classes") if given.written("model", "args", "classes") else ("model",)
    yield given.finding("R137", path, message, _classes_advice(given, model, data))


def _decided(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Find classes that were decided where scores are due: in the first output, where nobody names another."""
    specs, outputs = given.recipe.model.output or (), model.outputs
    if given.task.label not in ("class", "labels") or not outputs or (specs and specs[0].name):
        return
    scores = tuple(spec for spec in outputs if not _is_whole(spec.dtype))
    if scores and _is_whole(outputs[0].dtype):
        message = f"the first output `{outputs[0].name}` is {outputs[0].dtype}: classes that were decided, no scores"
        yield given.finding("R137", ("model",), message, _named(_fitting(given, scores, data) or scores[0].name))


def _labels_fit(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check that the judged output has a number for each of several labels."""
    specs = given.recipe.model.output or ()
    first = specs[0].name if specs and specs[0].name else (model.outputs[0].name if model.outputs else "")
    judged = next((spec for spec in model.outputs if spec.name == first), None)
    width = judged.shape[1] if judged is not None and len(judged.shape) == 2 else None
    if judged is None or width in (None, len(data.classes)) or isinstance(width, str):
        return
    message = f"the model's output `{judged.name}` is {_shape(judged)}, and there are {len(data.classes)} labels"
    advice = "name every label in `data.label`, in the order of the model's outputs"
    yield given.finding("R137", ("data", "label"), message, advice)


def _classes_advice(given: CheckInput, model: ModelFacts, data: DataFacts) -> str:
    """Say what mends a number of outputs that is not that of the classes, nearest to what the recipe has."""
    asked = given.recipe.model.args.get("classes")
    if asked is not None:
        return _CLASSES_MADE if asked == "auto" else _CLASSES_GIVEN
    fitting = _fitting(given, model.outputs, data)
    return _named(fitting) if fitting is not None else _CLASSES_LISTED


def _fitting(given: CheckInput, outputs: Iterable[TensorSpec], data: DataFacts) -> str | None:
    """Return the first output that has a number for each class."""
    sizes = (1, 2) if given.recipe.task == "binary_classification" else (len(data.classes),)
    return next((spec.name for spec in outputs if len(spec.shape) == 2 and spec.shape[1] in sizes), None)


def _named(output: str) -> str:
    kind = ", kind: probabilities" if output in _PROBABILITIES else ""
    return f"model: {{output: {{name: {output}{kind}}}}}"


def _named_outputs(given: CheckInput, model: ModelFacts) -> Iterator[Finding]:
    """Find each entry of `model.output` by its name, or by its place where it has none; no output stands twice."""
    names = tuple(spec.name for spec in model.outputs)
    taken: set[str] = set()
    for place, spec in enumerate(given.recipe.model.output or ()):
        listed = given.written("model", "output", place)
        at: KeyPath = ("model", "output", place) if listed else ("model", "output")
        if spec.name is None and place >= len(names):
            message = f"the model has no output at place {place + 1}"
            advice = f"it has {', '.join(f'`{name}`' for name in names)}" if names else "say its `name`"
            yield given.finding("R137", at, message, advice)
            continue
        name = spec.name or names[place]
        if names and name not in names:
            message = f"the model has no output `{name}`"
            yield given.finding("R137", (*at, "name"), message, meant(name, names, "it has"))
        elif name in taken:
            message = f"two entries are about the output `{name}`"
            yield given.finding("R137", at, message, "an entry without a `name` is the output at its place")
        taken.add(name)


def _shape(spec: TensorSpec) -> str:
    return "(" + ", ".join(str(size) for size in ("batch", *spec.shape[1:])) + ")"


def leaving_fits(given: CheckInput) -> Iterator[Finding]:
    """Check that the method named can leave layers as they are where `skip` or `only` asks for that."""
    quantization = given.recipe.quantization
    key = next((key for section, key in LISTS if getattr(quantization, key)), "")
    if quantization.options.get(LEAVE) is not None:
        message = f"`{LEAVE}` is filled in from `skip` and `only`, whose patterns are checked against the model"
        yield given.finding("R171", ("quantization", "options", LEAVE), message, "write the names under `skip`")
    if not key:
        return
    declaration = _declaration(quantization.method)
    path: KeyPath = ("quantization", key)
    if quantization.method == "none":
        message = f"`{key}` chooses layers that are quantized, and `method` is `none`"
        yield given.finding("R171", path, message, f"take `{key}` out, or name a method", part="key")
    elif declaration is not None and LEAVE not in declaration.params.model_fields:
        others = ", ".join(f"`{name}`" for name in leaving_methods())
        message = f"`{quantization.method}` has no way to leave layers as they are"
        yield given.finding("R170", path, message, f"take `{key}` out, or choose one of {others}", part="key")


def patterns_match(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check that every pattern names at least one layer with weights: one that matches nothing protects nothing."""
    names = [layer.name for layer in model.layers if layer.has_weights]
    for path in (*LISTS, *_REDUCED):
        for place, pattern in enumerate(_listed(given, path)):
            if not any(matches(name, pattern) for name in names):
                message = f"`{pattern}` matches none of the model's {len(names)} layers with weights"
                yield given.finding("R139", (*path, place), message, meant(pattern, names, "they are"))


def _listed(given: CheckInput, path: tuple[str, ...]) -> tuple[str, ...]:
    section: Any = given.recipe
    for key in path:
        section = getattr(section, key) if section is not None else None
    return section or ()


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern covers a layer: by its own name, or by a module that it lies in."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def leaving_methods() -> tuple[str, ...]:
    """List the quantization methods that can leave layers as they are, by their names."""
    return tuple(
        name
        for name in catalog.quantization_methods()
        if LEAVE in catalog.get(catalog.method_operator(name)).params.model_fields
    )


def rungs_fit(given: CheckInput) -> Iterator[Finding]:
    """Refuse rungs that no method has, that mean one candidate twice, and keys that a ladder contradicts."""
    rungs = given.recipe.quantization.adapt
    if rungs is None:
        return
    places = {name: place for place, name in reversed(list(enumerate(rungs)))}
    methods = ("none", *catalog.quantization_methods())
    for place, name in enumerate(rungs):
        method = method_of(name, methods)
        if method is None:
            message = f"there is no method `{name}`"
            yield given.finding("R181", (*_ADAPT, place), message, meant(name, methods, "a rung is one of"))
        elif places[name] != place:
            yield given.finding("R181", (*_ADAPT, place), f"the rung `{name}` stands here twice", "keep one of them")
        elif method != name and method in places:
            message = f"`{name}` is one of the forms of `{method}`, which is a rung too"
            yield given.finding("R181", (*_ADAPT, place), message, f"name the forms of `{method}` apart, or it alone")
    yield from _contradicted(given)


def method_of(rung: str, methods: tuple[str, ...]) -> str | None:
    """Return the method that a rung is, or of which it names one width or variant: `ort.nbits` of `ort.nbits-4bit`."""
    forms = tuple(name for name in methods if name != "none" and rung.startswith((f"{name}-", f"{name}.")))
    return rung if rung in methods else max(forms, key=len, default=None)


def _contradicted(given: CheckInput) -> Iterator[Finding]:
    recipe = given.recipe
    if recipe.quantization.method != "auto":
        message = f"each rung of `adapt` names its method, and `method` is `{recipe.quantization.method}`"
        yield given.finding("R180", ("quantization", "method"), message, "take `method` out, or `adapt`")
    if len(recipe.export) > 1:
        message = f"each rung is one file, and `export` asks for {len(recipe.export)} formats of each"
        yield given.finding("R182", ("export",), message, "ask for one format, or leave `export` out", part="key")
    if recipe.search.budget != "auto" and recipe.search.budget.evaluations is not None:
        message = "every rung is made, whatever their number: `evaluations` would leave some out"
        path = ("search", "budget", "evaluations")
        yield given.finding("R183", path, message, "take rungs out instead; `minutes` may stay", part="key")
