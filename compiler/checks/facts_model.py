"""Check the model's inputs and outputs against the data."""

from collections.abc import Iterator

from titrant.compiler.checks.look import Finding, Look, Path, meant
from titrant.schema.facts import DataFacts, ModelFacts, TensorSpec

Size = int | str
_CLASSES_GIVEN = "write `classes: auto`, or name the output that holds the classes under `model.output`"
_CLASSES_MADE = "build the model's last layer from `classes`, or name the output that holds them under `model.output`"


def inputs_fit(look: Look, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check that the data gives every input of the model, in its shape and sort of number."""
    given = {spec.name: spec for spec in data.inputs}
    path: Path = ("model", "inputs") if look.written("model", "inputs") else ("model",)
    for wanted in model.inputs:
        if wanted.name not in given:
            message = f"the model takes an input `{wanted.name}`, and the data gives none of that name"
            advice = f"{meant(wanted.name, given, 'it gives')} Inputs are matched by name: set `model.inputs`"
            yield look.finding("R136", (*path, wanted.name), message, advice, part="key")
            continue
        have = given[wanted.name]
        if not _same_shape(wanted.shape[1:], have.shape[1:]):
            message = f"the model's input `{wanted.name}` is {_shape(wanted)}, and the data gives {_shape(have)}"
            advice = "change the model's arguments, `data.inputs`, or the transforms"
            yield look.finding("R136", (*path, wanted.name), message, advice, part="key")
        elif _is_whole(wanted.dtype) != _is_whole(have.dtype):
            message = f"the model's input `{wanted.name}` is {wanted.dtype}, and the data gives {have.dtype}"
            advice = "whole numbers and fractions are not converted silently: change one of the two"
            yield look.finding("R136", (*path, wanted.name), message, advice, part="key")


def _same_shape(one: tuple[Size, ...], other: tuple[Size, ...]) -> bool:
    """Compare shapes; a free size, which is text, fits every number."""
    return len(one) == len(other) and all(
        isinstance(a, str) or isinstance(b, str) or a == b for a, b in zip(one, other, strict=True)
    )


def _shape(spec: TensorSpec) -> str:
    return "(" + ", ".join(str(size) for size in ("batch", *spec.shape[1:])) + ")"


def _is_whole(dtype: str) -> bool:
    return "int" in dtype or dtype == "bool"


def _named_outputs(look: Look, model: ModelFacts) -> Iterator[Finding]:
    """Find each entry of `model.output` by its name, or by its place where it has none; no output stands twice."""
    known = tuple(spec.name for spec in model.outputs)
    taken: set[str] = set()
    for place, spec in enumerate(look.recipe.model.output or ()):
        listed = look.written("model", "output", place)
        at: Path = ("model", "output", place) if listed else ("model", "output")
        if spec.name is None and place >= len(known):
            message = f"the model has no output at place {place + 1}"
            advice = f"it has {', '.join(f'`{name}`' for name in known)}" if known else "say its `name`"
            yield look.finding("R137", at, message, advice)
            continue
        name = spec.name or known[place]
        if known and name not in known:
            message = f"the model has no output `{name}`"
            yield look.finding("R137", (*at, "name"), message, meant(name, known, "it has"))
        elif name in taken:
            message = f"two entries are about the output `{name}`"
            yield look.finding("R137", at, message, "an entry without a `name` is the output at its place")
        taken.add(name)


def outputs_fit(look: Look, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check that the output that is judged is there and has a number for each class."""
    named = {spec.name: spec for spec in model.outputs}
    specs = look.recipe.model.output or ()
    yield from _named_outputs(look, model)
    if not look.labelled or not model.outputs or len(data.classes) < 2:
        return
    first = specs[0].name if specs and specs[0].name else model.outputs[0].name
    judged = named.get(first)
    if judged is None:
        return
    if look.recipe.task == "binary_classification" and len(data.classes) > 2:
        return  # the task is the mistake
    columns = judged.shape[1] if len(judged.shape) == 2 else 1 if len(judged.shape) == 1 else None
    allowed = (1, 2) if look.recipe.task == "binary_classification" else (len(data.classes),)
    if isinstance(columns, str) or columns in allowed:
        return
    wanted = " or ".join(f"(batch, {size})" for size in allowed)
    message = f"the model's output `{judged.name}` is {_shape(judged)}, and {len(data.classes)} classes need {wanted}"
    path: Path = ("model", "args", "classes") if look.written("model", "args", "classes") else ("model",)
    auto = look.recipe.model.args.get("classes") == "auto"
    yield look.finding("R137", path, message, _CLASSES_MADE if auto else _CLASSES_GIVEN)
