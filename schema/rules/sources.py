"""Rules of `data.source` and `data.sources`."""

from collections.abc import Iterator

from titrant.schema.diagnostics import Diagnostic
from titrant.schema.recipe.data import DATA_SOURCES, Source
from titrant.schema.rules.draft import Draft
from titrant.schema.source_map import Path

LABELLED = (
    "binary_classification",
    "multiclass_classification",
    "multilabel_classification",
    "regression",
    "segmentation",
)
_CLASSES = LABELLED[:3]


def data_is_there(draft: Draft) -> Iterator[Diagnostic]:
    """Every task but `unlabeled` needs rows, and that one needs to know its inputs."""
    if draft.data is not None:
        return
    if draft.task != "unlabeled":
        advice = "add `data:` with a `source`, `label` and `split`; only `task: unlabeled` does without"
        yield draft.key("R013", f"`task: {draft.task}` needs rows, and the recipe has no `data`", ("task",), advice)
    elif draft.model.inputs is None:
        message = "without `data`, random inputs are made, and `model.inputs` does not say of which shape"
        advice = "add `inputs: [{name: input, shape: [batch, 3, 224, 224]}]` under `model`, or a `data` section"
        yield draft.key("R013", message, ("model", "inputs"), advice)


def one_source(draft: Draft) -> Iterator[Diagnostic]:
    """Rows come from `source` or from `sources`, each of exactly one kind."""
    data = draft.data
    if data is None:
        return
    if data.source is None and data.sources is None:
        advice = "add `source: {csv: path}`, or `sources` by name"
        yield draft.key("R013", "`data` does not say where its rows come from", ("data",), advice)
    if data.source is not None and data.sources is not None:
        message = "`source` and `sources` stand side by side"
        yield draft.key("R021", message, ("data", "sources"), "move `source` into `sources` under a name of its own")
    if data.source is not None:
        yield from _one_kind(draft, data.source, ("data", "source"))
    for name, source in (data.sources or {}).items():
        yield from _one_kind(draft, source, ("data", "sources", name))


def _one_kind(draft: Draft, source: Source, path: Path) -> Iterator[Diagnostic]:
    given = [key for key in DATA_SOURCES if getattr(source, key) is not None]
    choice = ", ".join(f"`{key}`" for key in DATA_SOURCES)
    if not given:
        yield draft.key("R021", f"`{path[-1]}` does not say what it reads", path, f"give it one of {choice}")
    for key in given[1:]:
        message = f"`{given[0]}` already says what is read, and here stands `{key}`"
        yield draft.key("R021", message, (*path, key), "keep one of the two; `sources` holds several")
    if given and source.factory is None:
        for key in ("args", "files"):
            if getattr(source, key) is not None:
                message = f"`{key}` belongs to a `factory`, and this source is `{given[0]}`"
                yield draft.key("R022", message, (*path, key), f"take `{key}` out")


def labels_fit(draft: Draft) -> Iterator[Diagnostic]:
    """A labelled task names its label, an unlabeled one none; only classes have a positive one."""
    data, task = draft.data, draft.task
    if data is None:
        return
    if task not in LABELLED and data.label is not None:
        message = f"`task: {task}` has no label"
        yield draft.key("R022", message, ("data", "label"), "take `label` out, or choose a labelled task")
    elif task in LABELLED and data.label is None:
        sources = [source for source in (data.source, *(data.sources or {}).values()) if source is not None]
        # The subfolders of an image folder are its classes.
        if any(source.image_folder is None and getattr(source, "label", None) is None for source in sources):
            advice = "add `label: …`, the column or array that holds it"
            yield draft.key("R013", f"`task: {task}` needs `label`", ("data", "label"), advice)
    elif data.positive is not None and task not in _CLASSES:
        message = f"`positive` names a class, and `task: {task}` has none"
        yield draft.key("R022", message, ("data", "positive"), "take `positive` out")


def inputs_hold_no_answer(draft: Draft) -> Iterator[Diagnostic]:
    """The label is not an input, or the model would be given the answer; and no input is listed twice."""
    data = draft.data
    if data is None:
        return
    named: dict[Path, tuple[tuple[str, ...] | None, str | None]] = {("data",): (data.inputs, data.label)}
    for name, source in (data.sources or {}).items():
        named["data", "sources", name] = (source.inputs, source.label or data.label)
    for path, (inputs, label) in named.items():
        for index, column in enumerate(inputs or ()):
            place = (*path, "inputs", index)
            if column == label and draft.task in LABELLED:
                message = f"`{column}` is the label, and as an input it would give the model the answer"
                yield draft.value("R022", message, place, "take it out of `inputs`, or name another `label`")
            elif inputs is not None and column in inputs[:index]:
                yield draft.value("R022", f"`{column}` stands in `inputs` already", place, "take one of the two out")


RULES = (data_is_there, one_source, labels_fit, inputs_hold_no_answer)
