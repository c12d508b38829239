"""Check that every gate that the recipe asks for can mean something for its task and data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from titrant.compiler.bind.bound_recipe import CheckInput, Finding, meant
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.gate import (
    BESIDE_ORIGINAL,
    CALIBRATION_INTERCEPT,
    CALIBRATION_SLOPE,
    LESS_IS_BETTER,
    NET_BENEFIT,
    gate_test,
    guarding_comparison,
)
from titrant.schema.language.spans import KeyPath
from titrant.schema.open_looks import OPEN
from titrant.schema.recipe.model import BOXES
from titrant.schema.recipe.tasks import CASE_METRICS, OF_ONE_LABEL
from titrant.schema.recipe.validation import Agreement, Bias, FreeGate, Safety
from titrant.schema.values.slice import read_slice

# Metrics that need to know which class is the positive one.
OF_POSITIVE = (
    "sensitivity", "specificity", "precision", "f1", "auroc", NET_BENEFIT, CALIBRATION_SLOPE, CALIBRATION_INTERCEPT,
)  # fmt: skip
# Metrics that are no fraction → what a threshold of theirs may be, and in words.
_RANGES = {
    CALIBRATION_SLOPE: (0.0, 10.0, "a slope, of which 1 is right"),
    CALIBRATION_INTERCEPT: (-10.0, 10.0, "in logits, of which 0 is right"),
}


def presets_have_facts(given: CheckInput) -> Iterator[Finding]:
    """Refuse a preset that the recipe itself asks for and whose facts it leaves out."""
    validation = given.recipe.validation
    for name in ("safety", "bias", "calibration", "clinical_relevance"):
        if getattr(validation, name) in (None, "none"):
            continue
        if not given.labelled:
            message = f"`{name}` needs labels, and `task: {given.recipe.task}` has none"
            yield given.finding("R110", ("validation", name), message, "take it out; `retention` judges the agreement")
        elif not given.classifying and name in _about_classes(given):
            message = f"`{name}` is about classes, and `task: {given.recipe.task}` has none"
            advice = f"take it out; `gates` take {_names(given.task.metrics)}"
            yield given.finding("R110", ("validation", name), message, advice)
    critical = given.task.label in ("class", "labels")
    if isinstance(validation.safety, Safety) and critical and given.data.positive is None:
        message = "`safety` is about the critical class, and `data.positive` does not name it"
        yield given.finding("R110", ("validation", "safety"), message, "add `positive: …` under `data`", part="key")
    if isinstance(validation.bias, Bias):
        yield from _bias(given, validation.bias)


def _bias(given: CheckInput, bias: Bias) -> Iterator[Finding]:
    path = ("validation", "bias")
    if not given.data.subgroups:
        message = "`bias` compares subgroups, and `data.subgroups` has none"
        yield given.finding("R110", path, message, "add `subgroups: {sex: {column: sex, values: [F, M]}}`", part="key")
    metric = bias.metric
    if metric is not None:
        yield from _metric(given, metric, (*path, "metric"))
        try:
            gate_test(metric, "ratio_at_least")
        except ValueError:
            message = f"subgroups cannot be compared by `{metric}`"
            instead = [name for name in given.task.metrics if _compares_groups(name)]
            yield given.finding("R112", (*path, "metric"), message, f"take {_either(instead)}")


def _compares_groups(metric: str) -> bool:
    try:
        gate_test(metric, "ratio_at_least")
    except ValueError:
        return False
    return True


def gates_mean_something(given: CheckInput) -> Iterator[Finding]:
    """Check each free gate, its metric, comparison, slice and threshold, and what the original must reach."""
    seen: dict[tuple[str, str, str], int] = {}
    names: dict[str, int] = {}
    for place, gate in enumerate(given.recipe.validation.gates):
        path = ("validation", "gates", place)
        if ":" in gate.metric:
            continue
        yield from _gate(given, gate, path)
        key = (gate.metric, gate.slice, gate.comparison)
        if key in seen:
            message = f"gate {seen[key] + 1} already asks for `{gate.metric}` {gate.comparison} on {gate.slice}"
            yield given.finding("R116", path, message, "keep the stricter of the two")
        seen.setdefault(key, place)
        if gate.name is not None and gate.name in names:
            message = f"gate {names[gate.name] + 1} is already named `{gate.name}`"
            yield given.finding("R116", (*path, "name"), message, "give each gate its own name")
        if gate.name is not None:
            names.setdefault(gate.name, place)
    yield from _baseline(given)


def _gate(given: CheckInput, gate: FreeGate, path: KeyPath) -> Iterator[Finding]:
    kind = read_slice(gate.slice).kind
    problem = next(_metric(given, gate.metric, (*path, "metric"), of_class=kind == "class"), None)
    if problem is not None:
        yield problem
        return
    if given.task.label == "labels" and gate.metric in OF_ONE_LABEL and kind == "all" and given.data.positive is None:
        message = f"`{gate.metric}` is about one label"
        yield given.finding("R112", (*path, "metric"), message, "name it: `slice: class X`, or `data.positive`")
        return
    if not given.has_classes and kind == "class":
        message = f"`task: {given.recipe.task}` has no classes"
        yield given.finding("R112", (*path, "slice"), message, "write `all`, or a subgroup")
    try:
        gate_test(gate.metric, gate.comparison)
    except ValueError as error:
        yield given.finding("R112", (*path, "comparison"), f"`{gate.comparison}`: {error}")
        return
    guarding = guarding_comparison(gate.metric, gate.comparison)
    if guarding != gate.comparison:
        message = f"`{gate.comparison}` guards nothing here: {_direction(gate.metric)}"
        yield given.finding("R125", (*path, "comparison"), message, f"write `comparison: {guarding}`")
        return
    yield from _clinical(given, gate, path)
    if gate.metric in _RANGES:
        low, high, what = _RANGES[gate.metric]
        if not low <= gate.threshold <= high:
            message = f"`{gate.threshold:g}` is out of range: it is {what}"
            yield given.finding("R113", (*path, "threshold"), message, f"from {low:g} to {high:g}")
        return
    ratio = gate.comparison == "retention"
    if not ratio and _is_unbounded(gate.metric):
        return  # in the unit of the label
    if gate.threshold < 0 or gate.threshold > (2 if ratio else 1):
        what = "a ratio to the original, about 1" if ratio else "a fraction, 0 to 1 and never percent"
        close = f"did you mean `{gate.threshold / 100:g}`?" if 1 < gate.threshold <= 100 else ""
        yield given.finding("R113", (*path, "threshold"), f"`{gate.threshold:g}` is out of range: it is {what}", close)


def _about_classes(given: CheckInput) -> tuple[str, ...]:
    """Name the presets that are about classes alone; one of several labels may be critical."""
    return ("calibration",) if given.task.label == "labels" else ("safety", "calibration")


def _clinical(given: CheckInput, gate: FreeGate, path: KeyPath) -> Iterator[Finding]:
    """Refuse a net benefit without one operating point, and of one class alone, whose threshold it is not."""
    if gate.metric != NET_BENEFIT:
        return
    if given.recipe.task != "binary_classification":
        message = f"a net benefit belongs to one operating point, and `task: {given.recipe.task}` has none"
        yield given.finding("R114", (*path, "metric"), message, "take `balanced_accuracy`, or a metric of your own")
    elif read_slice(gate.slice).kind == "class":
        message = "a net benefit weighs caught cases against false alarms, and a class has one of the two"
        yield given.finding("R112", (*path, "slice"), message, "write `all`, or a subgroup")


def _names(metrics: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in metrics)


def _either(metrics: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(metrics[:-1]), metrics[-1])))


def _is_unbounded(metric: str) -> bool:
    return metric in CASE_METRICS and CASE_METRICS[metric].highest is None


def _direction(metric: str) -> str:
    return f"{'less' if metric in LESS_IS_BETTER else 'more'} of `{metric}` is better"


def _metric(given: CheckInput, metric: str, path: KeyPath, *, of_class: bool = False) -> Iterator[Finding]:
    """Check that a metric has a meaning for the task, and, where none is named, for its positive class."""
    task = given.recipe.task
    if not given.labelled:
        if metric != "agreement":
            message = f"`{metric}` needs labels, and `task: {task}` has none"
            yield given.finding("R111", path, message, "write `agreement`, or choose a labelled task")
    elif metric not in given.task.metrics:
        names = _names(given.task.metrics)
        yield given.finding("R111", path, f"`{metric}` has no meaning for `task: {task}`", f"it has {names}")
    elif metric == "recall_at_1" and not given.labels_named:
        message = "`recall_at_1` asks which rows belong together, and `data.label` does not say it"
        yield given.finding("R110", path, message, "add `label: …` under `data`, or write `neighbor`")
    elif of_class and metric in (*OF_ONE_LABEL, CALIBRATION_SLOPE, CALIBRATION_INTERCEPT):
        return
    elif given.classifying and metric in OF_POSITIVE and given.data.positive is None:
        message = f"`{metric}` is about the positive class, and `data.positive` does not name it"
        yield given.finding("R110", path, message, "add `positive: …` under `data`")


def _baseline(given: CheckInput) -> Iterator[Finding]:
    """Check the metric and value that the original must reach."""
    baseline = given.recipe.validation.baseline
    if baseline is None or ":" in baseline.metric:
        return
    path: KeyPath = ("validation", "baseline", "metric")
    problem = next(_metric(given, baseline.metric, path), None)
    if problem is not None:
        yield problem
    elif baseline.metric in ("agreement", *BESIDE_ORIGINAL):
        yield given.finding("R112", path, "the original always agrees with itself", "take a metric of the labels")
    elif baseline.metric in LESS_IS_BETTER:
        message = f"`at_least` guards nothing here: {_direction(baseline.metric)}"
        own = [name for name in given.task.metrics if name not in (*LESS_IS_BETTER, *BESIDE_ORIGINAL, "agreement")]
        advice = f"take a metric of which more is better, such as `{own[0]}`" if own else ""
        yield given.finding("R125", path, message, advice or _instead_of_baseline(baseline.metric))
    elif not 0 <= baseline.at_least <= 1:
        message = f"`{baseline.at_least:g}` is out of range: it is a fraction, 0 to 1 and never percent"
        yield given.finding("R113", ("validation", "baseline", "at_least"), message)


def _instead_of_baseline(metric: str) -> str:
    return f"take `baseline` out, and write `gates: [{{metric: {metric}, comparison: at_most, threshold: …}}]`"


def agreement_fits(given: CheckInput) -> Iterator[Finding]:
    """Check what counts as the same answer: only without labels, with a tolerance where the measure has one."""
    said = given.recipe.validation.agreement
    path: KeyPath = ("validation", "agreement")
    if said is None:
        return
    if given.task.label == "tokens":
        yield from _tokens_agree(given, said, path)
    if given.classifying:
        message = f"`agreement` is for outputs without labels, and `task: {given.recipe.task}` has labels"
        yield given.finding("R110", path, message, "take it out; `clinical_relevance` compares decisions", part="key")
        return
    if isinstance(said, Agreement):
        yield from _agreement(given, said, path)
        if said.at_least is not None and given.task.by_case:
            message = f"`retention` is about `{given.task.main}` here, and not about the share that agrees"
            advice = "write `gates: [{metric: agreement, comparison: at_least, threshold: …}]`"
            yield given.finding("R112", (*path, "at_least"), message, advice, part="key")
        elif said.at_least is not None and given.written("validation", "retention"):
            message = "`at_least` and `retention` both say which share of the cases agrees"
            yield given.finding("R112", (*path, "at_least"), message, "take one of them out", part="key")
        return
    for output, of_output in said.items():
        yield from _agreement(given, of_output, (*path, output))
        if of_output.at_least is not None:
            message = "all outputs of a case must agree, so that one share holds for all of them"
            yield given.finding("R112", (*path, output, "at_least"), message, "say it under `retention`", part="key")


def _tokens_agree(given: CheckInput, said: Agreement | Mapping[str, Agreement], path: KeyPath) -> Iterator[Finding]:
    """Of a language model nothing is kept of an output but each position's token."""
    each = {path: said} if isinstance(said, Agreement) else {(*path, name): of for name, of in said.items()}
    for place, agreement in each.items():
        if agreement.measure not in ("auto", "same_class"):
            message = f"`{agreement.measure}` compares numbers, and of a language model tokens are compared"
            advice = "write `same_class`, or a gate on `token_agreement`"
            yield given.finding("R112", (*place, "measure"), message, advice)


def _agreement(given: CheckInput, said: Agreement, path: KeyPath) -> Iterator[Finding]:
    if said.measure == "absolute" and said.tolerance is None:
        message = "an absolute difference has no scale of its own"
        yield given.finding("R112", path, message, "write its `tolerance`, in the output's own unit", part="key")
    elif said.tolerance is not None and said.measure in ("same_class", "neighbor"):
        message = f"`{said.measure}` is the same or not, and takes no tolerance"
        yield given.finding("R112", (*path, "tolerance"), message, "take it out", part="key")
    elif said.tolerance is not None and said.measure == "auto":
        message = "what a tolerance means depends on the measure, which `auto` leaves to the kind of the output"
        yield given.finding("R112", (*path, "tolerance"), message, "write the `measure` too", part="key")
    elif said.tolerance is not None and said.tolerance > 1 and said.measure in ("cosine", "dice", "relative"):
        message = f"`{said.tolerance:g}` is out of range: it is from 0 to 1"
        yield given.finding("R113", (*path, "tolerance"), message)


def agreement_outputs_exist(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check that every output that agreement is said of is one of the model's."""
    said = given.recipe.validation.agreement
    if said is None or isinstance(said, Agreement):
        return
    names = [spec.name for spec in model.outputs]
    for output in said:
        if output not in ([BOXES] if given.recipe.model.decode is not None else names):
            message = f"the model has no output `{output}`"
            at: KeyPath = ("validation", "agreement", output)
            yield given.finding("R137", at, message, meant(output, names, "it has"), part="key")


def same_class_has_several(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Refuse `same_class` for an output of one number a case: the largest of one is always the same."""
    said, named = given.recipe.validation.agreement, [spec.name for spec in given.recipe.model.output or ()]
    judged = given.task.label == "labels" and ((named and named[0]) or model.outputs[0].name)  # by what it decides
    if said is None or given.recipe.model.decode is not None:
        return
    for spec in model.outputs:
        of_output = said if isinstance(said, Agreement) else said.get(spec.name)
        if of_output is None or of_output.measure != "same_class" or spec.name == judged:
            continue
        if len(spec.shape) < 2 or spec.shape[-1] == 1:
            at: KeyPath = ("validation", "agreement") if said is of_output else ("validation", "agreement", spec.name)
            message = (
                f"`same_class` finds the largest of several numbers, and the output `{spec.name}` has one: always it"
            )
            advice = "write `relative`, or `absolute` with a tolerance"
            yield given.finding("R112", (*at, "measure"), message, advice)


# What decides in place of an operating point, by what the labels of a task are.
_DECIDES = {
    "class": "take it out: the class with the largest score is chosen",
    "labels": "take it out: each label is decided from a probability of one half on",
    "mask": "take it out: the class with the largest score is chosen in each pixel",
    "boxes": "write `threshold`, the score from which on a box counts",
}


def operating_point_is_binary(given: CheckInput) -> Iterator[Finding]:
    """Refuse an operating point where no single score is compared with a threshold."""
    path: KeyPath = ("validation", "operating_point")
    if not given.written(*path):
        return
    point = given.recipe.validation.operating_point
    if given.recipe.task == "detection" and point.sensitivity is None:
        return  # the score from which on a box counts
    if given.recipe.task != "binary_classification":
        message = f"an operating point belongs to two classes, and the task is `{given.recipe.task}`"
        advice = _DECIDES.get(given.task.label, "take it out: nothing is decided by a score")
        yield given.finding("R114", path, message, advice, part="key")
    elif given.data.positive is None:
        message = "an operating point is about the positive class, and `data.positive` does not name it"
        yield given.finding("R110", path, message, "add `positive: …` under `data`", part="key")
    elif point.sensitivity == 0:
        message = "a sensitivity of 0 sets no threshold"
        yield given.finding("R113", (*path, "sensitivity"), message, "such as `0.95`")


# Tests of which some bound holds however often rows are added and judged.
_AT_ANY_TIME = (
    "case_means", "score_ratio", "paired_difference", "exact_binomial", "paired_mean", "group_ratio", "two_proportions",
    "bounded_mean",
)  # fmt: skip


def open_looks_have_bounds(given: CheckInput) -> Iterator[Finding]:
    """Refuse a gate of open looks whose bounds hold for a planned number of looks only."""
    validation = given.recipe.validation
    if validation.looks != OPEN:
        return
    named: list[tuple[KeyPath, str, str]] = [
        (("validation", "gates", place, "metric"), gate.metric, gate.comparison)
        for place, gate in enumerate(validation.gates)
    ]
    if validation.baseline is not None:
        named.append((("validation", "baseline", "metric"), validation.baseline.metric, "at_least"))
    for path, metric, comparison in named:
        try:
            bounded = ":" in metric or gate_test(metric, comparison) in _AT_ANY_TIME
        except ValueError:
            continue  # said of the gate itself
        if not bounded:
            message = f"`looks: open` has no bound of `{metric}` ({comparison}) that holds at any number of looks"
            yield given.finding(
                "R140", path, message, "plan a number of looks, such as `looks: 5`, or take another metric"
            )


def confidence_is_usable(given: CheckInput) -> Iterator[Finding]:
    """Refuse a confidence at which no bound exists."""
    if given.recipe.validation.confidence <= 0.5:
        message = "a confidence of 0.5 is a coin toss"
        yield given.finding("R113", ("validation", "confidence"), message, "such as `0.95`")
