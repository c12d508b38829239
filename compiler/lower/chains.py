"""The operators that turn the original into each candidate, their steps, and which file each candidate is for."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from titrant.compiler.decide.measuring import is_plain, same_place
from titrant.compiler.decide.rule import Chain, Decisions, ExportRequest, ReductionStep, Rung
from titrant.compiler.lower.plan_graph import StepMaker
from titrant.runtime.backends import backend
from titrant.runtime.catalog import full_params, method_operator
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.facts import ModelFacts
from titrant.schema.plan import INSIDE, Step
from titrant.schema.values.frozen import dataclass, replace

EXAMPLE = "transform.tuning"
CALIBRATION = "transform.calibration"
TRANSFORMS = "transform.transforms"
# Rows that what changes the network learns from, and finds out by what a change does to the answers.
_ROWS = {"train": "transform.train", "tuning": "transform.tuning"}
# The parameter of a reduction that says how outputs are read.
READING = "reading"
# The output of a reduction that says what it took out.
REMOVED = "removed"
# What the step is called that loads a student.
STUDENT = "student"
# Rows as raw columns, which a file with its transforms inside takes.
RAW = "raw"


@dataclass(frozen=True)
class Original:
    """The model that candidates are made from and compared with: "step.port", and its kind.

    `teacher` is whom a reduced network learns from, where that is another.
    """

    reference: str
    kind: str
    teacher: str = ""


@dataclass(frozen=True)
class Link:
    """One operator of a chain; `local` is its name within the chain, "" for the one that the chain is named after."""

    operator: str
    local: str
    params: Mapping[str, Any]
    because: str


@dataclass(frozen=True)
class RequestedCandidate:
    """A candidate to make: its id, its chain, and the request whose options its export follows."""

    id: str
    chain: Chain
    request: ExportRequest

    @property
    def mends(self) -> str:
        """The id of the candidate that it mends: of the same request, as its own is; "" for none."""
        return self.chain.mends and self.chain.mends + self.id.removeprefix(self.chain.id)

    @property
    def stage(self) -> str:
        """The stage that makes it."""
        return "search" if self.chain.mends or self.chain.grows else "make"

    @property
    def grows(self) -> str:
        """The id of the candidate that it goes on from: of the same request, as its own is; "" for none."""
        return self.chain.grows and self.chain.grows + self.id.removeprefix(self.chain.id)


@dataclass(frozen=True)
class Entries:
    """What one request is answered with: the candidates that compete, and plain conversions timed `beside` them.

    A rung of a ladder has a request of its own; `other_rungs` are the candidates of the others.
    """

    request: ExportRequest
    competing: tuple[RequestedCandidate, ...]
    beside: tuple[RequestedCandidate, ...]
    other_rungs: tuple[RequestedCandidate, ...] = ()

    def plain_of(self, entry: RequestedCandidate, original_engine: str, original_kind: str) -> str:
        """Name the plain conversion that a candidate is compared with, "original" where that is it, "" for none."""
        if is_plain(entry.chain):
            return ""
        for other in (*self.competing, *self.beside, *self.other_rungs):
            if is_plain(other.chain) and same_place(other.chain, entry.chain):
                return other.id
        as_given = backend.kind_of_format(entry.chain.format).name == original_kind
        return "original" if as_given and entry.chain.engine == original_engine else ""


# What makes another file of one chain: the operator set, where the transforms are, and where the weights.
FileOptions = tuple[int | None, str, bool]


def entries(decisions: Decisions) -> tuple[Entries, ...]:
    """Give each request the chains that end in its format; the same file for two requests is one candidate.

    A second opset makes another file, and so another candidate, named by it; so do transforms inside and weights apart.
    """
    first: dict[str, FileOptions] = {}

    def asked(chains: Iterable[Chain], request: ExportRequest) -> tuple[RequestedCandidate, ...]:
        matching = [chain for chain in chains if request.format in ("auto", chain.format)]
        return tuple(_entry(chain, request, first) for chain in matching)

    settled = decisions.settled
    answered = []
    for request in settled.exports:
        competing, beside = asked(settled.chains, request), asked(settled.plain, request)
        if not settled.ladder:
            answered.append(Entries(request, competing, beside))
        for rung in settled.ladder:
            own = tuple(entry for entry in competing if entry.chain.id in rung.chains)
            others = tuple(entry for entry in competing if entry not in own)
            answered.append(Entries(_for_rung(request, rung), own, beside, others))
    return tuple(answered)


def _for_rung(request: ExportRequest, rung: Rung) -> ExportRequest:
    """Return the request for one rung: its file is named after it, by a dash, since a dot would begin a suffix."""
    return replace(request, name=f"{request.name}-{rung.name.replace('.', '-')}", rung=rung.name)


def _entry(chain: Chain, request: ExportRequest, first: dict[str, FileOptions]) -> RequestedCandidate:
    asked = (request.opset, request.transforms, request.external_data)
    opset, transforms, external = first.setdefault(chain.id, asked)
    name = chain.id if request.opset == opset else f"{chain.id}.opset{request.opset or '_auto'}"
    name = name if request.transforms == transforms else f"{name}.{request.transforms}"
    name = name if request.external_data == external else f"{name}.{'external' if request.external_data else 'whole'}"
    return RequestedCandidate(name, chain, request)


def links(entry: RequestedCandidate, original: Original, maker: StepMaker) -> tuple[Link, ...]:
    """Find the operators from the original's kind through every reduction, in their order, to the format's kind.

    No links: the original's own file is what was asked for.
    """
    chain = entry.chain
    needed_kind = backend.kind_of_format(chain.format).name
    chained: list[Link] = []
    kind = original.kind
    for reduction in chain.before:
        more, kind = _reduce(kind, reduction, entry, maker)
        chained += more
    chained += _prepare(kind, needed_kind)
    for operator in chain.first:
        more, kind = _reduce(kind, ReductionStep(operator, {}, f"repair of {chain.mends}"), entry, maker)
        chained += more
    for method in _methods(chain, maker):
        more, kind = _reduce(kind, method, entry, maker)
        chained += more
    for operator in chain.last:
        more, kind = _reduce(kind, ReductionStep(operator, {}, f"repair of {chain.mends}"), entry, maker)
        chained += more
    if chain.method != "none":
        chained[-1] = replace(chained[-1], local="")
    if chain.layout:
        because = f"memory.layout: {chain.layout}"
        chained.append(Link(backend.kinds()[kind].layout, "layout", {"layout": chain.layout}, because))
    chained += _convert(kind, needed_kind, entry, maker)
    if entry.request.transforms == "inside":
        chained.append(Link(INSIDE, "inside", {}, "raw columns go in"))
    if entry.request.external_data:
        chained.append(Link(backend.kind_of_format(chain.format).outside, "external", {}, "weights in their own file"))
    return _named(chained)


def _methods(chain: Chain, maker: StepMaker) -> Iterator[ReductionStep]:
    """Yield a chain's method, and what follows it at once with those of its options that both have."""
    if chain.method == "none":
        return
    params, because = method_params(chain, maker), f"method {chain.method}"
    named = method_operator(chain.method)
    yield ReductionStep(named, params, because)
    while (method := maker.declare(named).method) is not None and method.then:
        named = method_operator(method.then)
        fields = maker.declare(named).params.model_fields
        yield ReductionStep(named, {name: value for name, value in params.items() if name in fields}, because)


def _reduce(
    kind: str, reduction: ReductionStep, entry: RequestedCandidate, maker: StepMaker
) -> tuple[tuple[Link, ...], str]:
    """Return a reduction, after whatever converts to the kind that it takes, and the kind that it gives."""
    declaration = maker.declare(reduction.operator)
    takes = declaration.inputs["model"].kinds[0] if declaration.method is None else declaration.method.takes
    converted = _convert(kind, takes, entry, maker)
    link = Link(reduction.operator, reduction.name or reduction.operator, reduction.options, reduction.because)
    return (*converted, link), declaration.outputs["model"]


def _prepare(kind: str, needed_kind: str) -> Iterator[Link]:
    """Do what pays before the kind that is needed is made of this one.

    A model in which there is nothing to do loses the step again: a pass drops it.
    """
    for _, given in backend.conversion(kind, needed_kind) or ():
        for first in backend.kinds()[given].preparations:
            yield Link(first.operator, first.name, {}, first.because)


def _convert(kind: str, needed_kind: str, entry: RequestedCandidate, maker: StepMaker) -> Iterator[Link]:
    """Convert by the shortest way; an operator set that the recipe asks for goes to whoever can be told one."""
    chain, opset = entry.chain, entry.request.opset
    way = backend.conversion(kind, needed_kind)
    if way is None:
        raise InfeasibleError(
            Diagnostic(
                "P020",
                f"{chain.id}: nothing here turns {kind} into {needed_kind}",
                help=f"leave out format {chain.format}, or start from a model of another kind",
            )
        )
    for operator, given in way:
        has_opset = opset is not None and "opset" in maker.declare(operator).params.model_fields
        yield Link(operator, given, {"opset": opset} if has_opset else {}, f"{chain.engine} runs {needed_kind}")


def _named(chained: list[Link]) -> tuple[Link, ...]:
    """Let the chain's last operator carry the chain's own name where no method does."""
    if not chained or any(not link.local for link in chained):
        return tuple(chained)
    last = chained[-1]
    return (*chained[:-1], Link(last.operator, "", last.params, last.because))


def method_params(chain: Chain, maker: StepMaker) -> dict[str, Any]:
    """Return the options of a chain's method, with its width where the operator has one to set."""
    fields = maker.declare(method_operator(chain.method)).params.model_fields
    width = {"bits": chain.bits} if "bits" in fields and chain.bits is not None else {}
    return {**width, **chain.options}


def file_steps(
    name: str,
    links: tuple[Link, ...],
    original: Original,
    maker: StepMaker,
    *,
    candidate: str = "",
    stage: str = "make",
    allocation: str = "",
) -> Iterator[Step]:
    """Yield the steps that make a file, a candidate's or one that is only timed, each reading the one before.

    `allocation` is the "step.port" of the layers that a mixture leaves alone.
    """
    model = unquantized = original.reference
    for link in links:
        identifier = f"{name}.{link.local}" if link.local else name
        declaration = maker.declare(link.operator)
        ports = declaration.inputs
        inputs = {"model": model}
        if "float" in ports:
            inputs["float"] = unquantized
        if "allocation" in ports and allocation:
            inputs["allocation"] = allocation
        inputs |= {port: reference for port, reference in _ROWS.items() if port in ports}
        if "teacher" in ports:
            inputs["teacher"] = original.teacher or original.reference
        if declaration.method is not None:
            unquantized = model
        if "example" in ports:
            inputs["example"] = EXAMPLE
        if "calibration" in ports and ports["calibration"].is_read(link.params):
            inputs["calibration"] = CALIBRATION
        if link.operator == INSIDE:
            inputs |= {"transforms": TRANSFORMS, "raw": f"{RAW}.tuning"}
        yield maker.make(
            identifier,
            link.operator,
            link.params,
            inputs,
            stage=stage,
            because=link.because,
            candidate=candidate,
        )
        model = f"{identifier}.model"


def begun(
    entry: RequestedCandidate, original: Original, maker: StepMaker, about: Mapping[str, Any]
) -> tuple[tuple[Step, ...], Original]:
    """Return what a candidate begins with: the original, or a student that learns from it, and the step for that."""
    load = entry.chain.student
    if load is None:
        return (), original
    because = "reduction.distillation.student"
    step = maker.make(f"{entry.id}.{STUDENT}", load.operator, load.params, {}, because=because, **about)
    kind = maker.declare(load.operator).outputs["model"]
    return (step,), Original(f"{step.id}.model", kind, original.teacher or original.reference)


def given_facts(chain: Chain, maker: StepMaker) -> ModelFacts:
    """Return the facts of what the method of a chain is given; of a file that was made elsewhere its own."""
    loaded = chain.load or chain.student
    model = maker.model if loaded is None else loaded.model
    for reduction in chain.before:
        declaration = maker.declare(reduction.operator)
        model = declaration.model_after(full_params(declaration.params, reduction.options), model)
    return model


def possible_facts(chain: Chain, maker: StepMaker) -> ModelFacts:
    """Return the facts of what the method may be given: with every layer that a removal may take out, or may leave.

    Which blocks go shows only when their removal was measured.
    """
    model = given_facts(chain, maker)
    if any(REMOVED in maker.declare(reduction.operator).outputs for reduction in chain.before):
        left = {layer.name: layer for layer in model.layers}
        model = replace(model, layers=tuple(left.get(layer.name, layer) for layer in maker.model.layers))
    return model
