"""Rules of `data.transform` and `data.transform_from`: given figures are whole, and what is loaded stands alone."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath

from titrant.schema.diagnostics.diagnostics import Diagnostic
from titrant.schema.language.draft import Draft
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.transform import Impute, OneHot, Standardize

# Files of Python objects, as scikit-learn's users keep a pipeline.
PICKLES = (".joblib", ".pkl", ".pickle", ".sav", ".skops")
CONVERTED = (
    "pip install titrant[sklearn], then in Python: from skl2onnx import to_onnx; "
    "onx = to_onnx(pipeline, X[:1]); open('transforms.onnx', 'wb').write(onx.SerializeToString())"
)


def figures_are_whole(draft: Draft) -> Iterator[Diagnostic]:
    """A mean comes with its deviation, for the same columns, which are those that `columns` names."""
    for place, step in enumerate(draft.data.transform if draft.data else ()):
        path: KeyPath = ("data", "transform", place, step.name)
        if isinstance(step, Standardize):
            yield from _pairs(draft, step, path)
            for key in ("mean", "std"):
                yield from _same_columns(draft, getattr(step, key), step.columns, (*path, key))
        if isinstance(step, Impute | OneHot):
            yield from _same_columns(draft, step.values, step.columns, (*path, "values"))
        if isinstance(step, Impute) and step.values is not None and "strategy" in step.model_fields_set:
            message = "`strategy` finds values, and `values` gives them"
            yield draft.key("R022", message, (*path, "strategy"), "keep one of the two")
        if isinstance(step, OneHot):
            yield from _each_once(draft, step, path)


def _pairs(draft: Draft, step: Standardize, path: KeyPath) -> Iterator[Diagnostic]:
    means, deviations = step.mean or {}, step.std or {}
    for given, others, key, other in ((means, deviations, "mean", "std"), (deviations, means, "std", "mean")):
        if given and not others:
            message = f"`{key}` is given, and `{other}` is not"
            yield draft.key("R022", message, (*path, key), f"write both, of the training, as `{other}: {{column: …}}`")
            return
        missing = [column for column in given if column not in others]
        if missing:
            message = f"`{other}` has no figure for `{missing[0]}`, which stands in `{key}`"
            yield draft.key("R022", message, (*path, other), f"add `{missing[0]}: …`, as it was in the training")


def _same_columns(
    draft: Draft, figures: Mapping[str, object] | None, columns: tuple[str, ...] | None, path: KeyPath
) -> Iterator[Diagnostic]:
    if figures is None or columns is None:
        return
    missing = [column for column in columns if column not in figures]
    more = [column for column in figures if column not in columns]
    if missing:
        message = f"`{path[-1]}` has no figure for `{missing[0]}`, which stands in `columns`"
        yield draft.key("R022", message, path, f"add `{missing[0]}: …`, or take it out of `columns`")
    elif more:
        message = f"`{path[-1]}` has a figure for `{more[0]}`, which does not stand in `columns`"
        yield draft.key("R022", message, (*path, more[0]), "add it to `columns`, or take the figure out")


def _each_once(draft: Draft, step: OneHot, path: KeyPath) -> Iterator[Diagnostic]:
    for column, values in (step.values or {}).items():
        texts = [str(value) for value in values]
        twice = next((text for index, text in enumerate(texts) if text in texts[:index]), None)
        if twice is not None:
            message = f"the value `{twice}` of `{column}` stands twice"
            advice = "list each once, in the order of the training: a value is one column of zeros and ones"
            yield draft.value("R022", message, (*path, "values", column), advice)
        elif "" in texts:
            message = f"an empty text of `{column}` is a missing value, which is none of them"
            yield draft.value("R022", message, (*path, "values", column), "take it out, or fill gaps by `impute`")


def loaded_alone(draft: Draft) -> Iterator[Diagnostic]:
    """Transforms are written or loaded, and never loaded from Python objects."""
    data = draft.data
    if data is None or data.transform_from is None:
        return
    path: KeyPath = ("data", "transform_from")
    if data.transform:
        message = "`transform` and `transform_from` would each say what is done to the columns"
        yield draft.key("R022", message, path, "keep one of the two")
    if isinstance(data.inputs, Mapping):
        message = "`inputs` maps columns to the model's inputs, and `transform_from` brings what makes these"
        yield draft.key("R022", message, ("data", "inputs"), "list the columns that are inputs, or take `inputs` out")
    suffix = PurePath(data.transform_from).suffix.lower()
    if suffix in PICKLES:
        message = f"`{suffix}` holds Python objects, and loading them can run any code: it is not read"
        yield draft.value("R158", message, path, f"convert it where it was made: {CONVERTED}")


TRANSFORM_RULES = (figures_are_whole, loaded_alone)
