"""Which files are released, and under which names."""

from titrant.compiler.decisions import ExportRequest
from titrant.compiler.rules.question import Answer, Question, decision
from titrant.runtime import catalog
from titrant.schema.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.plan import Decision

DEFAULT_NAME = "model"


def exports(question: Question) -> Answer:
    """Settle every file to release; each has its own search, and `auto` takes whatever format wins."""
    requests = tuple(
        ExportRequest(export.format, export.name or _default_name(question, export.format), export.opset)
        for export in question.recipe.export
    )
    for place, request in enumerate(requests):
        if request.opset is not None:
            _check_opset(question, place, request)
    return Answer(requests, tuple(_line(question, place, request) for place, request in enumerate(requests)))


def _default_name(question: Question, form: str) -> str:
    """Name a file that the recipe does not name; several such files must not share a name."""
    unnamed = sum(export.name is None for export in question.recipe.export)
    return DEFAULT_NAME if unnamed < 2 else f"{DEFAULT_NAME}-{form}"


def _check_opset(question: Question, place: int, request: ExportRequest) -> None:
    """Raise InfeasibleError for an operator set that this file cannot be written in."""
    if request.format not in ("auto", "onnx"):
        message, advice = f"{request.format} has no ONNX operator set", "leave `opset` out"
    elif question.model.source == "onnx":
        message, advice = "the original is an ONNX file, which keeps its own operator set", "leave `opset` out"
    else:
        declaration = catalog.get("export.onnx")
        params = declaration.params.model_validate({"opset": request.opset})
        sentences = [
            text for text in declaration.requires(params, question.hardware, question.model) if "opset" in text
        ]
        if not sentences:
            return
        message, _, advice = sentences[0].partition(": ")
    where = question.bound.parsed.source.place(("export", place, "opset"), "value")
    raise InfeasibleError(Diagnostic("P063", message, where, advice))


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
