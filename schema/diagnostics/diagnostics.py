"""What went wrong, where, and what would fix it; exit codes, an exception class for each, and what every code means."""

from functools import cache
from typing import Any, ClassVar

from titrant.schema.values.frozen import dataclass

OK = 0  # did what was asked
DEFECT = 1  # a defect of titrant itself
INVALID = 2  # the recipe or the arguments
INFEASIBLE = 3  # valid, but cannot be done on this target
STEP_FAILED = 4
CONTRACT_NOT_KEPT = 5  # ran, and did not release all that was asked for
OUT_OF_DATE = 6  # a plan or lock is stale; with `--exit-code`: something would run, or differs
DIFFERENT = 7  # a rerun gave a different result
INTERRUPTED = 130


@dataclass(frozen=True)
class Place:
    """A stretch of one line of a source text; line and column count from 1, `width` is in characters.

    `file` is the path as the user wrote it, or "--set" for a command-line override. `text` is the whole source line.
    `key` is the dotted recipe path, or "" where there is none.
    """

    file: str
    line: int
    column: int
    width: int
    text: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Diagnostic:
    """One finding: a stable code (R… recipe, P… plan, X… execution), what is wrong in a line, and what would fix it.

    `key` is the dotted recipe path that it is about, for a finder that does not know the recipe's text: whoever does
    turns it into `where`. A value at or below that path can follow after a space ("data.inputs age").

    `said` is what a library or the user's own code said, or what stands in the data: it may hold values of rows. It is
    for a terminal that was asked to show it (`--show-data`) and is written nowhere, nor is it in the repr.
    """

    code: str
    message: str
    where: Place | None = None
    help: str = ""
    severity: str = "error"
    key: str = ""
    said: str = ""

    def __repr__(self) -> str:
        shown = ("code", "message", "where", "help", "severity", "key")
        return f"Diagnostic({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


class TitrantError(Exception):
    """Something a person can mend; carries every diagnostic found, and the exit code of the command line."""

    exit_code: ClassVar[int] = DEFECT

    def __init__(self, *diagnostics: Diagnostic) -> None:
        self.diagnostics = diagnostics
        super().__init__("; ".join(f"{d.code}: {d.message}" + (f" ({d.help})" if d.help else "") for d in diagnostics))


class RecipeError(TitrantError):
    """The recipe or the arguments are invalid."""

    exit_code = INVALID


class InfeasibleError(TitrantError):
    """The recipe is valid but cannot be carried out on this target."""

    exit_code = INFEASIBLE


class StepError(TitrantError):
    """A step failed while it ran."""

    exit_code = STEP_FAILED


class PreconditionError(StepError):
    """An operator was given inputs that it cannot work on; in a search this rejects the candidate only."""


class StaleError(TitrantError):
    """A saved plan or lock no longer matches."""

    exit_code = OUT_OF_DATE


@dataclass(frozen=True)
class Code:
    """One diagnostic code, as `titrant explain CODE` and the docs show it."""

    code: str
    title: str
    explanation: str
    wrong: str = ""
    right: str = ""


@cache
def all_codes() -> dict[str, Code]:
    """Return every code of `codes.yaml`, in its order; ValueError for one that stands twice."""
    from importlib import resources

    import yaml

    text = resources.files("titrant.schema.diagnostics").joinpath("codes.yaml").read_text("utf-8")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    codes: dict[str, Code] = {}
    try:
        for key, texts in loader.get_single_node().value:
            if key.value in codes:
                raise ValueError(f"{key.value} stands twice")
            codes[key.value] = Code(key.value, **loader.construct_mapping(texts, deep=True))
    finally:
        loader.dispose()
    return codes
