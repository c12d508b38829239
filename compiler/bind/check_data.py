"""Check the roles, classes and columns that a recipe names: by its text alone, and against the facts of the data."""

from collections.abc import Iterator, Mapping

from titrant.compiler.bind.bound_recipe import CheckInput, Finding, meant
from titrant.runtime import catalog
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.data import BUNDLED, Data
from titrant.schema.recipe.transform import FITTED, Impute, is_given
from titrant.schema.values.slice import read_slice
from titrant.schema.values.units import counted

_SHOWN = 6  # classes that a warning names
_NAMED = 5  # columns that are warned of one by one


def roles_have_rows(given: CheckInput) -> Iterator[Finding]:
    """Refuse a split that leaves a role without rows which some step reads."""
    for role, reason in _needed(given).items():
        share = given.data.split.roles.get(role)
        if share is None:
            message = f"`split` gives no rows to `{role}`, and {reason}"
            advice = f"add `{role}: 0.1` under `split`, or a source name"
            yield given.finding("R109", ("data", "split", role), message, advice, part="key")
        elif share == 0 or (isinstance(share, Mapping) and not any(share.values())):
            message = f"`{role}` gets no rows, and {reason}"
            yield given.finding("R109", ("data", "split", role), message, "give it a share above 0")


def _needed(given: CheckInput) -> dict[str, str]:
    """Return the roles that steps read, each with the reason."""
    recipe = given.recipe
    needed = {}
    fitted = [step.name for step in given.data.transform if step.name in FITTED and not is_given(step)]
    if recipe.train is not None:
        needed["train"] = "training fits on them"
    needed["tuning"] = "candidates are compared on them"
    if (method := _calibrated(given)) is not None:
        needed["calibration"] = f"`{method}` calibrates on them"
    elif fitted and recipe.train is None:
        needed["calibration"] = f"`{fitted[0]}` is fitted on them, since the model is trained already"
    needed["evaluation"] = "the contract is judged on them"
    return needed


def _calibrated(given: CheckInput) -> str | None:
    """Return the explicit method if it calibrates."""
    method = given.recipe.quantization.method
    operator = catalog.method_operator(method)
    if method in ("auto", "none") or ":" in method or operator not in catalog.names():
        return None
    declared = catalog.get(operator).method
    return method if declared is not None and declared.calibrated else None


def rows_are_real(given: CheckInput) -> Iterator[Finding]:
    """Refuse what random inputs cannot serve: calibration, transforms, training."""
    if given.has_source:
        return
    if (method := _calibrated(given)) is not None:
        message = f"`{method}` calibrates, and without `data` there are only random inputs"
        advice = "add `data` with a source, or choose `ort.dynamic`"
        yield given.finding("R109", ("quantization", "method"), message, advice)
    if given.recipe.train is not None:
        message = "training needs rows, and the recipe has no `data`"
        yield given.finding("R109", ("train",), message, "add `data` with a source, or take `train` out", part="key")


def bundled_sets_exist(given: CheckInput) -> Iterator[Finding]:
    """Refuse a set that scikit-learn does not bring along."""
    alone = {"source": given.data.source, "unlabeled": given.data.unlabeled}
    named: list[tuple[KeyPath, str | None]] = [
        (("data", key, "sklearn"), source.sklearn) for key, source in alone.items() if source is not None
    ]
    named += [
        (("data", "sources", name, "sklearn"), entry.sklearn) for name, entry in (given.data.sources or {}).items()
    ]
    for path, name in named:
        if name is not None and name not in BUNDLED:
            message = f"scikit-learn brings no set `{name}`"
            yield given.finding("R118", path, message, meant(name, BUNDLED, "it brings"))


def images_are_read_alike(given: CheckInput) -> Iterator[Finding]:
    """Refuse sources whose images are read in several ways: a released model reads every image in one."""
    first = None
    for name, source in (given.data.sources or {}).items():
        folder = source.image_folder
        if folder is None:
            continue
        first = first or (name, folder)
        for key in ("color", "background", "window"):
            own, other = getattr(folder, key), getattr(first[1], key)
            if own != other:
                path: KeyPath = ("data", "sources", name, "image_folder")
                message = f"`{first[0]}` and `{name}` read their images with another `{key}`"
                whole = (*path, key) if given.written(*path, key) else path
                yield given.finding("R150", whole, message, f"write the same `{key}` in both, as the model was trained")


def classes_fit(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check the classes against the task, and `positive` against the classes."""
    if not given.classifying:
        return
    label: KeyPath = ("data", "label")
    if len(data.classes) == 1:
        message = f"the label has one class only, `{data.classes[0]}`: there is nothing to tell apart"
        yield given.finding(
            "R134", label, message, "check that the label is the right column, and the rows all of them"
        )
        return
    if given.recipe.task == "binary_classification" and len(data.classes) > 2:
        message = f"the label has {len(data.classes)} classes, and the task is binary"
        advice = "write `multiclass_classification`, or name a label with two values"
        yield given.finding("R134", ("task",), message, advice)
    positive = given.data.positive
    if positive is not None and data.positive is None:
        message = f"`{positive}` is not one of the classes"
        advice = meant(str(positive), data.classes, "they are")
        yield given.finding("R132", ("data", "positive"), message, advice)


def roles_are_filled(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Refuse roles that the split has left empty, and warn of classes that nothing is judged on."""
    needed = ["tuning", "evaluation", *(["train"] if given.recipe.train is not None else [])]
    for role in needed:
        if role not in data.roles or data.roles[role].rows == 0:
            message = f"`{role}` gets no rows: the data has {data.rows:,}"
            advice = "give it a larger share, or more data"
            yield given.finding("R135", ("data", "split", role), message, advice)
    if "evaluation" in data.roles and data.roles["evaluation"].rows:
        counts = data.roles["evaluation"].classes
        missing = [name for name in data.classes if not counts.get(name)]
        if missing:
            named = ", ".join(f"`{name}`" for name in missing[:_SHOWN])
            more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
            message = f"no evaluation row is of class {named}{more}"
            advice = "gates say nothing about it"
            yield given.finding("R135", ("data", "split"), message, advice, severity="warning")


def threshold_can_be_set(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Refuse an operating point by sensitivity where no tuning row is positive."""
    point, path = given.recipe.validation.operating_point, ("validation", "operating_point", "sensitivity")
    if point.sensitivity is None or data.positive is None or "tuning" not in data.roles:
        return
    if data.roles["tuning"].rows and not data.roles["tuning"].classes.get(data.positive):
        message = f"no tuning row is of class `{data.positive}`, and its sensitivity sets the threshold on them"
        yield given.finding("R135", path, message, "give `tuning` a larger share, or write a `threshold`")


def slices_have_rows(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check that the classes and subgroup values that free gates name are there at all."""
    groups = subgroup_values(data)
    for place, gate in enumerate(given.recipe.validation.gates):
        path = ("validation", "gates", place, "slice")
        cases = read_slice(gate.slice)
        if cases.kind == "class" and cases.class_name not in data.classes:
            message = f"there is no class `{cases.class_name}`"
            yield given.finding("R133", path, message, meant(cases.class_name, data.classes, "they are"))
        values = groups.get(cases.group)
        if cases.kind == "subgroup" and values is not None and cases.value not in values:
            message = f"no row is in subgroup `{cases.subgroup}`"
            yield given.finding("R133", path, message, meant(cases.value, values, "its values are"))


def columns_exist(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Find columns that the data does not have."""
    if not given.has_source or not data.columns:
        return
    names = [column.name for column in data.columns]
    for path, name in _named(given):
        if name not in names:
            yield given.finding("R131", path, f"the data has no column `{name}`", meant(name, names, "it has"))


def _named(given: CheckInput) -> Iterator[tuple[KeyPath, str]]:
    """List the columns that the recipe names for the data as a whole; a source's own names are its loader's matter."""
    data = given.data
    if isinstance(data.label, str):  # of several, loading says which is not there
        yield ("data", "label"), data.label
    yield from _named_inputs(data)
    if data.split.by not in ("row", "order"):
        yield ("data", "split", "by"), data.split.by
    if data.strata is not None:
        yield ("data", "strata"), data.strata
    for group, subgroup in data.subgroups.items():
        yield ("data", "subgroups", group, "column"), subgroup.column
    for place, step in enumerate(data.transform):
        for index, name in enumerate(step.columns or ()):
            yield ("data", "transform", place, step.name, "columns", index), name


def _named_inputs(data: Data) -> Iterator[tuple[KeyPath, str]]:
    if not isinstance(data.inputs, Mapping):
        for place, name in enumerate(data.inputs or ()):
            yield ("data", "inputs", place), name
        return
    for model_input, part in data.inputs.items():
        if isinstance(part, str):
            yield ("data", "inputs", model_input), part
            continue
        for place, name in enumerate(part):
            yield ("data", "inputs", model_input, place), name


def gaps_are_filled(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Refuse missing values in an input that no transform fills."""
    if not given.has_source:
        return
    if given.data.transform_from is not None:
        return  # what is loaded fills gaps or does not: rows with one that is left are refused
    filled = [step for step in given.data.transform if isinstance(step, Impute)]
    if any(step.columns is None and step.values is None for step in filled):
        return
    covered = {name for step in filled for name in (*(step.columns or ()), *(step.values or ()))}
    not_inputs = {given.data.label_name, given.data.split.by} | {
        source.label for source in (given.data.sources or {}).values() if source.label is not None
    }
    gaps = [
        column
        for column in data.columns
        if column.missing and column.name not in covered and _is_input(given, column.name, not_inputs)
    ]
    if gaps:
        worst = ", ".join(f"`{column.name}` ({column.missing:,})" for column in gaps[:4])
        more = f" and {len(gaps) - 4} more" if len(gaps) > 4 else ""
        rows = "in" if len(gaps) == 1 else "in the columns"
        message = f"values are missing {rows} {worst}{more}, and nothing fills them"
        advice = (
            "add `- impute` before the other transforms (`impute: {strategy: keep}` for trees trained on gaps), "
            "or leave the columns out of `data.inputs`"
        )
        yield given.finding("R138", ("data", "transform"), message, advice, part="key")


def _is_input(given: CheckInput, name: str, not_inputs: set[str | None]) -> bool:
    named = given.data.input_columns
    return name in named if named is not None else name not in not_inputs


def columns_leak(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Warn of inputs each of which tells the classes apart alone: most often they are known after the answer only."""
    for leak in data.leaks[:_NAMED]:
        message = (
            f"`{leak.column}` gives the label away alone: {leak.measure} {leak.score:.3f} on "
            f"{counted(leak.rows, 'train and tuning row')}"
        )
        advice = "leave it out of `data.inputs`, unless it is known before the answer is"
        yield given.finding("R154", ("data", "inputs", leak.column), message, advice, severity="warning")
    if len(data.leaks) > _NAMED:
        message = f"{counted(len(data.leaks) - _NAMED, 'column')} more give the label away alone"
        advice = "`titrant inspect --json` lists them"
        yield given.finding("R154", ("data", "inputs"), message, advice, severity="warning")


def numbers_stand_in(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Warn of a number that seems to stand for a missing one; it is not taken for one, since it may be a value."""
    csv = given.data.source is not None and given.data.source.csv is not None
    for odd in data.stand_ins[:_NAMED]:
        message = f"`{odd.column}` is {odd.number} in {counted(odd.rows, 'row')}, far from all its other values"
        mend = f"`csv: {{path: …, missing: [{odd.number}]}}`" if csv else "a data factory"
        advice = f"if it stands for a missing value, read it so, by {mend}"
        path = ("data", "source", odd.column, odd.number)
        yield given.finding("R155", path, message, advice, severity="warning")


def subgroup_values(data: DataFacts) -> dict[str, tuple[str, ...]]:
    """Return the values of every subgroup in any role, in the order of the data."""
    from titrant.schema.recipe.data import PRECEDENCE

    values_by_group: dict[str, dict[str, None]] = {}
    for role in PRECEDENCE:
        if role in data.roles:
            for group, values in data.roles[role].subgroups.items():
                values_by_group.setdefault(group, {}).update(dict.fromkeys(values))
    return {group: tuple(values) for group, values in values_by_group.items()}
