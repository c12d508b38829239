"""Which candidates compete for which requested file."""

from titrant.compiler.decisions import Chain, Decisions, ExportRequest
from titrant.schema.frozen import dataclass


@dataclass(frozen=True)
class Entry:
    """A candidate to make: its id, its chain, and the request whose options its export follows."""

    id: str
    chain: Chain
    request: ExportRequest


def entries(decisions: Decisions) -> tuple[tuple[ExportRequest, tuple[Entry, ...]], ...]:
    """Give each request the chains that end in its format; the same file for two requests is one candidate.

    A second opset makes another file, and so another candidate, named by it.
    """
    first_opset: dict[str, int | None] = {}
    found = []
    for request in decisions.exports:
        matching = [chain for chain in decisions.chains if request.format in ("auto", chain.format)]
        found.append((request, tuple(_entry(chain, request, first_opset) for chain in matching)))
    return tuple(found)


def _entry(chain: Chain, request: ExportRequest, first_opset: dict[str, int | None]) -> Entry:
    opset = first_opset.setdefault(chain.id, request.opset)
    name = chain.id if request.opset == opset else f"{chain.id}.opset{request.opset or '_auto'}"
    return Entry(name, chain, request)
