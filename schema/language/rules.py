"""Rules that tie keys together: what is right by itself may still contradict something else.

The rules of the `data` section are in `rules_data.py`.
"""

import itertools
from collections.abc import Callable, Iterator
from datetime import date

from titrant.schema.diagnostics.diagnostics import Diagnostic
from titrant.schema.language import rules_data, rules_transform
from titrant.schema.language.draft import Draft, UnsettledError
from titrant.schema.language.nearest import nearest
from titrant.schema.language.yaml_tree import MOST_FINDINGS, capped
from titrant.schema.recipe.deploy import FORMATS
from titrant.schema.recipe.model import MODEL_SOURCES
from titrant.schema.recipe.reduce import Budget, Range
from titrant.schema.values.slice import read_slice

_PRESETS = ("retention", "safety", "bias", "calibration", "clinical_relevance", "batch_invariance")


def operating_point_is_one(draft: Draft) -> Iterator[Diagnostic]:
    """An operating point is a threshold or a sensitivity."""
    point, path = draft.validation.operating_point, ("validation", "operating_point")
    if point.threshold is None and point.sensitivity is None:
        advice = "add `threshold: 0.5` or `sensitivity: 0.95`"
        yield draft.key("R021", "`operating_point` says nothing", path, advice)
    if point.threshold is not None and point.sensitivity is not None:
        message = "`threshold` and `sensitivity` would each set the operating point"
        yield draft.key("R021", message, (*path, "sensitivity"), "keep one of the two")


def safeguards_stay(draft: Draft) -> Iterator[Diagnostic]:
    """`preserve: medical` lets no preset be switched off."""
    if draft.get("preserve") != "medical":
        return
    for preset in _PRESETS:
        if getattr(draft.validation, preset) == "none":
            message = f"`{preset}` cannot be switched off under `preserve: medical`"
            yield draft.value("R022", message, ("validation", preset), "take this line out, or `preserve` out")


def gates_agree(draft: Draft) -> Iterator[Diagnostic]:
    """Two gates on one metric and slice leave room between them."""
    bounds: dict[tuple[str, str, str], float] = {}
    for index, gate in enumerate(draft.validation.gates):
        bounds.setdefault((gate.metric, gate.slice, gate.comparison), gate.threshold)
        low = bounds.get((gate.metric, gate.slice, "at_least"))
        high = bounds.get((gate.metric, gate.slice, "at_most"))
        if gate.comparison in ("at_least", "at_most") and low is not None and high is not None and low > high:
            message = f"no model reaches `{gate.metric}` of at least {low:g} and at most {high:g}"
            path = ("validation", "gates", index, "threshold")
            yield draft.value("R022", message, path, "mend one of the two gates")


def slices_exist(draft: Draft) -> Iterator[Diagnostic]:
    """A gate on a subgroup names one of `data.subgroups`."""
    groups = draft.data.groups if draft.data else {}
    for index, gate in enumerate(draft.validation.gates):
        named = read_slice(gate.slice)
        if named.kind != "subgroup":
            continue
        name, value = named.group, named.value
        path = ("validation", "gates", index, "slice")
        if name not in groups:
            choices = ", ".join(f"`{group}`" for group in groups) or "none: add it under `data.subgroups`"
            close = nearest(name, groups)
            advice = f"did you mean `subgroup {close}.{value}`?" if close else f"the subgroups are {choices}"
            yield draft.value("R027", f"there is no subgroup `{name}`", path, advice)
        elif (labels := groups[name].values) is not None and value not in labels:
            close = nearest(value, labels)
            choices = ", ".join(f"`{label}`" for label in list(labels)[:12])
            advice = f"did you mean `{close}`?" if close else f"its values are {choices}"
            yield draft.value("R027", f"the subgroup `{name}` has no value `{value}`", path, advice)


def waivers_end(draft: Draft) -> Iterator[Diagnostic]:
    """A waiver ends on a day that the calendar has."""
    for index, waiver in enumerate(draft.validation.accept):
        try:
            date.fromisoformat(waiver.until)
        except ValueError:
            path = ("validation", "accept", index, "until")
            yield draft.value("R018", f"the calendar has no day `{waiver.until}`", path, "such as `2027-01-31`")


def latency_limits_rise(draft: Draft) -> Iterator[Diagnostic]:
    """A latency target limits something or is offline, and a higher percentile is not limited lower."""
    latency = draft.get("target").latency
    if latency is None:
        return
    limits = [(name, getattr(latency, name)) for name in ("p50", "p95", "p99") if getattr(latency, name) is not None]
    if not limits and latency.scenario != "offline":
        message = "`latency` limits nothing"
        yield draft.key("R021", message, ("target", "latency"), "add `p95: 5 ms` (or `p50`, `p99`)")
    for (low, lower), (high, higher) in itertools.pairwise(limits):
        if higher < lower:
            message = f"`{high}` is stricter than `{low}`, and can never be below it"
            yield draft.value("R022", message, ("target", "latency", high), f"`{high}` is `{low}` or more")


CONTRACT_RULES = (
    operating_point_is_one,
    safeguards_stay,
    gates_agree,
    slices_exist,
    waivers_end,
    latency_limits_rise,
)


def exports_differ(draft: Draft) -> Iterator[Diagnostic]:
    """No two files have the same format and name, nor the same written name; ONNX options belong to ONNX."""
    seen: set[tuple[str, str]] = set()
    names: set[str] = set()
    for index, export in enumerate(draft.export):
        path = ("export", index)
        name = export.name or "model"
        if (export.format, name) in seen:
            message = f"`{name}` is exported as `{export.format}` twice"
            yield draft.key("R022", message, path, "take one out, or give each a `name`")
        elif export.name in names:
            yield draft.value("R022", f"two files are named `{name}`", (*path, "name"), "give each a name of its own")
        seen.add((export.format, name))
        names |= {export.name} if export.name else set()
        for key in ("opset", "external_data"):
            # What a format of another package takes is known when the recipe is planned.
            if key in export.model_fields_set and export.format in _WITHOUT_OPTIONS:
                message = f"`{key}` is an option of ONNX, and this file is `{export.format}`"
                yield draft.key("R022", message, (*path, key), f"take `{key}` out")
        if export.external_data and export.format == "auto":
            message = "an ONNX file can keep its weights apart, and which format wins is not known yet"
            yield draft.value("R022", message, (*path, "external_data"), "write `format: onnx`")
        if export.transforms == "inside" and export.format != "onnx":
            message = f"an ONNX file can hold transforms, and this file is `{export.format}`"
            yield draft.value("R022", message, (*path, "transforms"), "write `format: onnx`, or `transforms: beside`")


def checks_what_is_searched(draft: Draft) -> Iterator[Diagnostic]:
    """Sensitivities are checked where mixtures are searched by them."""
    search = draft.get("search")
    if search.check_sensitivity and not search.mix_layers:
        message = "without `mix_layers` no sensitivity is found, and `check_sensitivity` has nothing to check"
        yield draft.key("R022", message, ("search", "check_sensitivity"), "take one of them out")


def search_ends(draft: Draft) -> Iterator[Diagnostic]:
    """A budget limits something, and ranges rise."""
    search = draft.get("search")
    if isinstance(search.budget, Budget) and search.budget.evaluations is None and search.budget.minutes is None:
        advice = "add `evaluations: 20` or `minutes: 30`"
        yield draft.key("R021", "`budget` limits nothing", ("search", "budget"), advice)
    for name, values in (search.space or {}).items():
        if isinstance(values, Range) and values.low >= values.high:
            message = f"the range of `{name}` does not rise from {values.low:g} to {values.high:g}"
            yield draft.value("R022", message, ("search", "space", name, "high"), "`low` is below `high`")
    if len(set(search.objective)) < len(search.objective):
        message = "an objective stands twice"
        yield draft.value("R022", message, ("search", "objective"), "name each once, first things first")


def factors_are_chosen(draft: Draft) -> Iterator[Diagnostic]:
    """Low-rank factors are cut by energy or by rank."""
    reduction = draft.get("reduction")
    factorize = reduction.factorize if reduction else None
    if factorize is None:
        return
    path = ("reduction", "factorize")
    if factorize.energy is None and factorize.rank is None:
        yield draft.key("R021", "`factorize` does not say how much is kept", path, "add `energy: 0.95` or `rank: 16`")
    if factorize.energy is not None and factorize.rank is not None:
        message = "`energy` and `rank` would each say how much is kept"
        yield draft.key("R021", message, (*path, "rank"), "keep one of the two")


def pressure_rises(draft: Draft) -> Iterator[Diagnostic]:
    """The pressure levels of the memory guard rise."""
    guard = draft.get("memory").guard
    levels = [("normal", guard.normal), ("high", guard.high), ("critical", guard.critical)]
    for (low, lower), (high, higher) in itertools.pairwise(levels):
        if higher <= lower:
            message = f"`{high}` at {higher:g} is not above `{low}` at {lower:g}"
            yield draft.value("R022", message, ("memory", "guard", high), "the levels rise: .70, .85, .95")


def repairs_differ(draft: Draft) -> Iterator[Diagnostic]:
    """A repair is tried once."""
    repairs = draft.get("quantization").repair
    for place, name in enumerate(repairs if isinstance(repairs, tuple) else ()):
        if name in repairs[:place]:
            path = ("quantization", "repair", place)
            yield draft.value("R022", f"the repair `{name}` stands here twice", path, "keep one of them")


SECTION_RULES = (
    exports_differ, search_ends, checks_what_is_searched, factors_are_chosen, pressure_rises, repairs_differ,
)  # fmt: skip

# Files that hold their own weights and cannot be trained.
# The formats of the language that take no option of ONNX.
_WITHOUT_OPTIONS = tuple(form for form in FORMATS if form not in ("onnx", "auto"))
_FILES = ("onnx", "torchscript", "exported")


def one_model(draft: Draft) -> Iterator[Diagnostic]:
    """Exactly one key says what the model is."""
    given = [key for key in MODEL_SOURCES if getattr(draft.model, key) is not None]
    choice = ", ".join(f"`{key}`" for key in MODEL_SOURCES)
    if not given:
        yield draft.key("R021", "`model` does not say which model", ("model",), f"give it one of {choice}")
    for key in given[1:]:
        message = f"`{given[0]}` already says which model, and here stands `{key}`"
        yield draft.key("R021", message, ("model", key), f"keep one of {choice}")


def _only(draft: Draft) -> str | None:
    """Return the one key that says what the model is; None where there are none or several."""
    given = [key for key in MODEL_SOURCES if getattr(draft.model, key) is not None]
    return given[0] if len(given) == 1 else None


def weights_fit(draft: Draft) -> Iterator[Diagnostic]:
    """A file brings its own weights and arguments."""
    kind = _only(draft)
    if kind not in _FILES:
        return
    # Only an ONNX file can be told of recurrent state.
    for key in ("weights", "args") if kind == "onnx" else ("weights", "args", "state"):
        if key in draft.model.model_fields_set and getattr(draft.model, key) != "included":
            message = f"`model.{kind}` is a whole model, and `{key}` has nothing to act on"
            yield draft.key("R022", message, ("model", key), f"take `{key}` out, or build the model with `factory`")


def trained_or_weighted(draft: Draft) -> Iterator[Diagnostic]:
    """A factory without weights must be trained, and a file cannot be."""
    model, train = draft.model, draft.get("train")
    kind = _only(draft)
    if kind == "factory" and model.weights is None and train is None:
        message = "this model has neither weights nor training"
        advice = "add `weights:` (a file, or `included` if the factory loads its own), or a `train:` section"
        yield draft.key("R022", message, ("model", "factory"), advice)
    if kind in _FILES and train is not None:
        message = f"a model from `{kind}` cannot be trained"
        yield draft.key("R022", message, ("train",), "take `train` out, or build the model with `factory`")


def four_bits(draft: Draft) -> Iterator[Diagnostic]:
    """Four bits are refused where the medical safeguards hold."""
    level, preserve, quantization = draft.get("level"), draft.get("preserve"), draft.get("quantization")
    reason = "`level: medical_critical`" if level == "medical_critical" else "`preserve: medical`"
    if level != "medical_critical" and preserve != "medical":
        return
    if quantization.bits == 4:
        message = f"4 bits are refused under {reason}"
        yield draft.value("R022", message, ("quantization", "bits"), "write 8 or 16, or choose another level")
    elif quantization.method in ("bnb.nf4", "bnb.fp4", "torchao.int4"):
        message = f"`{quantization.method}` holds weights in 4 bits, which are refused under {reason}"
        yield draft.value("R022", message, ("quantization", "method"), "choose an 8-bit method, or another level")


def values_are_one_number(draft: Draft) -> Iterator[Diagnostic]:
    """A value is that of an input without dimensions; other inputs are made of the data."""
    for place, spec in enumerate(draft.model.inputs or ()):
        if spec.value is not None and spec.shape:
            message = f"`value` is one number for a whole batch, and `{spec.name}` has the shape of the data's rows"
            advice = "write `shape: []`, or take `value` out"
            yield draft.key("R022", message, ("model", "inputs", place, "value"), advice)


def state_is_told(draft: Draft) -> Iterator[Diagnostic]:
    """Recurrent state of a factory has its shapes in `model.inputs`; a model that has some is not trained here."""
    model, train = draft.model, draft.get("train")
    if model.state is None:
        return
    if not model.state:
        advice = "write which output is fed to which input, such as {hn: h}, or take it out"
        yield draft.value("R164", "`model.state` names no output and input", ("model", "state"), advice)
    if train is not None:
        message = "a model with recurrent state is not trained here: `train` knows of no steps"
        yield draft.key("R022", message, ("train",), "take `train` out, and train the model where it is from")
    if model.factory is None:
        return
    named = {spec.name for spec in model.inputs or ()}
    for output, target in model.state.items():
        if target not in named:
            message = f"nothing says which shape the state `{target}` has"
            advice = f"list every input in model.inputs, this one as {{name: {target}, shape: [1, batch, 64]}}"
            yield draft.value("R164", message, ("model", "state", output), advice)


MODEL_RULES = (one_model, weights_fit, trained_or_weighted, four_bits, values_are_one_number, state_is_told)

Rule = Callable[[Draft], Iterator[Diagnostic]]
RULES: tuple[Rule, ...] = (
    *MODEL_RULES,
    *rules_data.SOURCE_RULES,
    *rules_data.SPLIT_RULES,
    *rules_data.SUBGROUP_RULES,
    *rules_transform.TRANSFORM_RULES,
    *CONTRACT_RULES,
    *SECTION_RULES,
)


def check(draft: Draft) -> list[Diagnostic]:
    """Run every rule whose sections are right; a rule about a section that is not says nothing.

    Of more mistakes than anybody reads the first are worded, and that there are more.
    """
    diagnostics: list[Diagnostic] = []
    for rule in RULES:
        try:
            diagnostics += itertools.islice(rule(draft), MOST_FINDINGS + 1 - len(diagnostics))
        except UnsettledError:
            continue
    return capped(diagnostics)
