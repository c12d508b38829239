"""Which files are released, and under which names."""

from titrant.compiler.decisions import ExportRequest
from titrant.compiler.rules.question import Answer, Question, decision
from titrant.schema.plan import Decision

DEFAULT_NAME = "model"


def exports(question: Question) -> Answer:
    """Settle every file to release; each has its own search, and `auto` takes whatever format wins."""
    requests = tuple(
        ExportRequest(export.format, export.name or DEFAULT_NAME, export.opset) for export in question.recipe.export
    )
    return Answer(requests, tuple(_line(question, place, request) for place, request in enumerate(requests)))


def _line(question: Question, place: int, request: ExportRequest) -> Decision:
    if request.format == "auto":
        chosen, because = f"{request.name}, in the winner's format", "the recipe asks for no format"
    else:
        chosen, because = f"{request.name}.{request.format}", "the recipe asks for this format"
    return decision(
        question,
        f"export.{place}",
        "export.auto" if request.format == "auto" else "export.written",
        asked=request.format,
        chosen=chosen,
        because=because,
        path=("export", place, "format"),
    )
