"""The contract's gates, the statistical test of each, what judging them answered, and a gate's threshold in words."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from titrant.schema.contract.earlier import WHOSE
from titrant.schema.contract.waivers import GateWaiver
from titrant.schema.recipe.own_metric import OwnMetric
from titrant.schema.recipe.tasks import CASE_METRICS, SET_METRICS
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.slice import Slice, read_slice
from titrant.schema.values.units import format_size, format_time

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Comparison = Literal[
    "at_least", "at_most", "retention", "drop_at_most", "rise_at_most", "ratio_at_least", "ratio_at_most"
]
# Comparisons for which small is good: the upper bound decides.
SMALLER_IS_BETTER: tuple[Comparison, ...] = ("at_most", "drop_at_most", "rise_at_most", "ratio_at_most")


# That the original beats the best constant answer: what is compared with one that does not proves nothing.
REFERENCE = "reference"
# That a reduced network that was trained again keeps what the original has after the same training.
FINE_TUNED = "fine_tuned"
# That every layer runs in the precision that was planned for it.
EXECUTED, AS_PLANNED = "executed", "layers_as_planned"


# Tests of what one clock and one counter say of two files: medians, percentiles, memory and bytes.
PAIRED_MEDIAN, PERCENTILE_RATIO, PEAK_RATIO, SIZE_RATIO = (
    "paired_median",
    "percentile_ratio",
    "peak_ratio",
    "size_ratio",
)
RATIO_TESTS = {
    "latency_p50": PAIRED_MEDIAN,
    "latency_p95": PERCENTILE_RATIO,
    "peak_memory": PEAK_RATIO,
    "size": SIZE_RATIO,
}


# The test of a throughput that is that of whole blocks of batches, one batch after another.
OFFLINE = "offline_blocks"


@dataclass(frozen=True)
class Gate:
    """One row of the contract.

    `slice` is the text of its cases, which `slice_of` reads: for a bias row the ordered pair "subgroup G.a / G.b"
    (ratio_at_least: metric in a over metric in b). `threshold` is in `unit`: "" for fractions and ratios, "s", "B",
    "cases/s". `needed_cases` is for 80 % power under `assumption`; `available_cases` is what the data has; either is
    None where the gate does not count cases (size) or nothing is known yet.
    """

    id: str
    preset: (
        # retention, fine_tuned, safety, bias, calibration, clinical_relevance, target, baseline, reference, executed,
        # regression, anchor, gates
        str
    )
    metric: str
    slice: str
    comparison: Comparison
    threshold: float
    test: str  # score_ratio, exact_binomial, delong, paired_mean, bootstrap, order_statistic, counted, read_back
    origin: str  # "level balanced", "recipes/x.yaml:12:3"
    unit: str = ""
    min_cases: int = 0
    needed_cases: int | None = None
    available_cases: int | None = None
    assumption: str = ""
    own: OwnMetric | None = None  # what a metric of the user's own declares, which `metric` names as module:name

    @property
    def of_original(self) -> bool:
        """Whether it is about the original alone; what `baseline` asks is judged before any candidate is made."""
        return self.preset in ("baseline", REFERENCE)

    @property
    def absolute(self) -> bool:
        """Whether it asks of a candidate what the original alone can miss as well: a value, whatever it was before."""
        alone = self.comparison in ("at_least", "at_most", "ratio_at_least")
        alone = alone and self.metric not in (*SHARES, *BESIDE_ORIGINAL, BATCH_INVARIANCE)
        return alone and self.preset not in ("baseline", "target", EXECUTED) and self.test != "not_assessable"


# The method of a result whose figures are not shown, as there are too few cases.
NOT_SHOWN = "not shown"
# The method of a result of a candidate that a step of its own kept from being judged.
NOT_JUDGED = "not judged"
# Answers that a gate must refuse: the original's in another order, with more of its cases broken than is allowed, and
# without the objects that the gate is about.
PERMUTED, BROKEN, MISCALIBRATED, WITHOUT = "permuted", "broken", "miscalibrated", "without"
# An image without an object scores by whether one is made up there, so that who finds none anywhere may score best.
_OF_OBJECTS = ("dice", "iou", "surface_distance", "hausdorff_95", "box_f1")
# Net benefit of a decision curve at the operating point; slope of the logistic recalibration, and its intercept given
# that the slope is 1.
NET_BENEFIT, CALIBRATION_SLOPE, CALIBRATION_INTERCEPT = "net_benefit", "calibration_slope", "calibration_intercept"
# metric → the controls that a gate on it is put to; one that is left out looks at no answers
CONTROLS: Mapping[str, tuple[str, ...]] = {
    "accuracy": (PERMUTED, BROKEN),
    "agreement": (PERMUTED, BROKEN),
    "auroc": (PERMUTED, BROKEN),
    "balanced_accuracy": (PERMUTED, BROKEN),
    "brier": (PERMUTED,),
    CALIBRATION_INTERCEPT: (MISCALIBRATED,),
    CALIBRATION_SLOPE: (MISCALIBRATED,),
    "f1": (PERMUTED, BROKEN),
    "kept": (PERMUTED, BROKEN),
    NET_BENEFIT: (PERMUTED, BROKEN),
    "precision": (PERMUTED, BROKEN),
    "same_decision": (PERMUTED, BROKEN),
    "sensitivity": (PERMUTED, BROKEN),
    "specificity": (PERMUTED, BROKEN),
    **dict.fromkeys((*CASE_METRICS, *SET_METRICS), (PERMUTED, BROKEN)),
    **dict.fromkeys(_OF_OBJECTS, (PERMUTED, BROKEN, WITHOUT)),
}


def controls_of(gate: Gate) -> tuple[str, ...]:
    """Return the answers that a gate must refuse; none where it is about the original alone, or about no answers.

    A bias row compares groups, whose shares a permutation makes alike: it must refuse that one of them is broken. What
    is compared with the fine-tuned original is put to nothing: the same row against the original is.
    """
    if gate.of_original or gate.preset == FINE_TUNED or gate.test == "not_assessable":
        return ()
    if gate.own is not None:
        return (PERMUTED,)  # of answers in another order no metric that looks at labels is as good
    return (BROKEN,) if gate.preset == "bias" else CONTROLS.get(gate.metric, ())


# How the origin of a row begins that the level supplied, not the recipe.
LEVEL_ORIGIN = "level "


def supplied(gate: Gate) -> bool:
    """Whether the level supplied a row; False where the recipe asks for it."""
    return gate.origin.startswith(LEVEL_ORIGIN) and ":" not in gate.origin


def slice_of(gate: Gate) -> Slice:
    """Return which cases a gate is about."""
    return read_slice(gate.slice, against=gate.comparison == "ratio_at_least")


_OWN = ("better", "low", "high", "unit")


def criteria(gate: Gate) -> dict[str, Any]:
    """Return what judging reads of a gate, as a step's parameter: neither its place in the recipe nor its planning.

    `supplied` says whether the level supplied it: only such a row is let through when its facts are missing.
    `assumption` is kept for a gate whose test is "not_assessable", where it says why.
    """
    value = {
        name: getattr(gate, name)
        for name in ("id", "preset", "metric", "slice", "comparison", "threshold", "test", "unit", "min_cases")
    } | {"supplied": supplied(gate)}
    own = {} if gate.own is None else {"own": {name: getattr(gate.own, name) for name in _OWN}}
    return value | own | ({"assumption": gate.assumption} if gate.test == "not_assessable" else {})


@dataclass(frozen=True)
class GateResult:
    """What one gate answered; `lower` and `upper` are one-sided bounds of `estimate` at the contract's confidence.

    `estimate` is the quantity that is compared with the threshold (a ratio for retention); `original` and `candidate`
    are the metric itself on either model. `cases` are counted, and `units` where several belong to one; `changed`
    counts those that decide the test. None: not assessable, or too few to be shown (`titrant.schema.min_cell`).
    `reason` says what was seen, or, where the gate is not `assessable`, what kept it from being assessed.
    """

    gate: str
    verdict: Verdict
    estimate: float | None
    lower: float | None
    upper: float | None
    original: float | None
    candidate: float | None
    cases: int | None
    changed: int | None
    needed_cases: int | None
    reason: str
    method: str
    refused: tuple[str, ...] = ()  # the controls that it was put to and refused
    let_through: str = ""  # in words the control that it would also let through: then nothing is released on it
    units: int | None = None
    p_value: float | None = None  # always valid, of a look of any number; None where looks are planned

    @property
    def assessable(self) -> bool:
        """Whether there is an estimate at all."""
        return self.estimate is not None


@dataclass(frozen=True)
class Judgement:
    """All gates of one candidate: the verdict is the worst of them.

    `released` is True when all passed, or, where the contract asks for evidence only, when every other gate is
    INCONCLUSIVE with an estimate that meets its threshold, or is supplied by the level and not assessable because its
    facts are missing; `proven` says whether all passed.
    """

    candidate: str
    verdict: Verdict
    released: bool
    proven: bool
    results: tuple[GateResult, ...]


@dataclass(frozen=True)
class Contract:
    """The gates and how strictly they are read."""

    gates: tuple[Gate, ...]
    confidence: float  # of every bound in each of the planned looks
    require: str  # proof, evidence
    # How often the evaluation rows may be judged on, beyond which nothing is proven; "open": any number, each model by
    # its share, which `confidence` is that of the first.
    looks: int | Literal["open"] = 1
    waivers: tuple[GateWaiver, ...] = ()  # gates that are let through although they do not pass


def asked_of_original(contract: Contract) -> str:
    """Name what a recipe asks of the original alone; "" where it asks nothing of it."""
    asked = (gate.preset for gate in contract.gates if gate.of_original and gate.preset != REFERENCE)
    return " and ".join(dict.fromkeys(asked))


def of_subgroups(contract: Contract) -> tuple[Gate, ...]:
    """Return the gates on a subgroup's cases that ask of a candidate beside the original: tuning rows tell of them."""
    asked = (gate for gate in contract.gates if gate.preset in ("bias", "gates") and gate.test != "not_assessable")
    return tuple(gate for gate in asked if slice_of(gate).kind == "subgroup")


# The share of cases that are answered alike alone, in the judged batch and in any other company.
BATCH_INVARIANCE = "batch_invariance"
# Proportions of cases: what is counted over what.
PROPORTIONS = ("accuracy", "sensitivity", "specificity")
# Metrics of what each case scores that say how alike the candidate answers.
BESIDE_ORIGINAL = tuple(name for name, rule in CASE_METRICS.items() if rule.beside_original)
# Shares of cases on which the candidate does as the original did.
SHARES = ("kept", "agreement", "same_decision")
LATENCIES = ("latency_p50", "latency_p95", "latency_p99")
BOOTSTRAPPED = ("balanced_accuracy", "precision", "f1")
# How metrics of a whole set of images are compared.
OF_SETS = ("at_least", "at_most", "retention", "drop_at_most", "rise_at_most")
# Metrics of which less is better; of every other, more.
LESS_IS_BETTER = (
    "brier", *(name for name, rule in CASE_METRICS.items() if rule.less_is_better), *LATENCIES, "size",
    "peak_memory",
)  # fmt: skip
# Comparisons that forbid a metric to rise, by the one that forbids as much of a fall.
_MIRRORED: Mapping[Comparison, Comparison] = {"at_least": "at_most", "drop_at_most": "rise_at_most"}


def guarding_comparison(metric: str, comparison: Comparison) -> Comparison:
    """Return the comparison that keeps a metric from getting worse: the given one, unless it forbids getting better.

    Of recalibration no side is better: a slope of 1 is right, and an intercept of 0.

    A ratio (retention, ratio_at_least) is turned over where less is better, and guards every metric.
    """
    if metric in (CALIBRATION_SLOPE, CALIBRATION_INTERCEPT):
        return comparison
    if metric in LESS_IS_BETTER:
        return _MIRRORED.get(comparison, comparison)
    return next((falls for falls, rises in _MIRRORED.items() if rises == comparison), comparison)


def gate_test(metric: str, comparison: str) -> str:
    """Name the test for a gate; "bootstrap" only where no closed test exists.

    Raises ValueError with a sentence for a person when the comparison has no meaning for the metric.
    """
    if metric in (*SHARES, BATCH_INVARIANCE):
        return _only(metric, comparison, ("at_least",), "exact_binomial")
    if metric in LATENCIES:
        return _only(metric, comparison, ("at_most",), "order_statistic")
    if metric == "throughput":
        return _only(metric, comparison, ("at_least",), "order_statistic")
    if metric in ("size", "peak_memory"):
        return _only(metric, comparison, ("at_most",), "counted")
    if metric in CASE_METRICS:
        alone = "case_quantiles" if CASE_METRICS[metric].link == "quantile" else "case_means"
        test = "case_groups" if comparison == "ratio_at_least" else alone
        return _only(metric, comparison, CASE_METRICS[metric].comparisons, test)
    if metric in SET_METRICS:
        return _only(metric, comparison, OF_SETS, "image_bootstrap")
    if comparison == "ratio_at_least":
        return _only(metric, metric, PROPORTIONS, "group_ratio")
    if metric in PROPORTIONS:
        return _proportion(comparison)
    if metric == "auroc":
        return "delong"
    if metric == "brier":
        return "paired_mean"
    if metric == NET_BENEFIT:
        return _only(metric, comparison, ("at_least", "drop_at_most", "retention"), "bounded_mean")
    if metric in (CALIBRATION_SLOPE, CALIBRATION_INTERCEPT):
        return _only(metric, comparison, ("at_least", "at_most", "drop_at_most", "rise_at_most"), "recalibration")
    if metric == "precision" and comparison in ("at_least", "at_most"):
        return "exact_binomial"
    if metric in BOOTSTRAPPED:
        return "bootstrap"
    raise ValueError(f"there is no test for the metric {metric}")


def _proportion(comparison: str) -> str:
    if comparison == "retention":
        return "score_ratio"
    return "exact_binomial" if comparison in ("at_least", "at_most") else "paired_difference"


def _only(metric: str, given: str, allowed: tuple[str, ...], test: str) -> str:
    if given not in allowed:
        raise ValueError(f"{metric} cannot be compared so; what works: {', '.join(allowed)}")
    return test


# What a control is, in words.
CONTROL_WORDS: Mapping[str, str] = {
    PERMUTED: "the original’s answers in another order",
    BROKEN: "the original with more cases broken than is allowed",
    MISCALIBRATED: "the original with scores further off than is allowed",
    WITHOUT: "the original without what it found",
}


def control_words(controls: Iterable[str]) -> str:
    """Write what a gate must refuse, or did; "" for nothing."""
    return " and ".join(CONTROL_WORDS[name] for name in controls)


def reason_words(result: GateResult) -> str:
    """Write why a gate answered as it did, as "not assessable: no evaluation row is of class ill"."""
    return result.reason if result.assessable or result.method == NOT_SHOWN else f"not assessable: {result.reason}"


# comparison → the words around its threshold
COMPARISONS: Mapping[str, str] = {
    "at_least": "≥ {}",
    "at_most": "≤ {}",
    "retention": "≥ {} of the original’s",
    "drop_at_most": "≤ {} lower than the original’s",
    "rise_at_most": "≤ {} higher than the original’s",
    "ratio_at_least": "≥ {} as a ratio",
    "ratio_at_most": "≤ {} of the original’s",
}


# A threshold with more signs than this is written in fewer, as "about 0.102041".
_MOST_DIGITS = 14


def threshold_words(gate: Gate) -> str:
    """Write a gate's comparison and threshold with its unit, as "≥ 0.97 of the original’s"."""
    if gate.preset == FINE_TUNED:
        return f"≥ {_threshold(gate)} of the fine-tuned original’s"
    if gate.preset in WHOSE and gate.metric in SHARES:
        return f"≥ {_threshold(gate)}, with {WHOSE[gate.preset]}"
    if gate.preset in WHOSE:
        return f"{'≤' if gate.comparison in SMALLER_IS_BETTER else '≥'} {_threshold(gate)} of {WHOSE[gate.preset]}"
    return COMPARISONS[gate.comparison].format(_threshold(gate))


def _threshold(gate: Gate) -> str:
    if gate.unit == "s":
        return format_time(gate.threshold)
    if gate.unit == "B":
        return format_size(round(gate.threshold))
    # A threshold is never shown looser or stricter than it is: 0.9999999 is not 1.
    short = f"{gate.threshold:,.0f}" if gate.threshold >= 1000 else f"{gate.threshold:g}"
    text = short if float(short.replace(",", "")) == gate.threshold else repr(gate.threshold)
    if len(text) > _MOST_DIGITS:  # computed, as the share of the most frequent class: nobody wrote it
        rounded = (f"{gate.threshold:.{digits}g}" for digits in (6, 9, 12))
        text = f"about {next((words for words in rounded if float(words) % 1), text)}"
    return f"{text} {gate.unit}".rstrip()


def kept_at_least(contract: Contract) -> float | None:
    """Return the share of the original's quality, or of its answers, that all cases together must keep; None: none.

    A retention of 0 asks for nothing either.
    """
    asked = (gate.threshold for gate in contract.gates if gate.preset == "retention" and gate.threshold > 0)
    return next(asked, None)
