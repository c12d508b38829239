"""One candidate's chain: how the original becomes its file, and how that file is answered and judged.

Which candidates compete for which requested file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from titrant.compiler.decide.rule import Chain, Decisions, ExportRequest
from titrant.compiler.lower.plan_graph import CONVERSIONS, KIND_OF, StepMaker
from titrant.runtime.catalog import method_operator
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.plan import Step
from titrant.schema.values.frozen import dataclass

EXAMPLE = "transform.tuning"
CALIBRATION = "transform.calibration"


@dataclass(frozen=True)
class Original:
    """The model that candidates are made from and compared with: "step.port", and its kind."""

    reference: str
    kind: str


@dataclass(frozen=True)
class Link:
    """One operator of a chain; `local` is its name within the chain, "" for the one that the chain is named after."""

    operator: str
    local: str
    params: Mapping[str, Any]
    because: str


def file_steps(candidate: str, links: tuple[Link, ...], original: Original, maker: StepMaker) -> Iterator[Step]:
    """Yield the steps that make a candidate's file, each reading the one before."""
    model = original.reference
    for link in links:
        identifier = f"{candidate}.{link.local}" if link.local else candidate
        ports = maker.declare(link.operator).inputs
        inputs = {"model": model}
        if "example" in ports:
            inputs["example"] = EXAMPLE
        if "calibration" in ports:
            inputs["calibration"] = CALIBRATION
        yield maker.make(
            identifier,
            link.operator,
            link.params,
            inputs,
            stage="make",
            because=link.because,
            candidate=candidate,
        )
        model = f"{identifier}.model"


def links(chain: Chain, request: ExportRequest, original: Original, maker: StepMaker) -> tuple[Link, ...]:
    """Find the operators from the original's kind to the method's, through it, and on to the format's kind.

    No links: the original's own file is what was asked for.
    """
    wanted = KIND_OF[chain.format]
    found = list(_fuse(original.kind, wanted))
    kind = original.kind
    if chain.method != "none":
        operator = method_operator(chain.method)
        declaration = maker.declare(operator)
        assert declaration.method is not None  # bind takes no method whose operator is none
        found += _convert(kind, declaration.method.takes, chain, request)
        found.append(Link(operator, "", method_params(chain, maker), f"method {chain.method}"))
        kind = declaration.outputs["model"]
    found += _convert(kind, wanted, chain, request)
    return _named(found)


def method_params(chain: Chain, maker: StepMaker) -> dict[str, Any]:
    """Return the options of a chain's method, with its width where the operator has one to set."""
    fields = maker.declare(method_operator(chain.method)).params.model_fields
    width = {"bits": chain.bits} if "bits" in fields and chain.bits is not None else {}
    return {**width, **chain.options}


def _fuse(kind: str, wanted: str) -> Iterator[Link]:
    """Fuse before anything that ends in TorchScript: it runs what it is given, where onnxruntime folds by itself.

    A model in which there is nothing to fold loses the step again: a pass drops it.
    """
    if kind == "torch" and wanted == "torchscript":
        yield Link("model.fuse", "fused", {}, "batch normalization folds into the layer before it")


def _convert(kind: str, wanted: str, chain: Chain, request: ExportRequest) -> Iterator[Link]:
    if kind == wanted:
        return
    if (kind, wanted) not in CONVERSIONS:
        raise InfeasibleError(
            Diagnostic(
                "P020",
                f"{chain.id}: nothing here turns {kind} into {wanted}",
                help=f"leave out format {chain.format}, or start from a model of another kind",
            )
        )
    operator = CONVERSIONS[kind, wanted]
    params = {"opset": request.opset} if operator == "export.onnx" and request.opset is not None else {}
    yield Link(operator, wanted, params, f"{chain.engine} runs {wanted}")


def _named(found: list[Link]) -> tuple[Link, ...]:
    """Let the chain's last operator carry the chain's own name where no method does."""
    if not found or any(not link.local for link in found):
        return tuple(found)
    last = found[-1]
    return (*found[:-1], Link(last.operator, "", last.params, last.because))


@dataclass(frozen=True)
class RequestedCandidate:
    """A candidate to make: its id, its chain, and the request whose options its export follows."""

    id: str
    chain: Chain
    request: ExportRequest


def entries(decisions: Decisions) -> tuple[tuple[ExportRequest, tuple[RequestedCandidate, ...]], ...]:
    """Give each request the chains that end in its format; the same file for two requests is one candidate.

    A second opset makes another file, and so another candidate, named by it.
    """
    first_opset: dict[str, int | None] = {}
    found = []
    for request in decisions.exports:
        matching = [chain for chain in decisions.chains if request.format in ("auto", chain.format)]
        found.append((request, tuple(_entry(chain, request, first_opset) for chain in matching)))
    return tuple(found)


def _entry(chain: Chain, request: ExportRequest, first_opset: dict[str, int | None]) -> RequestedCandidate:
    opset = first_opset.setdefault(chain.id, request.opset)
    name = chain.id if request.opset == opset else f"{chain.id}.opset{request.opset or '_auto'}"
    return RequestedCandidate(name, chain, request)
