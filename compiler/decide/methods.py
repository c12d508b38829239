"""Which candidates are made: conversions, and the quantization methods that can run here."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args

from titrant.compiler.decide.levels import (
    LEVELS,
    SMALL_BYTES,
    asked_by_target,
    asks_to_quantize,
    fewest_bits,
    is_medical,
)
from titrant.compiler.decide.reductions import UNCHANGED, named_by, reduced_facts, reduced_kind
from titrant.compiler.decide.rule import Chain, Question, RuleAnswer, decision
from titrant.compiler.decide.target import at_device, engine_of, find_gpu, int8_methods, original_kind
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.backends.backend import ModelKind
from titrant.runtime.catalog import Declaration, Method, quantization_methods
from titrant.schema.cost import NOTHING_KNOWN, Unmet
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.plan import Decision, Rejected
from titrant.schema.values.frozen import dataclass

# What `bits: auto` stands for: on the CPU, and besides on an accelerator, which computes in it as fast as in fp32.
AUTO_BITS, ACCELERATOR_BITS = 8, 16
# What the medical safeguards allow at least.
SAFE_BITS = 8

# Most files are made by tracing, and hold what was traced; runtime/backends/torch/call.py refuses the rest.
READS_VALUES = (
    "the model's code reads tensor values: where it decides on them with if or while, only a TorchScript file, "
    "scripted from the code, holds both ways, and others are refused: choose with torch.where or a mask instead"
)


_DEVICES = {"cpu": "the CPU", "mps": "Metal"}


@dataclass(frozen=True)
class Offer:
    """A way to make a candidate, and every reason against it; `hard` reasons cannot be overruled by the recipe."""

    chain: Chain
    hard: tuple[Unmet, ...] = ()
    soft: tuple[Unmet, ...] = ()

    @property
    def against(self) -> str:
        """The reason that comes first: what cannot be overruled, else all that can; "" where nothing speaks against."""
        return str(self.hard[0]) if self.hard else "; ".join(map(str, self.soft))

    @property
    def has_remedy(self) -> bool:
        """Whether that reason says what would help."""
        return any(unmet.remedy for unmet in (self.hard[:1] or self.soft))


def chains(question: Question) -> RuleAnswer:
    """Settle the candidates: one explicit method, or for `auto` the conversions and all that nothing speaks against."""
    asked = question.recipe.quantization.method
    conversions = tuple(_conversions(question))
    if asked == "none":
        return _settled(question, conversions, "method.none", "the recipe asks for no quantization")
    if asked == "auto":
        _refuse_bits(question)
        offers = (*conversions, *_ranked(question, (_offer(question, method) for method in quantization_methods())))
        answer = _settled(question, offers, "method.auto", _why_measured(question))
        answer = replace(answer, decisions=(*_bits_line(question), *answer.decisions))
    else:
        answer = _explicit(question, _offer(question, asked))
    warnings = (READS_VALUES,) if question.model.reads_values else ()
    return replace(answer, decisions=(*answer.decisions, *_formats(question, answer.value)), warnings=warnings)


def _ranked(question: Question, offers: Iterable[Offer]) -> list[Offer]:
    """Order methods from gentle to aggressive; within one rank the larger predicted file comes first."""

    def order(offer: Offer) -> tuple[int, int, str]:
        declaration = catalog.get(catalog.method_operator(offer.chain.method))
        assert declaration.method is not None  # an offer is made of methods only
        params = declaration.params.model_validate(dict(offer.chain.options))
        made = declaration.predict(params, question.hardware, reduced_facts(question), NOTHING_KNOWN)
        return declaration.method.rank, -(made.output_bytes or 0), offer.chain.method

    return sorted(offers, key=order)


def _settled(question: Question, offers: tuple[Offer, ...], rule: str, because: str) -> RuleAnswer:
    kept = [offer.chain for offer in offers if not offer.against]
    rejected = tuple(Rejected(offer.chain.id, offer.against) for offer in offers if offer.against)
    ranked = tuple(replace(chain, rank=rank) for rank, chain in enumerate(kept))
    if not ranked:
        raise InfeasibleError(_nothing_left(question, offers))
    return RuleAnswer(ranked, (_line(question, ranked, rule, because, rejected),))


def _explicit(question: Question, offer: Offer) -> RuleAnswer:
    if offer.hard:
        where = question.bound.parsed.source.place(("quantization", "method"), "value")
        first, *others = offer.hard
        advice = "; ".join([first.remedy or "choose another method, or leave it to `auto`", *map(str, others)])
        raise InfeasibleError(Diagnostic("P061", f"{offer.chain.id} cannot run here: {first.cause}", where, advice))
    because = "the recipe names it: the only candidate"
    if offer.soft:
        because += f" (auto would leave it out: {'; '.join(map(str, offer.soft))})"
    chain = replace(offer.chain, rank=0)
    return RuleAnswer((chain,), (_line(question, (chain,), "method.written", because, ()),))


def _line(
    question: Question, chosen: tuple[Chain, ...], rule: str, because: str, rejected: tuple[Rejected, ...]
) -> Decision:
    return decision(
        question,
        "quantization.method",
        rule,
        asked=question.recipe.quantization.method,
        chosen=", ".join(chain.id for chain in chosen),
        because=because,
        path=("quantization", "method"),
        rejected=rejected,
    )


def _nothing_left(question: Question, offers: Iterable[Offer]) -> Diagnostic:
    """Tell every reason once, those with a remedy first: the first of them is the smallest change."""
    reasons: dict[str, list[str]] = {}
    for offer in sorted(offers, key=lambda offer: not offer.has_remedy):
        reasons.setdefault(offer.against, []).append(offer.chain.id)
    help_text = "; ".join(f"{reason} ({', '.join(ids)})" for reason, ids in reasons.items())
    written = (("quantization", "method"), ("target", "engine"), ("export",), ("target", "device"))
    path = next((path for path in written if question.bound.written(*path)), None)
    where = None if path is None else question.bound.parsed.source.place(path, "value")
    return Diagnostic("P062", "no candidate is left that can be made here", where, help_text)


def _refuse_bits(question: Question) -> None:
    """Raise InfeasibleError where `bits` asks for a width that no method gives: silence would ship fp32 instead."""
    asked = question.recipe.quantization.bits
    methods = [catalog.get(catalog.method_operator(name)).method for name in quantization_methods()]
    device = question.settled.device
    offered = sorted(
        {bits for method in methods if method is not None and method.runs_on(device) for bits in method.bits}
    )
    if asked == "auto" or asked in offered:
        return
    where = question.bound.parsed.source.place(("quantization", "bits"), "value")
    help_text = f"write {' or '.join(map(str, offered))}, or leave it out"
    raise InfeasibleError(Diagnostic("P026", f"no method of this version gives {asked} bits", where, help_text))


def _why_measured(question: Question) -> str:
    """Say what becomes of the candidates, and why a small model is quantized where only its target asks for it."""
    because = "each is made and measured; tuning rows choose"
    small = question.recipe.level == "auto" and question.model.weight_bytes < SMALL_BYTES
    reason = asked_by_target(question) if small and not asks_to_quantize(question) else ""
    return f"{because} ({reason})" if reason else because


def _bits_line(question: Question) -> Iterator[Decision]:
    """Say what bits that the recipe asks for mean to the candidates, and that they overrule the level's."""
    asked = question.recipe.quantization.bits
    if asked == "auto":
        return
    fewest = LEVELS[question.settled.level].fewest_bits
    overruled = f"; it comes before level {question.settled.level}, whose fewest are {fewest}" * (asked < fewest)
    yield decision(
        question,
        "quantization.bits",
        "bits.written",
        asked=str(asked),
        chosen=f"only methods that give {asked} bits",
        because=f"the recipe says so{overruled}",
        path=("quantization", "bits"),
    )


def _unquantized(question: Question) -> Iterator[Unmet]:
    """Refuse a conversion of weights wider than the bits that the recipe asks for: fp32 would be released for int8."""
    quantization = question.recipe.quantization
    model = reduced_facts(question)
    held = round(8 * model.weight_bytes / max(1, model.parameters))
    if quantization.method == "auto" and quantization.bits != "auto" and held > quantization.bits:
        cause = f"its weights stay at {held} bits, and bits: {quantization.bits} asks for {quantization.bits}"
        yield Unmet(cause, "leave bits out to consider it too")


def _conversions(question: Question) -> Iterator[Offer]:
    """Offer every file that can be made of the model as it is, those of its own engine first."""
    given = reduced_kind(question)
    own = engine_of(original_kind(question.model))
    for engine in sorted(backend.names(), key=lambda name: name != own):
        for form in backend.formats_of(engine):
            kind = backend.kind_of_format(form)
            if backend.conversion(given.name, kind.name) is not None:
                plain = UNCHANGED if kind == given else f"{form}-fp32"
                identifier = plain if engine_of(kind) == engine else f"{plain}-{engine}"
                chain = Chain(identifier, "none", None, engine, form, 0, before=question.settled.reductions)
                hard = (*_unfit(question, engine, form), *_unquantized(question))
                yield Offer(named_by(chain), hard, tuple(_unasked(question, kind)))


def _offer(question: Question, name: str) -> Offer:
    declaration = catalog.get(catalog.method_operator(name))
    method = declaration.method
    assert method is not None  # bind takes no method whose operator is none
    if method.engine not in backend.names() or method.format not in backend.formats_of(method.engine):
        cause = f"it makes {method.format} for {method.engine}, which no engine here runs"
        return Offer(named_by(Chain(name, name, None, method.engine, method.format, 0)), (Unmet(cause),))
    options = dict(question.recipe.quantization.options) if question.recipe.quantization.method == name else {}
    options = {**_other_format(question, declaration, options), **options}
    bits = _bits(question, method)
    before = question.settled.reductions
    chain = named_by(Chain(name, name, bits, method.engine, method.format, 0, options, before))
    device = question.settled.device
    if not method.runs_on(device):
        # Neither another engine nor another width would help it.
        there = method.devices[0]
        cause = f"its kernels run on {_DEVICES.get(there, there)}, and target.device is {device}"
        beside = _unable(question, declaration, method, options)
        return Offer(chain, (Unmet(cause, f"write target.device: {there}"), *beside))
    unfit = (*_unfit(question, method.engine, method.format), *_other_bits(question, method))
    hard = (*unfit, *_unsafe(question, bits), *_unable(question, declaration, method, options))
    soft = (*_unwanted(question, bits), *_unasked(question, backend.kind_of_format(method.format)))
    return Offer(chain, hard, soft)


def _unasked(question: Question, kind: ModelKind) -> Iterator[Unmet]:
    """Say why `auto` makes no file of a kind that the recipe does not ask for; the original's own kind is always one.

    A conversion to it follows where a method that gives it is named: it is what that one is compared with.
    """
    asked = {request.format for request in question.settled.exports}
    if kind.unasked and kind.format not in asked and kind != original_kind(question.model):
        yield Unmet(kind.unasked, f"ask for it: export: [{{format: {kind.format}}}]")


def _unsafe(question: Question, bits: int) -> Iterator[Unmet]:
    """Refuse fewer than 8 bits under the medical safeguards, also where the recipe names the method."""
    if bits < SAFE_BITS and is_medical(question):
        reason = "preserve medical" if question.recipe.preserve == "medical" else "level medical_critical"
        cause = f"it gives {bits} bits, and {reason} allows no fewer than {SAFE_BITS}"
        yield Unmet(cause, f"choose a method with {SAFE_BITS}")


def _other_bits(question: Question, method: Method) -> Iterator[Unmet]:
    """Say why a method's widths are not those asked for; one that the recipe names may have any under `auto`."""
    asked = question.recipe.quantization.bits
    if asked == "auto" and question.recipe.quantization.method == method.name:
        return
    widths = _auto_bits(question) if asked == "auto" else (asked,)
    if set(widths).isdisjoint(method.bits):
        offered, due = " or ".join(map(str, method.bits)), " or ".join(map(str, widths))
        yield Unmet(f"it gives {offered} bits, and bits: {asked} asks for {due}")


def _bits(question: Question, method: Method) -> int:
    asked = question.recipe.quantization.bits
    if asked != "auto":
        return asked
    return next((width for width in _auto_bits(question) if width in method.bits), method.bits[0])


def _auto_bits(question: Question) -> tuple[int, ...]:
    """Return the widths that `auto` takes, the one that it prefers first."""
    device = question.settled.device
    if device == "cpu":
        return (AUTO_BITS,)
    return (AUTO_BITS, ACCELERATOR_BITS) if int8_methods(device) else (ACCELERATOR_BITS,)


def _other_format(question: Question, declaration: Declaration, written: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the 16-bit format that an accelerator computes in, where it is open and the usual one is not it."""
    field = declaration.params.model_fields.get("dtype")
    if field is None or "dtype" in written or question.settled.device == "cpu":
        return {}
    there = at_device(question.hardware, question.settled.device)
    for name in (field.default, *get_args(field.annotation)):
        params = declaration.params.model_validate({**written, "dtype": name})
        if not declaration.requires(params, there, question.model):
            return {} if name == field.default else {"dtype": name}
    return {}


def _formats(question: Question, chains: Iterable[Chain]) -> Iterator[Decision]:
    """Say which 16-bit format was chosen for an accelerator that lacks the usual one."""
    for chain in chains:
        if "dtype" in chain.options and "dtype" not in question.recipe.quantization.options:
            usual = catalog.get(catalog.method_operator(chain.method)).params.model_fields["dtype"].default
            gpu = find_gpu(question.settled.device, question.hardware.identity.gpus)
            assert gpu is not None  # the device was settled by finding it
            yield decision(
                question,
                "quantization.options.dtype",
                "device.format",
                asked="not written",
                chosen=f"{chain.options['dtype']} for {chain.id}",
                because=f"{gpu.name} does not compute in {usual}",
                path=("quantization", "options", "dtype"),
            )


def _unfit(question: Question, engine: str, form: str) -> Iterator[Unmet]:
    """Say why a file of this format, in this engine, is not what the recipe asks for."""
    formats = {request.format for request in question.settled.exports}
    target = question.recipe.target.engine
    device = question.settled.device
    engine_backend = backend.get(engine)
    if "auto" not in formats and form not in formats:
        yield Unmet(f"export asks for {', '.join(sorted(formats))}, and it gives {form}")
    elif target not in ("auto", engine):
        yield Unmet(f"target.engine is {target}, and it runs in {engine}")
    elif lack := engine_backend.device_unmet(device, question.hardware):
        yield replace(lack, remedy=_remedy(question, lack))
    elif not any(name in question.hardware.identity.packages for name in engine_backend.packages):
        yield Unmet(f"the engine {engine} is not installed", f"pip install {engine_backend.package}")


def _remedy(question: Question, lack: Unmet) -> str:
    """Return what helps against an engine that a device lacks, with a format that another engine runs there."""
    given, device = reduced_kind(question), question.settled.device
    for other in backend.all_backends():
        for form in backend.formats_of(other.name) if other.device_unmet(device, question.hardware) is None else ():
            if backend.conversion(given.name, backend.kind_of_format(form).name) is not None:
                if lack.remedy:
                    return f"{lack.remedy}, or export {form}, which {other.name} runs there"
                return f"target.engine {other.name} does, with export {form}"
    return lack.remedy


def _unable(
    question: Question, declaration: Declaration, method: Method, options: Mapping[str, Any]
) -> Iterator[Unmet]:
    """Say why a method cannot work on this model, data or machine."""
    if method.takes not in backend.kinds():
        yield Unmet(f"it takes {method.takes}, which no engine here brings")
        return
    given = reduced_kind(question)
    if backend.conversion(given.name, method.takes) is None:
        what = "what it would be given is" if question.settled.reductions else "the original is"
        yield Unmet(f"it takes {backend.kinds()[method.takes].title}, and {what} {given.title}")
        return
    if method.calibrated and not question.has_rows("calibration"):
        yield Unmet("it calibrates, and there are no calibration rows")
    elif method.calibrated and not _has_source(question):
        yield Unmet("it calibrates, and random inputs calibrate nothing")
    params = declaration.params.model_validate(dict(options))
    yield from declaration.requires(
        params, at_device(question.hardware, question.settled.device), reduced_facts(question)
    )


def _has_source(question: Question) -> bool:
    data = question.recipe.data
    return data is not None and (data.source is not None or data.sources is not None)


def _unwanted(question: Question, bits: int) -> Iterator[Unmet]:
    """Say why `auto` leaves a method out although it could run."""
    fewest, reason = fewest_bits(question)
    if bits < fewest:
        yield Unmet(reason, f"no fewer than {fewest} bits")
