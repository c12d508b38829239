"""Rules of the `data` section: its sources, its split and its subgroups."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from titrant.schema.diagnostics.diagnostics import Diagnostic
from titrant.schema.language.draft import Draft
from titrant.schema.language.nearest import nearest
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.data import DATA_SOURCES, STRATA, ColumnNames, CsvFile, Data, Source

LABELLED = (
    "binary_classification",
    "multiclass_classification",
    "multilabel_classification",
    "regression",
    "segmentation",
    "detection",
)
_CLASSES = LABELLED[:3]
# Their label may be left out.
OPTIONAL = ("language_modeling", "embedding")
_OBJECTS = ("segmentation", "detection")


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


def _one_kind(draft: Draft, source: Source, path: KeyPath) -> Iterator[Diagnostic]:
    given = [key for key in DATA_SOURCES if getattr(source, key) is not None]
    choice = ", ".join(f"`{key}`" for key in DATA_SOURCES)
    if not given:
        yield draft.key("R021", f"`{path[-1]}` does not say what it reads", path, f"give it one of {choice}")
    for key in given[1:]:
        message = f"`{given[0]}` already says what is read, and here stands `{key}`"
        yield draft.key("R021", message, (*path, key), "keep one of the two; `sources` holds several")
    if (
        isinstance(source.csv, CsvFile)
        and source.csv.decimal is not None
        and source.csv.decimal == source.csv.thousands
    ):
        message = f"`{source.csv.thousands}` cannot both begin the decimals and part thousands"
        yield draft.value("R022", message, (*path, "csv", "thousands"), "take one of the two out")
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
    if isinstance(data.label, tuple) and task != "multilabel_classification":
        if len(data.label) == 1:
            message, advice = f"`task: {task}` has one label, and a list names it", f"write `label: {data.label[0]}`"
        else:
            message = f"`task: {task}` has one label, and {len(data.label)} columns are named"
            advice = "name one, or choose `multilabel_classification`"
        yield draft.value("R022", message, ("data", "label"), advice)
    if task not in (*LABELLED, *OPTIONAL) and data.label is not None:
        message = f"`task: {task}` has no label"
        yield draft.key("R022", message, ("data", "label"), "take `label` out, or choose a labelled task")
    elif task in LABELLED and data.label is None:
        sources = [source for source in (data.source, *(data.sources or {}).values()) if source is not None]
        # The subfolders of an image folder are its classes.
        if any(source.image_folder is None and getattr(source, "label", None) is None for source in sources):
            advice = "add `label: …`, the column or array that holds it"
            yield draft.key("R013", f"`task: {task}` needs `label`", ("data", "label"), advice)
    elif task in _CLASSES and data.classes is not None and len(data.classes) == 1:
        advice = "list every class, in the order of the model's outputs"
        yield draft.value(
            "R022", "`classes` names one class, and a classifier tells two or more apart", ("data", "classes"), advice
        )
    elif task not in _CLASSES:
        objects = task in _OBJECTS  # several classes in one case
        for key in ("positive",) if objects else ("positive", "classes"):
            if getattr(data, key) is not None:
                message = f"`{key}` names a class, and `task: {task}` has none"
                if objects:
                    message = f"`{key}` names the class of a case, and a case of `task: {task}` has several"
                yield draft.key("R022", message, ("data", key), f"take `{key}` out")


def inputs_hold_no_answer(draft: Draft) -> Iterator[Diagnostic]:
    """The label is not an input, or the model would be given the answer; and no input is listed twice."""
    data = draft.data
    if data is None:
        return
    listed: dict[KeyPath, tuple[ColumnNames | None, ColumnNames]] = {}
    answers = data.label_columns
    if isinstance(data.inputs, Mapping):
        for name, part in data.inputs.items():
            columns = (part,) if isinstance(part, str) else part
            listed["data", "inputs", name] = (columns, answers)
    else:
        listed["data", "inputs"] = (data.inputs, answers)
    for name, source in (data.sources or {}).items():
        listed["data", "sources", name, "inputs"] = (source.inputs, (source.label,) if source.label else answers)
    for path, (inputs, labels) in listed.items():
        for index, column in enumerate(inputs or ()):
            place = (*path, index) if draft.source.has((*path, index)) else path
            if column in labels and draft.task in (*LABELLED, *OPTIONAL):
                message = f"`{column}` is the label, and as an input it would give the model the answer"
                yield draft.value("R022", message, place, "take it out of `inputs`, or name another `label`")
            elif inputs is not None and column in inputs[:index]:
                yield draft.value("R022", f"`{column}` stands in `inputs` already", place, "take one of the two out")


SOURCE_RULES = (data_is_there, one_source, labels_fit, inputs_hold_no_answer)

_TOLERANCE = 1e-9  # tenths add up to a little more than one in binary


def shares_fit(draft: Draft) -> Iterator[Diagnostic]:
    """The shares of one source add up to at most 1."""
    if draft.data is None:
        return
    total: dict[str, float] = defaultdict(float)
    source_names = ("", *(draft.data.sources or ()))
    named = draft.data.source is None or draft.data.source.factory is None
    for role, share in draft.data.split.roles.items():
        for source, part in _parts(share).items():
            if named and source not in source_names:
                continue  # the name is the mistake
            fitted = total[source] <= 1 + _TOLERANCE
            total[source] += part
            if fitted and total[source] > 1 + _TOLERANCE:
                owner = f"of `{source}`" if source else "of the source"
                message = f"the shares {owner} add up to {total[source]:.6g} with this one"
                advice = "they may add up to 1 at most: a row has one role"
                yield draft.value("R022", message, ("data", "split", role), advice)


def names_fit(draft: Draft) -> Iterator[Diagnostic]:
    """Sources are named exactly where there are several, and each name exists."""
    data = draft.data
    if data is None or (data.source is None and data.sources is None):
        return
    names = tuple(data.sources or ())
    if data.source is not None and data.source.factory is not None:
        return  # a factory may return several sources, whose names only it knows
    if data.sources is not None and not draft.source.has(("data", "split")):
        advice = f"add `split: {{train: {names[0]}, evaluation: …}}` under `data`"
        yield draft.key(
            "R013", "`data.sources` needs a `split` that says which source is for what", ("data", "sources"), advice
        )
        return
    for role, share in data.split.roles.items():
        path = ("data", "split", role)
        if isinstance(share, float | int):
            if data.sources is not None:
                advice = f"write a source name for each role, or `{{{names[0]}: {share:g}}}`"
                yield draft.value("R022", f"`{role}` does not say of which source it is a share", path, advice)
                return
            continue
        for name in (share,) if isinstance(share, str) else share:
            if name in names:
                continue
            if percent := re.fullmatch(r"(\d{1,3}(?:\.\d{1,9})?) ?%", name):
                advice = f"fractions are 0 to 1, never percent: write `{float(percent[1]) / 100:g}`"
                yield draft.value("R014", f"`{role}` is a fraction or a source, not the text `{name}`", path, advice)
                continue
            close = nearest(name, names)
            advice = f"did you mean `{close}`?" if close else _names_advice(names)
            message = f"there is no source `{name}`"
            if isinstance(share, str):
                yield draft.value("R027", message, path, advice)
            else:
                yield draft.key("R027", message, (*path, name), advice)


def order_fits(draft: Draft) -> Iterator[Diagnostic]:
    """A contiguous split cannot keep the classes' shares equal."""
    if draft.data is None:
        return
    split = draft.data.split
    if split.by == "order" and split.stratify and draft.source.has(("data", "split", "stratify")):
        message = "`by: order` keeps rows in their order, so that `stratify` has nothing to choose"
        yield draft.key("R022", message, ("data", "split", "stratify"), "take `stratify` out, or split by `row`")


def _names_advice(names: tuple[str, ...]) -> str:
    if not names:
        return "with one `source`, a role is a fraction from 0 to 1; names belong to `sources`"
    return "the sources are " + ", ".join(f"`{name}`" for name in names)


def _parts(share: float | str | Mapping[str, float]) -> Mapping[str, float]:
    """Return the share of each source, "" for the only one."""
    if isinstance(share, Mapping):
        return share
    return {share: 1.0} if isinstance(share, str) else {"": share}


SPLIT_RULES = (shares_fit, names_fit, order_fits)


def subgroups_are_cut(draft: Draft) -> Iterator[Diagnostic]:
    """A subgroup is cut by bins or by values, or is every value of its column, and its cut points rise."""
    for name, group in (draft.data.subgroups if draft.data else {}).items():
        path = ("data", "subgroups", name)
        if "." in name or not name:
            message = "the name of a subgroup has no dot, since gates write `subgroup NAME.value`"
            yield draft.key("R018", message, path, f"such as `{name.replace('.', '_') or 'age'}`")
        if group.bins is not None and group.values is not None:
            message = "`bins` and `values` stand side by side"
            yield draft.key("R021", message, (*path, "values"), "keep one of the two, or make two subgroups")
        if group.bins is not None and any(low >= high for low, high in pairwise(group.bins)):
            ordered = ", ".join(f"{point:g}" for point in sorted(set(group.bins)))
            message = f"the cut points of `{name}` do not rise"
            yield draft.value("R022", message, (*path, "bins"), f"write `[{ordered}]`")


def strata_fit(draft: Draft) -> Iterator[Diagnostic]:
    """Strata are a subgroup of that name, which no other has, of rows that all have labels."""
    data = draft.data
    if data is None or data.strata is None:
        return
    if STRATA in data.subgroups:
        message = f"the strata are the subgroup `{STRATA}`, and another is called so"
        yield draft.key("R022", message, ("data", "subgroups", STRATA), "give the subgroup another name")
    if data.unlabeled is not None:
        message = "tests that take labels of some rows are not stratified, and `data.unlabeled` stands beside `strata`"
        yield draft.key("R022", message, ("data", "unlabeled"), "take one of the two out")
    if draft.task == "unlabeled":
        message = "answers without labels are the same or not, case by case: no test of theirs is stratified"
        yield draft.key("R022", message, ("data", "strata"), "make it a subgroup: `subgroups: {site: {column: site}}`")


def values_stand_once(draft: Draft) -> Iterator[Diagnostic]:
    """A value of the column belongs to one label."""
    for name, group in (draft.data.subgroups if draft.data else {}).items():
        seen: dict[str, str] = {}
        for label, values in (group.values or {}).items():
            for value in values:
                text = str(value)
                if text in seen:
                    where = f"`{seen[text]}`" if seen[text] != label else "the same list"
                    message = f"the value `{text}` stands in {where} already"
                    path = ("data", "subgroups", name, "values", label)
                    yield draft.value("R022", message, path, "a row belongs to one value of a subgroup")
                seen.setdefault(text, label)


def unlabeled_fits(draft: Draft) -> Iterator[Diagnostic]:
    """Rows without labels stand beside rows with labels; labels and names of rows are about them."""
    data = draft.data
    if data is None:
        return
    yield from _id_fits(draft, data)
    if data.unlabeled is None:
        if data.labels is not None:
            message = "`labels` is about the rows of `data.unlabeled`, and there are none"
            yield draft.key("R022", message, ("data", "labels"), "add `unlabeled: {csv: path}`, or take `labels` out")
        return
    yield from _one_kind(draft, data.unlabeled, ("data", "unlabeled"))
    if draft.task not in ("binary_classification", "multiclass_classification"):
        message = f"labels of rows that two models decide otherwise say nothing for `task: {draft.task}`"
        yield draft.key("R022", message, ("data", "unlabeled"), "take `unlabeled` out, or choose a task with classes")


def _id_fits(draft: Draft, data: Data) -> Iterator[Diagnostic]:
    listed = data.input_columns or ()
    if data.id is not None and (data.id in listed or data.id in data.label_columns):
        what = "the label" if data.id in data.label_columns else "an input"
        message = f"`{data.id}` is {what}, and cannot name rows"
        yield draft.value("R022", message, ("data", "id"), "name another column, or take `id` out")


SUBGROUP_RULES = (subgroups_are_cut, strata_fit, values_stand_once, unlabeled_fits)
