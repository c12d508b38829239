"""Which candidates are made: conversions, and the quantization methods that can run here."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args

from titrant.compiler.bind.layers import objections, without
from titrant.compiler.decide.levels import (
    SMALL_BYTES,
    asked_by_target,
    asks_to_quantize,
    bits_line,
    bits_of,
    fewest_bits,
    is_medical,
    other_bits,
    safeguard,
)
from titrant.compiler.decide.number_format import cannot_leave, with_left_alone
from titrant.compiler.decide.reductions import UNCHANGED, named_by, reduced_facts, reduced_kind
from titrant.compiler.decide.rule import Chain, Question, RuleAnswer, decision
from titrant.compiler.decide.target import at_device, engine_of, find_gpu, layout_of, original_kind, too_old
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.backends.model_kind import ModelKind
from titrant.runtime.catalog import Declaration, Params, quantization_methods
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Variant
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.plan import Decision, Rejected, by_reason
from titrant.schema.values.frozen import dataclass

# Fewer calibration rows than these say little of the range of an input.
LEAST_CALIBRATION_ROWS = 16
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
    def against(self) -> bool:
        """Whether anything speaks against it."""
        return bool(self.hard or self.soft)

    @property
    def rejected(self) -> Rejected:
        """What speaks against it: the first reason of those that cannot be overruled, else all that can."""
        reasons = self.hard[:1] or self.soft
        remedies = dict.fromkeys(unmet.remedy for unmet in reasons if unmet.remedy)
        causes, unasked = (unmet.cause for unmet in reasons), any(unmet.unasked for unmet in (*self.hard, *self.soft))
        return Rejected(self.chain.id, "; ".join(causes), "; ".join(remedies), unasked)


def chains(question: Question) -> RuleAnswer:
    """Settle the candidates: one explicit method, or for `auto` the conversions and all that nothing speaks against."""
    asked = question.recipe.quantization.method
    if asked == "none":
        return settled(question, tuple(_conversions(question)), "method.none", "the recipe asks for no quantization")
    if asked == "auto":
        _refuse_bits(question)
        answer = settled(question, all_offers(question), "method.auto", _why_measured(question))
        answer = replace(answer, decisions=(*bits_line(question), *answer.decisions))
    else:
        answer = _explicit(question, _offer(question, asked))
    warnings = (READS_VALUES,) if question.model.reads_values else ()
    return replace(answer, decisions=(*answer.decisions, *_formats(question, answer.value)), warnings=warnings)


def all_offers(question: Question) -> tuple[Offer, ...]:
    """Offer all that could be made, from gentle to aggressive: conversions, then methods in each width and variant."""
    return (*_conversions(question), *_ranked(question, _methods(question)))


def _ranked(question: Question, offers: Iterable[Offer]) -> list[Offer]:
    """Order methods from gentle to aggressive; within one rank the larger predicted file comes first."""

    def order(offer: Offer) -> tuple[int, int, str]:
        declaration = catalog.get(catalog.method_operator(offer.chain.method))
        assert declaration.method is not None  # an offer is made of methods only
        if offer.hard:  # what a method does not take it need not predict
            return declaration.method.rank, 0, offer.chain.method
        params = _params(declaration, offer.chain.bits, offer.chain.options)
        model = without(reduced_facts(question), params)
        made = declaration.predict(params, question.hardware, model, NOTHING_KNOWN)
        return declaration.method.rank, -(made.output_bytes or 0), offer.chain.method

    return sorted(offers, key=order)


def settled(question: Question, offers: tuple[Offer, ...], rule: str, because: str) -> RuleAnswer:
    """Settle the candidates: offers that nothing speaks against, in their order; InfeasibleError where none is left."""
    omitted = question.left_out
    kept = [offer.chain for offer in offers if not offer.against and offer.chain.id not in omitted]
    rejected = tuple(offer.rejected for offer in offers if offer.against)
    rejected += tuple(Rejected(name, each.because) for name, each in omitted.items() if not each.by_budget)
    ranked = tuple(replace(chain, rank=rank) for rank, chain in enumerate(kept))
    if not ranked:
        raise InfeasibleError(_nothing_left(question, offers))
    return RuleAnswer(ranked, (_line(question, ranked, rule, because, rejected),))


def _explicit(question: Question, offer: Offer) -> RuleAnswer:
    if offer.hard:
        first, *others = offer.hard
        where = question.bound.parsed.source.place(first.at or ("quantization", "method"), "value")
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
    reasons = by_reason(offer.rejected for offer in offers)
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
    here = (method for method in methods if method is not None and _is_for_here(question, method.format))
    offered = sorted({bits for method in here if method.runs_on(device) for bits in method.bits})
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


def _unquantized(question: Question) -> Iterator[Unmet]:
    """Refuse a conversion of weights wider than the bits that the recipe asks for: fp32 would be released for int8."""
    quantization = question.recipe.quantization
    model = reduced_facts(question)
    held = round(8 * model.weight_bytes / max(1, model.parameters))
    if quantization.method == "auto" and quantization.bits != "auto" and held > quantization.bits:
        cause = f"its weights stay at {held} bits, and bits: {quantization.bits} asks for {quantization.bits}"
        yield Unmet(cause, "leave bits out to consider it too", unasked=True)


def asked_formats(question: Question) -> set[str]:
    """Return the formats that the recipe asks for, `auto` among them."""
    return {request.format for request in question.settled.exports}


def _is_for_here(question: Question, form: str) -> bool:
    """Whether a file is for an engine that is here, or is asked for: weights for other code are nobody's default."""
    if form in asked_formats(question) or form not in backend.formats():
        return True
    return not backend.kind_of_format(form).weights_for


def _conversions(question: Question) -> Iterator[Offer]:
    """Offer every file that can be made of the model as it is, those of its own engine first."""
    given = reduced_kind(question)
    own = engine_of(original_kind(question.model))
    asked = asked_formats(question)
    for engine in sorted(backend.names(), key=lambda name: name != own):
        for form in backend.formats_of(engine):
            kind = backend.kind_of_format(form)
            # Whoever has the modules gains nothing from them as they are; only who asks for that file is given it.
            is_theirs = kind == given and kind.user_code and form not in asked
            if not is_theirs and _is_for_here(question, form) and backend.conversion(given.name, kind.name) is not None:
                plain = UNCHANGED if kind == given else f"{form}-fp32"
                identifier = plain if engine_of(kind) == engine else f"{plain}-{engine}"
                before, begun = question.settled.before, question.settled.student
                layout = layout_of(question, form, given.name)
                chain = Chain(identifier, "none", None, engine, form, 0, before=before, student=begun, layout=layout)
                hard = (*_unfit(question, engine, form), *_unquantized(question))
                yield Offer(named_by(chain), hard, tuple(_unasked(question, kind)))


def _methods(question: Question) -> Iterator[Offer]:
    """Offer every method in each of the widths that it gives, and variants of those that nothing speaks against."""
    for name in quantization_methods():
        method = catalog.get(catalog.method_operator(name)).method
        assert method is not None  # the catalog lists those with a method
        if not _is_for_here(question, method.format):
            continue
        widths = method.bits if question.recipe.quantization.bits == "auto" else ()
        for width in widths if len(widths) > 1 else (None,):
            offer = _offer(question, name, width)
            yield offer
            if not offer.against:
                yield from (_offer(question, name, width, variant) for variant in method.variants)


def _offer(question: Question, name: str, width: int | None = None, variant: Variant | None = None) -> Offer:
    """Offer a method, in one of several widths or variants where one is given, which its candidate is named after."""
    declaration = catalog.get(catalog.method_operator(name))
    method = declaration.method
    assert method is not None  # bind takes no method whose operator is none
    if method.engine not in backend.names() or method.format not in backend.formats_of(method.engine):
        cause = f"it makes {method.format} for {method.engine}, which no engine here runs"
        return Offer(named_by(Chain(name, name, None, method.engine, method.format, 0)), (Unmet(cause),))
    options = dict(question.recipe.quantization.options) if question.recipe.quantization.method == name else {}
    own = {**options, **(variant.options if variant else {})}
    options = with_left_alone(declaration, {**_other_format(question, declaration, options), **own}, question)
    bits = width or bits_of(question, method)
    before = question.settled.before
    identifier = f"{name}-{width}bit" if width else name
    identifier = f"{identifier}.{variant.suffix}" if variant else identifier
    begun, layout = question.settled.student, layout_of(question, method.format, declaration.outputs["model"])
    chain = Chain(identifier, name, bits, method.engine, method.format, 0, options, before, student=begun)
    chain = named_by(replace(chain, layout=layout))
    device = question.settled.device
    if not method.runs_on(device):
        # Neither another engine nor another width would help it.
        there = method.devices[0]
        cause = f"its kernels run on {_DEVICES.get(there, there)}, and target.device is {device}"
        beside = _unable(question, declaration, method, _params(declaration, bits, options))
        gpu = find_gpu(there, question.hardware.identity.gpus)
        remedy = f"write target.device: {there}" + ("" if gpu or there == "cpu" else ", on a machine that has one")
        old = too_old(question.hardware, gpu, declaration, _params(declaration, bits, options)) if gpu else ()
        return Offer(chain, (*old, Unmet(cause, remedy, unasked=gpu is None), *beside))
    offered = (width,) if width else method.bits
    unfit = (*_unfit(question, method.engine, method.format), *other_bits(question, method, offered))
    params = _params(declaration, bits, options)
    unfit = (*unfit, *cannot_leave(declaration, question))
    hard = (*unfit, *_unsafe(question, bits), *_unable(question, declaration, method, params))
    wins_size = variant is not None and variant.smaller and question.recipe.search.objective[0] == "size"
    against = variant.against(reduced_facts(question)) if variant and not wins_size else ""
    unasked = _unasked(question, backend.kind_of_format(method.format))
    soft = (*_unwanted(question, bits, method), *unasked, *((Unmet(against),) if against else ()))
    return Offer(chain, hard, soft)


def _unasked(question: Question, kind: ModelKind) -> Iterator[Unmet]:
    """Say why `auto` makes no file of a kind that the recipe does not ask for; the original's own kind is always one.

    A conversion to it follows where a method that gives it is named: it is what that one is compared with.
    """
    asked = {request.format for request in question.settled.exports}
    if kind.unasked and kind.format not in asked and kind != original_kind(question.model):
        yield Unmet(kind.unasked, f"ask for it: export: [{{format: {kind.format}}}]", unasked=True)


def _unsafe(question: Question, bits: int) -> Iterator[Unmet]:
    """Refuse fewer than 8 bits under the medical safeguards, also where the recipe names the method."""
    if bits < SAFE_BITS and is_medical(question):
        cause = f"it gives {bits} bits, and {safeguard(question)} allows no fewer than {SAFE_BITS}"
        yield Unmet(cause, f"choose a method with {SAFE_BITS}")


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
    formats = asked_formats(question)
    target = question.recipe.target.engine
    device = question.settled.device
    engine_backend = backend.get(engine)
    if "auto" not in formats and form not in formats:
        yield Unmet(f"export asks for {', '.join(sorted(formats))}, and it gives {form}", unasked=True)
    elif target not in ("auto", engine):
        yield Unmet(f"target.engine is {target}, and it runs in {engine}", unasked=True)
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


def _params(declaration: Declaration, bits: int | None, options: Mapping[str, Any]) -> Params:
    """Return a method's parameters, with its width where it has one to set: its default for one that it cannot give."""
    method = declaration.method
    given = "bits" in declaration.params.model_fields and method is not None and bits in method.bits
    width = {"bits": bits} if given else {}
    return declaration.params.model_validate({**width, **options})


def _unable(question: Question, declaration: Declaration, method: Method, params: Params) -> Iterator[Unmet]:
    """Say why a method cannot work on this model, data or machine."""
    if method.takes not in backend.kinds():
        yield Unmet(f"it takes {method.takes}, which no engine here brings")
        return
    given = reduced_kind(question)
    if backend.conversion(given.name, method.takes) is None:
        what = "what it would be given is" if question.settled.reductions else "the original is"
        yield Unmet(f"it takes {backend.kinds()[method.takes].title}, and {what} {given.title}", unasked=True)
        return
    yield from without_calibration(question, declaration, params.model_dump())
    here = at_device(question.hardware, question.settled.device)
    yield from objections(declaration, params, here, reduced_facts(question), question.recipe.quantization)


def without_calibration(question: Question, declaration: Declaration, params: Mapping[str, Any]) -> Iterator[Unmet]:
    """Say what calibration rows lack for an operator that reads some with these parameters."""
    data, port = question.recipe.data, declaration.inputs.get("calibration")
    if port is None or not port.is_read(params):
        return
    if not question.has_rows("calibration"):
        yield Unmet("it calibrates, and there are no calibration rows")
    elif data is None or (data.source is None and data.sources is None):
        yield Unmet("it calibrates, and random inputs calibrate nothing")


def _unwanted(question: Question, bits: int, method: Method) -> Iterator[Unmet]:
    """Say why `auto` leaves a method out although it could run: its bits, or how little its calibration rows tell."""
    fewest, reason = fewest_bits(question)
    if bits < fewest:
        yield Unmet(f"{reason}, so no fewer than {fewest} bits")
    facts = question.data.roles.get("calibration")
    if method.calibrated and facts is not None and facts.rows < LEAST_CALIBRATION_ROWS:
        # Of any distribution the next of n + 1 values is one of the two outermost that often.
        share = 2 / (facts.rows + 1)
        cause = f"it calibrates on {facts.rows} rows, and {share:.0%} of later values lie beyond the range of so few"
        yield Unmet(cause, f"give calibration {LEAST_CALIBRATION_ROWS} rows or more in data.split")
    if method.by_name:
        yield Unmet(method.by_name, "name it to have it", unasked=True)
