"""How what went wrong in the worker crosses to the parent."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from titrant.runtime.execution.death import Death
from titrant.schema import diagnostics
from titrant.schema.canonical import plain
from titrant.schema.diagnostics import Diagnostic, Place, StepError, TitrantError


class DamagedArtifactError(Exception):
    """A stored file that the worker needed is missing or damaged."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(digest)


class WorkerDiedError(StepError):
    """The worker's process ended in the middle of a step."""

    def __init__(self, death: Death, log: str) -> None:
        self.death = death
        code = "X311" if death.out_of_memory else "X310"
        printed = f"; what it printed is in {log}" if log else ""
        super().__init__(Diagnostic(code, death.cause, help=f"{death.advice}{printed}"))


def describe_error(error: TitrantError) -> dict[str, Any]:
    """Write an error as the message that carries it, without secrets: what a library says may hold an address."""
    from titrant.schema.config.secrets import without_secrets

    said = [
        replace(one, message=without_secrets(one.message), help=without_secrets(one.help)) for one in error.diagnostics
    ]
    return {"event": "error", "exception": type(error).__name__, "diagnostics": plain(said)}


def raise_answer(answer: Mapping[str, Any]) -> None:
    """Raise what an answer reports, if it does."""
    if answer["event"] == "damaged":
        raise DamagedArtifactError(answer["digest"])
    if answer["event"] == "error":
        kind = getattr(diagnostics, answer["exception"], StepError)
        raise kind(*(_diagnostic(item) for item in answer["diagnostics"]))


def _diagnostic(item: Mapping[str, Any]) -> Diagnostic:
    where = item["where"]
    return Diagnostic(**{**item, "where": Place(**where) if where else None})
