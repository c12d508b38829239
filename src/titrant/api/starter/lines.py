"""The text of a starter recipe: what was found out as keys, what it does not need as comments."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn

from titrant.api.starter.questions import AnswerChoice, OpenQuestion, answer
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.write import flow
from titrant.schema.recipe.data import ROLES
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted

_FEWEST_ROWS = 20
# A whole-numbered label with more values than this is a quantity.
MOST_CLASSES = 100
# What a free size of an ONNX input becomes until somebody knows better: pixels, places.
FREE_PIXELS, _FREE_PLACES = 224, 128
# How the outputs of language models and embeddings are called, and how many sizes they have with the batch.
_LOGITS, _POSITIONS, _EMBEDDED, _VECTORS = "logits", 3, "embed", 2
# What each of several outputs has, where it is a single number and where it is not.
_EACH = {True: "one number a case", False: "a number for every class"}
# A model that is trained where none is given: a small one for tables.
TABULAR = "titrant.recipes.models:TabularNet"


@dataclass(frozen=True)
class Starter:
    """What is known: the model as the recipe names it, and what the child process answered (see `describe_starter`).

    `source` is the kind of the data and its path or name as the recipe writes them. `answers` is the part of the recipe
    that whoever asked for it wrote, `inputs` what was said of the model's inputs, `objective` what counts first, ""
    where nobody said; `alone` is data without a model, for which a small one stands.
    """

    model: str
    onnx: Mapping[str, Any] | None
    arguments: Sequence[Mapping[str, Any]] | None
    args: Mapping[str, Any]
    weights: str | None
    inputs: Any
    source: tuple[str, str] | None
    data: Mapping[str, Any] | None
    hints: Mapping[str, Any] | None = None
    level: str = "balanced"
    objective: str = ""
    alone: bool = False
    answers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> Mapping[str, Any] | None:
        """What is known of the label; None without one."""
        return self.data["label"] if self.data is not None else None

    @property
    def quantity(self) -> bool:
        """Whether the label is a number to be given, and no class."""
        label = self.label
        return label is not None and not label["text"] and (not label["whole"] or label["distinct"] > MOST_CLASSES)

    @property
    def trains(self) -> bool:
        """Whether the recipe fits the model: a factory without weights, and rows with a label."""
        return self.onnx is None and self.weights is None and self.label is not None

    def stated(self, key: str) -> Any:
        """Return what was answered at a dotted key; None where nothing was."""
        return answer(self.answers, key)


def recipe_name(model: str) -> str:
    """Make a recipe's name of a file's or factory's."""
    stem = model.rpartition(":")[2] if ":" in model else Path(model).stem
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", stem)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", spaced).strip("-.").lower()[:100] or "model"


def head_lines(starter: Starter) -> Iterator[str]:
    """Yield the lines above the sections; RecipeError P081 where the rows or the label cannot make a recipe."""
    _check_rows(starter)
    yield f"# A starter recipe for {_subject(starter)}: edit it, commit it, and run it with `titrant run`."
    yield "# A comment says what a line was taken from, or, behind a question mark, what could be added."
    yield "titrant: 1"
    name = starter.stated("name")
    yield f"name: {flow(recipe_name(_subject(starter)) if name is None else name)}"
    yield f"level: {starter.level}  # minimal, balanced, aggressive or medical_critical: the thresholds come with it"
    yield from _task(starter)


def _subject(starter: Starter) -> str:
    """Return what a recipe is named after: its model, or the data where nobody named one."""
    if starter.alone and starter.source is not None:
        return starter.source[1]
    return starter.model


def _check_rows(starter: Starter) -> None:
    if starter.source is not None and starter.data is not None and starter.data["rows"] < _FEWEST_ROWS:
        rows = starter.data["rows"]
        refuse(
            f"{starter.source[1]} has {counted(rows, 'row')}, too few for {len(ROLES)} roles",
            "give more, or leave --data out",
        )


def _task(starter: Starter) -> Iterator[str]:
    label = starter.label
    stated = starter.stated("task")
    if stated is not None:
        yield f"task: {flow(stated)}"
        return
    if label is None:
        task, _, why = _without_label(starter)
        yield f"task: {task}  # {why}"
        return
    distinct = label["distinct"]
    if label["missing"]:
        refuse(
            f"{label['missing']:,} of {starter.data['rows']:,} rows have no {label['name']}",  # type: ignore[index]
            "leave these rows out, in the file or in a data factory",
        )
    if distinct < 2:
        refuse(f"{label['name']} has one value everywhere", "name the column that holds the answer")
    if label["text"] and distinct > MOST_CLASSES:
        refuse(
            f"{label['name']} has {distinct:,} different texts, more than the {MOST_CLASSES} classes of a label here",
            "name the column that holds the answer, or derive fewer classes in a data factory",
        )
    if starter.quantity:
        yield f"task: regression  # {label['name']} has {distinct:,} different values: a quantity"
        return
    counts = ", ".join(f"{value} {count:,}" for value, count in list(label["values"].items())[:8])
    counts += " …" if distinct > 8 else ""
    kind = "binary" if _is_binary(starter, distinct) else "multiclass"
    yield f"task: {kind}_classification  # {label['name']} has {distinct} values: {counts}"


def _without_label(starter: Starter) -> tuple[str, str | None, str]:
    """Guess the task of a model whose rows have no label: the task, the output that tells it, and why.

    A language model takes tokens and answers with logits at every position; an embedding is called so.
    """
    nothing = "unlabeled", None, "no label: latency, size and agreement with the original are judged"
    if starter.data is None or starter.onnx is None:
        return nothing
    columns = {column["name"]: column for column in starter.data["columns"]}
    tokens = [name for name in map(itemgetter("name"), starter.onnx["inputs"]) if _are_tokens(columns.get(name))]
    for output in starter.onnx["outputs"]:
        name, sizes = output["name"], list(output["shape"])
        if tokens and len(sizes) == _POSITIONS and _LOGITS in name.casefold():
            why = f"{name} has logits at each position of {tokens[0]}: judged by the next token, without a label"
            return "language_modeling", name, why
        if len(sizes) == _VECTORS and _EMBEDDED in name.casefold():
            why = f"by the name of {name}: judged by neighbors; ? data.label: what rows that belong together share"
            return "embedding", name, why
    return nothing


def _are_tokens(column: Mapping[str, Any] | None) -> bool:
    """Whether an array holds whole numbers in rows of several."""
    return column is not None and column["dtype"].startswith(("int", "uint")) and len(column["shape"]) == 1


def _is_binary(starter: Starter, distinct: int) -> bool:
    """Whether two classes are all that there are: a model with three outputs or more tells more apart."""
    outputs = judged_output(starter)[1]
    stated = starter.stated("data.classes")
    classes = len(stated) if isinstance(stated, list) else distinct
    return classes == 2 and (outputs is None or outputs <= 2)


def model_lines(starter: Starter) -> Iterator[str]:
    """Yield the lines of the `model:` section; RecipeError P081 where the factory lacks an argument."""
    yield "model:"
    if starter.onnx is not None:
        yield from _onnx(starter, starter.onnx)
    else:
        yield from _factory(starter)
        if starter.stated("model.output") is not None:
            yield f"  output: {flow(starter.stated('model.output'))}"
    yield from other_lines(starter.stated("model"), ("args", "weights", "inputs", "output"), "  ")


def other_lines(answers: Any, written: Sequence[str], indent: str) -> Iterator[str]:
    """Yield the keys of a section that were answered beside those that are written in any case."""
    for key, value in answers.items() if isinstance(answers, Mapping) else ():
        if key not in written:
            yield f"{indent}{key}: {flow(value)}"


def _factory(starter: Starter) -> Iterator[str]:
    note = "  # ? a small network for tables: name your own" if starter.alone else ""
    yield f"  factory: {starter.model}{note}"
    args = _args(starter)
    free = [argument["name"] for argument in starter.arguments or () if argument["name"] not in args]
    if args:
        yield f"  args: {flow(args)}" + ("  # auto: from the data" if "auto" in args.values() else "")
    if free:
        yield f"  # it also takes {', '.join(free)}"
    if starter.weights is not None:
        yield f"  weights: {flow(starter.weights)}"
    elif not starter.trains:
        yield "  weights: included  # ? or the path of a .safetensors or .pt file; included: the factory loads its own"
    if starter.inputs is not None:
        yield f"  inputs: {flow(starter.inputs)}"


def _args(starter: Starter) -> dict[str, Any]:
    """Return the factory's arguments: those given, and `auto` for what the data says."""
    args = dict(starter.args)
    for argument in starter.arguments or ():
        name = argument["name"]
        if name in args:
            continue
        named = name == "classes" and starter.label is not None
        if named and starter.quantity:
            args[name] = 1
        elif (name == "features" and argument["required"] and starter.data) or named:
            args[name] = "auto"
        elif argument["required"]:
            refuse(f"{starter.model} needs a value for `{name}`", f"give its value, such as --args '{{\"{name}\": 8}}'")
    return args


def _onnx(starter: Starter, facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"  onnx: {flow(starter.model)}"
    first, *others = facts["notes"] or [""]
    yield f"  # {facts['parameters']:,} parameters in {len(facts['layers']):,} nodes{f'; {first}' * bool(first)}"
    yield from (f"  # {note}" for note in others)
    outputs = "; ".join(f"{output['name']} {_shape(output['shape'])}" for output in facts["outputs"])
    yield f"  # it answers with {outputs}"
    yield from _output(starter, facts)
    if starter.inputs is not None:
        yield f"  inputs: {flow(starter.inputs)}"
    elif starter.data is None:
        yield "  inputs:"
        for tensor in facts["inputs"]:
            shape = ["batch", *tensor["shape"][1:]] if tensor["shape"] else []
            yield f"    - {flow({'name': tensor['name'], 'shape': shape, 'dtype': tensor['dtype']})}"


def _output(starter: Starter, facts: Mapping[str, Any]) -> Iterator[str]:
    """Write which output classes are decided from, where that is not the only one, and what its numbers are."""
    stated = starter.stated("model.output")
    judged = judged_output(starter)[0]
    if stated is not None:
        yield f"  output: {flow(stated)}"
    elif starter.label is None:
        task, telling, _ = _without_label(starter)
        answered = telling is not None and starter.stated("task") in (None, task)
        if answered and telling != facts["outputs"][0]["name"]:
            yield f"  output: {flow({'name': telling})}  # the others are not judged"
    elif judged is not None and not starter.quantity:
        kind = output_kind(starter, judged)
        if kind != "logits" or judged != facts["outputs"][0]["name"]:
            said = "by the node that gives it" if judged in (starter.hints or {}).get("kinds", {}) else "by its name"
            yield f"  output: {flow({'name': judged, 'kind': kind})}  # {said}"


def output_kind(starter: Starter, name: str) -> str:
    """Say what the numbers of an output are: by the node that gives it, by its name, else logits."""
    kinds: Mapping[str, str] = (starter.hints or {}).get("kinds", {})
    return kinds.get(name) or ("probabilities" if "prob" in name.lower() else "logits")


def _shape(shape: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"


def classifying(starter: Starter) -> list[tuple[str, int]]:
    """List the outputs (batch, numbers of a case) that classes can be decided from: name and numbers.

    One number a case may also be (batch). Where some of them have a number for each class, the others are none:
    features, or another head. Whole numbers beside others are the class that was chosen.
    """
    given = (starter.onnx or {}).get("outputs", ())
    scores = [output for output in given if not output["dtype"].startswith(("int", "uint"))] or given
    outputs = [(output["name"], list(output["shape"])) for output in scores]
    wide = [(name, shape[1]) for name, shape in outputs if len(shape) == 2 and isinstance(shape[1], int)]
    wide = wide or [(name, 1) for name, shape in outputs if len(shape) == 1]
    classes = starter.label["distinct"] if starter.label is not None else None
    fitting = [(name, size) for name, size in wide if size == classes or (classes == 2 and size == 1)]
    return fitting or wide


def judged_output(starter: Starter) -> tuple[str | None, int | None]:
    """Return the name of the output that classes are decided from, and its numbers a case; None where there is none.

    The converters of scikit-learn put the class that was chosen before the probabilities.
    """
    stated = starter.stated("model.output.name")
    wide = classifying(starter)
    fitting = [(name, size) for name, size in wide if name == stated] or wide
    return fitting[0] if fitting else (None, None)


def output_question(starter: Starter) -> Iterator[OpenQuestion]:
    """Ask which output is judged, where several could be and they are not the same answer in two forms."""
    wide = classifying(starter)
    if starter.label is None or starter.quantity or starter.stated("model.output") is not None or len(wide) < 2:
        return
    if sorted(output_kind(starter, name) for name, _ in wide) == ["logits", "probabilities"]:
        return
    names = [name for name, _ in wide]
    single = all(size == 1 for _, size in wide)
    answered = f"{starter.model} answers with {', '.join(names)}, each with {_EACH[single]}."
    if single and starter.label["distinct"] > 2:
        refuse(
            f"{answered[:-1]}: classes are decided from one output that has all of them",
            "export it with one output (batch, classes); skl2onnx: zipmap=False",
        )
    about = _class_of(starter, names) if single else {}
    asks = "which output is about the positive class?" if about else "which output are classes decided from?"
    choices = tuple(
        AnswerChoice({"name": name, "kind": output_kind(starter, name)}, about.get(name, "")) for name in names
    )
    yield OpenQuestion("model.output", asks, answered, choices)


def _class_of(starter: Starter, names: Sequence[str]) -> Mapping[str, str]:
    """Say which class each of as many outputs as there are classes is about; {} where the file names no classes."""
    classes = (starter.hints or {}).get("classes") or ()
    if len(names) != len(classes):
        return {}
    return {name: f"class {label}" for name, label in zip(names, classes, strict=True)}


def size_question(starter: Starter) -> Iterator[OpenQuestion]:
    """Ask for the sizes that a file leaves free, where no data says them."""
    if starter.onnx is None or starter.data is not None or starter.inputs is not None:
        return
    named = []
    free = []
    for tensor in starter.onnx["inputs"]:
        sizes, guessed = fixed_sizes(tensor["shape"])
        free += [f"{tensor['name']} {guessed}"] if guessed else []
        named.append({"name": tensor["name"], "shape": sizes, "dtype": tensor["dtype"]})
    if free:
        yield OpenQuestion(
            "model.inputs",
            "what size are its inputs?",
            f"{starter.model} leaves {', '.join(free)} free, and there is no --data.",
            (AnswerChoice(named, "with the sizes that you serve"),),
        )


def fixed_sizes(shape: Sequence[int | str]) -> tuple[list[int | str], str]:
    """Fill in what the file leaves free; returns the names of those sizes too."""
    sizes: list[int | str] = ["batch"] if len(shape) else []
    guessed = []
    for place, size in enumerate(shape[1:], 1):
        if isinstance(size, int):
            sizes.append(size)
            continue
        guessed.append(size)
        sizes.append((3 if place == 1 else FREE_PIXELS) if len(shape) == 4 else _FREE_PLACES)
    return sizes, ", ".join(guessed)


def tail_lines(starter: Starter) -> Iterator[str]:
    """Yield the lines below the data: training, what counts, and what could be asked for."""
    if starter.trains and starter.stated("train") is None:
        yield "train: {epochs: 20}  # leave it out where `model.weights` names trained ones"
    if starter.objective and starter.stated("search") is None:
        order = [starter.objective, *(other for other in ("latency", "size") if other != starter.objective)]
        yield f"search: {{objective: {flow(order)}}}"
    yield from other_lines(starter.answers, ("name", "level", "task", "model", "data"), "")
    if starter.stated("target") is None:
        yield "# ? target: {latency: {p95: 10 ms, batch: 1}, size: 5 MiB}   what the model must fit"
    if starter.stated("validation") is None:
        yield "# ? validation: {retention: 0.97}   what it must keep; the level supplies the rest"
    if starter.stated("export") is None:
        yield "export: [{format: auto}]  # ? onnx or torchscript, where something downstream needs one of them"


def refuse(message: str, advice: str) -> NoReturn:
    """Raise RecipeError P081: model or data cannot make a recipe."""
    raise RecipeError(Diagnostic("P081", message, help=advice))
