"""Check classes, roles and slices against the rows that there are."""

from collections.abc import Iterator

from titrant.compiler.checks.look import Finding, Look, Path, meant
from titrant.compiler.gate_presets import subgroup_values
from titrant.schema.facts import DataFacts, ModelFacts


def classes_fit(look: Look, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check the classes against the task, and `positive` against the classes."""
    if not look.labelled:
        return
    label: Path = ("data", "label")
    if len(data.classes) == 1:
        message = f"the label has one class only, `{data.classes[0]}`: there is nothing to tell apart"
        yield look.finding("R134", label, message, "check that the label is the right column, and the rows all of them")
        return
    if look.recipe.task == "binary_classification" and len(data.classes) > 2:
        message = f"the label has {len(data.classes)} classes, and the task is binary"
        advice = "write `multiclass_classification`, or name a label with two values"
        yield look.finding("R134", ("task",), message, advice)
    positive = look.data.positive
    if positive is not None and data.positive is None:
        message = f"`{positive}` is not one of the classes"
        advice = meant(str(positive), data.classes, "they are")
        yield look.finding("R132", ("data", "positive"), message, advice)


def roles_are_filled(look: Look, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Refuse roles that the split has left empty, and warn of classes that nothing is judged on."""
    needed = ["tuning", "evaluation", *(["train"] if look.recipe.train is not None else [])]
    for role in needed:
        if role not in data.roles or data.roles[role].rows == 0:
            message = f"`{role}` gets no rows: the data has {data.rows:,}"
            advice = "give it a larger share, or more data"
            yield look.finding("R135", ("data", "split", role), message, advice)
    if "evaluation" in data.roles and data.roles["evaluation"].rows:
        counts = data.roles["evaluation"].classes
        missing = [name for name in data.classes if not counts.get(name)]
        if missing:
            named = ", ".join(f"`{name}`" for name in missing)
            message = f"no evaluation row is of class {named}"
            advice = "gates say nothing about it"
            yield look.finding("R135", ("data", "split"), message, advice, severity="warning")


def threshold_can_be_set(look: Look, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Refuse an operating point by sensitivity where no tuning row is positive."""
    point, path = look.recipe.validation.operating_point, ("validation", "operating_point", "sensitivity")
    if point.sensitivity is None or data.positive is None or "tuning" not in data.roles:
        return
    if data.roles["tuning"].rows and not data.roles["tuning"].classes.get(data.positive):
        message = f"no tuning row is of class `{data.positive}`, and its sensitivity sets the threshold on them"
        yield look.finding("R135", path, message, "give `tuning` a larger share, or write a `threshold`")


def slices_have_rows(look: Look, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check that the classes and subgroup values that free gates name are there at all."""
    groups = subgroup_values(data)
    for place, gate in enumerate(look.recipe.validation.gates):
        path = ("validation", "gates", place, "slice")
        kind, _, name = gate.slice.partition(" ")
        if kind == "class" and name not in data.classes:
            yield look.finding("R133", path, f"there is no class `{name}`", meant(name, data.classes, "they are"))
        group, _, value = name.partition(".")
        if kind == "subgroup" and group in groups and value not in groups[group]:
            message = f"no row is in subgroup `{group}.{value}`"
            yield look.finding("R133", path, message, meant(value, groups[group], "its values are"))
