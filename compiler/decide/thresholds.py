"""Which thresholds the contract's presets have: from the recipe, the level, and `preserve: medical`."""

from collections.abc import Iterator, Mapping
from typing import Literal

from titrant.compiler.decide.levels import LEVELS
from titrant.compiler.decide.rule import Preset, Presets, Question, RuleAnswer, decision
from titrant.schema.open_looks import OPEN, share_of
from titrant.schema.plan import Decision, Rejected
from titrant.schema.recipe.deploy import is_offline
from titrant.schema.recipe.validation import Agreement, Bias, Calibration, Safety, Validation
from titrant.schema.release import DOCUMENTS

# preset threshold → its recipe path; safety holds two.
PATHS: Mapping[str, tuple[str, ...]] = {
    "retention": ("validation", "retention"),
    "kept": ("validation", "safety"),
    "sensitivity": ("validation", "safety"),
    "bias": ("validation", "bias"),
    "calibration": ("validation", "calibration"),
    "clinical_relevance": ("validation", "clinical_relevance"),
    "batch_invariance": ("validation", "batch_invariance"),
}


def presets(question: Question) -> RuleAnswer:
    """Settle every preset: the recipe's own value, else the level's; `preserve: medical` takes the stricter one."""
    thresholds: dict[str, Preset] = {}
    lines: list[Decision] = []
    for name in PATHS:
        preset, line = _threshold(question, name)
        if preset is not None:
            thresholds[name] = preset
        if line is not None:
            lines.append(line)
    lines += _published(question)
    require, because = _require(question)
    lines.append(because)
    looks, confidence, spent = _looks(question)
    lines += spent
    bias = question.recipe.validation.bias
    value = Presets(
        thresholds=thresholds,
        bias_metric=bias.metric if isinstance(bias, Bias) else None,
        bias_min_cases=bias.min_cases if isinstance(bias, Bias) else 50,
        require=require,
        confidence=confidence,
        looks=looks,
    )
    return RuleAnswer(value, tuple(lines))


# MLPerf Inference, "Benchmarks": quality is to be 99 % or 99.9 % of what the model has in fp32.
MLPERF: Mapping[str, float] = {"mlperf_99": 0.99, "mlperf_99_9": 0.999}


def written_threshold(validation: Validation, name: str) -> float | str | None:
    """Return what the recipe says of a preset's threshold: a number, "none", or None where it says nothing."""
    if name == "retention" and validation.preset is not None:
        return MLPERF[validation.preset]
    if (
        name == "retention"
        and isinstance(validation.agreement, Agreement)
        and validation.agreement.at_least is not None
    ):
        return validation.agreement.at_least
    value = getattr(validation, PATHS[name][1])
    if isinstance(value, Safety):
        return value.kept if name == "kept" else value.sensitivity
    if isinstance(value, Bias):
        return value.at_least
    if isinstance(value, Calibration):
        return value.rise_at_most
    return value  # type: ignore[no-any-return]


def _published(question: Question) -> Iterator[Decision]:
    """Say what a published set of thresholds comes to: MLPerf asks for quality, and limits no latency here."""
    preset = question.recipe.validation.preset
    if preset is not None:
        reported = (
            "the throughput of offline"
            if is_offline(question.recipe.target)
            else "the 90th percentile of single stream"
        )
        because = (
            "MLPerf Inference asks for that share of the quality in fp32, as measured; here the bound has to reach it. "
            f"It reports {reported} and sets it no limit"
        )
        yield decision(
            question, "validation.preset", "preset.mlperf", asked=preset, chosen=f"retention {MLPERF[preset]:g}",
            because=because, path=("validation", "preset"),
        )  # fmt: skip


def _supplied(question: Question, name: str) -> tuple[float | None, str]:
    """Return what the level or `preserve` supplies, the stricter of the two, and its name."""
    level = question.settled.level
    value: float | None = getattr(LEVELS[level], name)
    if question.recipe.preserve == "medical" and level != "medical_critical":
        medical: float | None = getattr(LEVELS["medical_critical"], name)
        if medical is not None and (value is None or stricter(name, medical, value)):
            return medical, "preserve: medical"
    return value, f"level {level}"


def stricter(name: str, threshold: float, other: float) -> bool:
    """Whether `threshold` asks for more than `other`; calibration is the only preset with an upper limit."""
    return threshold < other if name == "calibration" else threshold > other


def _threshold(question: Question, name: str) -> tuple[Preset | None, Decision | None]:
    written = written_threshold(question.recipe.validation, name)
    supplied, by = _supplied(question, name)
    if written == "none":
        return None, None if supplied is None else _switched_off(question, name, supplied, by)
    if not isinstance(written, float):
        if supplied is None:
            return None, None
        preset = Preset(supplied, by, False)
        because = f"{by} supplies it"
        return preset, _line(question, name, "preset.level", ("not written", _text(name, supplied)), because)
    where = question.bound.where(*_path(question, name))
    if supplied is None or not stricter(name, supplied, written):
        return Preset(written, where, True), None
    texts = _text(name, written), _text(name, supplied)
    if question.recipe.preserve == "medical" and by != f"level {question.settled.level}":
        because = f"{by} allows nothing laxer than its own"
        return Preset(supplied, by, False), _line(question, name, "preset.preserve", texts, because)
    because = f"the recipe says so; it is laxer than what {by} supplies"
    rejected = (Rejected(texts[1], "the recipe's own value comes first"),)
    line = _line(question, name, "preset.written", (texts[0], texts[0]), because, rejected=rejected)
    return Preset(written, where, True), line


def _switched_off(question: Question, name: str, supplied: float, by: str) -> Decision:
    rejected = (Rejected(_text(name, supplied), "the recipe switches it off"),)
    because = f"the recipe says none; {by} would supply {_text(name, supplied)}"
    return _line(question, name, "preset.off", ("none", "off"), because, rejected=rejected)


def _line(
    question: Question,
    name: str,
    rule: str,
    texts: tuple[str, str],
    because: str,
    *,
    rejected: tuple[Rejected, ...] = (),
) -> Decision:
    """Word one preset's decision; `texts` are what was asked and what is chosen."""
    subject = ".".join(PATHS[name]) + (f".{name}" if PATHS[name][1] == "safety" else "")
    asked, chosen = texts
    return decision(
        question, subject, rule, asked=asked, chosen=chosen, because=because, path=PATHS[name], rejected=rejected
    )


def _path(question: Question, name: str) -> tuple[str, ...]:
    inner = {"kept": "kept", "sensitivity": "sensitivity", "bias": "at_least", "calibration": "rise_at_most"}.get(name)
    path = PATHS[name]
    if name == "retention" and question.recipe.validation.preset is not None:
        return ("validation", "preset")
    return (*path, inner) if inner and question.bound.written(*path, inner) else path


def _text(name: str, threshold: float) -> str:
    return f"rises by at most {threshold:g}" if name == "calibration" else f"at least {threshold:g}"


def _require(question: Question) -> tuple[str, Decision]:
    written = question.recipe.validation.require
    level = question.settled.level
    supplied, by = LEVELS[level].require, f"level {level}"
    preserved = question.recipe.preserve == "medical" and supplied == "evidence"
    if preserved:
        supplied, by = LEVELS["medical_critical"].require, "preserve: medical"
    chosen, rule, because = supplied, "require.level", f"{by} supplies it"
    if written is not None:
        chosen, rule, because = written, "require.written", "the recipe says so"
        if written == "evidence" and preserved:
            chosen, rule, because = "proof", "require.preserve", f"{by} allows nothing laxer"
        elif written == "evidence" and supplied == "proof":
            because = f"the recipe says so; {by} would ask for proof"
    meaning = "only what is proven is released" if chosen == "proof" else "a good estimate is released, as not proven"
    line = decision(
        question,
        "validation.require",
        rule,
        asked=written or "not written",
        chosen=chosen,
        because=f"{because}: {meaning}",
        path=("validation", "require"),
    )
    return chosen, line


def _looks(question: Question) -> tuple[int | Literal["open"], float, tuple[Decision, ...]]:
    """Share what may go wrong among the looks at the same rows: each has a higher confidence.

    Planned looks have equal shares (Bonferroni), open ones each a smaller one than the one before.
    """
    validation = question.recipe.validation
    looks = validation.looks
    if looks == OPEN:
        confidences = [1 - (1 - validation.confidence) * share_of(place) for place in (1, 2, 5)]
        line = decision(
            question,
            "validation.looks",
            "looks.open",
            asked=OPEN,
            chosen=f"confidence {confidences[0]:.4g} for the first model on these rows, always-valid bounds",
            because=(
                f"{confidences[1]:.4g} for the second and {confidences[2]:.4g} for the fifth: all models together keep "
                f"{validation.confidence:g}; rows may be added to the same model's at no charge where each is a unit"
            ),
            path=("validation", "looks"),
        )
        return OPEN, confidences[0], (line,)
    confidence = 1 - (1 - validation.confidence) / looks
    if not question.bound.written("validation", "looks"):
        return looks, confidence, ()
    line = decision(
        question,
        "validation.looks",
        "looks.shared",
        asked=str(validation.looks),
        chosen=f"confidence {confidence:.6g} in each look",
        because=f"all {looks} together keep {validation.confidence:g}; a look beyond them proves nothing",
        path=("validation", "looks"),
    )
    return looks, confidence, (line,)


def evidence(question: Question) -> RuleAnswer:
    """Settle which documents of the evidence pack a run writes: what the recipe asks for, else what its level does."""
    written, level = question.recipe.report.evidence, question.settled.level
    supplied = LEVELS[level].evidence
    asked = supplied if written is None else written
    chosen = tuple(name for name in DOCUMENTS if asked is True or (asked and name in asked))
    if not chosen and not supplied:
        return RuleAnswer((), ())
    because = f"level {level} asks for it" if written is None else "the recipe says so"
    if written is not None and supplied and len(chosen) < len(DOCUMENTS):
        because = f"the recipe says so; level {level} would write all"
    words = "all documents" if len(chosen) == len(DOCUMENTS) else ", ".join(chosen) or "no document"
    line = decision(
        question,
        "report.evidence",
        "evidence.level" if written is None else "evidence.written",
        asked="not written" if written is None else str(written).lower() if isinstance(written, bool) else words,
        chosen=words,
        because=because,
        path=("report", "evidence"),
    )
    return RuleAnswer(chosen, (line,))
