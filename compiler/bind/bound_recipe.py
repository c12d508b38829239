"""The bound recipe that every later stage takes, and what its checks read (`CheckInput`) and yield (`Finding`)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Literal

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.language.nearest import nearest
from titrant.schema.language.parse import ParsedRecipe
from titrant.schema.language.spans import KeyPath
from titrant.schema.language.yaml_tree import MOST_FINDINGS, capped
from titrant.schema.recipe.data import Data
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.recipe.tasks import TASKS, TaskTerms
from titrant.schema.values.frozen import dataclass

CodeOrigin = Literal["recipe", "environment", "outside"]


@dataclass(frozen=True)
class UserReference:
    """One `module:Name` of the recipe, and where its module lives.

    `origin` is "recipe" (under the recipe's folder), "environment" (installed) or "outside" (anywhere else: trusted
    explicitly). `path` is the module's file; None for a package without a file of its own. `digest` is the file's where
    it was trusted, else "".
    """

    key: str  # dotted recipe path, such as "model.factory"
    reference: str
    origin: CodeOrigin
    path: Path | None
    digest: str = ""


@dataclass(frozen=True)
class BoundRecipe:
    """A recipe that can be planned on some machine.

    `files` maps the dotted key of every file or folder that the recipe names to its absolute path ("model.weights",
    "data.source.csv", "data.sources.train.npz" …). `warnings` are findings that stop nothing.
    """

    parsed: ParsedRecipe
    recipe: Recipe
    folder: Path
    files: Mapping[str, Path] = field(default_factory=dict)
    user_references: tuple[UserReference, ...] = ()
    trusted: bool = False
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def user_code(self) -> bool:
        """Whether anything that the recipe names runs the user's Python."""
        return any(not reference.reference.startswith("titrant.") for reference in self.user_references)

    def written(self, *path: str | int) -> bool:
        """Whether this key stands in the recipe's text (or a `--set`), rather than coming from a default."""
        return self.parsed.source.has(path)

    def where(self, *path: str | int) -> str:
        """Return `file:line:column` of a key that stands in the text, or "" for a default."""
        return str(self.parsed.source.place(path)) if self.written(*path) else ""


@dataclass(frozen=True)
class Finding:
    """A diagnostic and the recipe path that it is about: one path gives one error."""

    path: KeyPath
    diagnostic: Diagnostic


@dataclass(frozen=True)
class CheckInput:
    """A parsed recipe as checks read it, by path; `trust` lets modules from anywhere pass."""

    parsed: ParsedRecipe
    trust: bool = False

    @property
    def recipe(self) -> Recipe:
        """The recipe itself."""
        return self.parsed.recipe

    @property
    def data(self) -> Data:
        """The data section; without one in the text, its defaults."""
        return self.recipe.data if self.recipe.data is not None else Data.model_validate({})

    @property
    def has_source(self) -> bool:
        """Whether there are rows at all, rather than random inputs."""
        return self.data.source is not None or self.data.sources is not None

    @property
    def task(self) -> TaskTerms:
        """What this version knows of the recipe's task."""
        return TASKS.get(self.recipe.task, TASKS["unlabeled"])

    @property
    def labelled(self) -> bool:
        """Whether the task has labels."""
        return self.task.label != "none"

    @property
    def labels_named(self) -> bool:
        """Whether the recipe says which column is the label."""
        sources = (self.data.sources or {}).values()
        return self.data.label is not None or any(source.label is not None for source in sources)

    @property
    def has_classes(self) -> bool:
        """Whether gates may be about one class: of a case, of pixels or of boxes."""
        return self.task.label in ("class", "labels", "mask", "boxes")

    @property
    def classifying(self) -> bool:
        """Whether the labels are classes."""
        return self.task.label == "class"

    def written(self, *path: str | int) -> bool:
        """Whether a path stands in the text."""
        return self.parsed.source.has(path)

    def finding(
        self,
        code: str,
        path: KeyPath,
        message: str,
        help: str = "",
        *,
        part: Literal["key", "value"] = "value",
        severity: str = "error",
    ) -> Finding:
        """Word a finding about a path, with the caret under its value (or key); a missing path points at its parent."""
        where = self.parsed.source.place(path, part)
        return Finding(path, Diagnostic(code, message, where, help, severity))


def meant(word: str, choices: Iterable[str], what: str = "there are") -> str:
    """Word a hint: the nearest choice, else all of them."""
    names = list(choices)
    close = nearest(word, names)
    if close is not None:
        return f"did you mean `{close}`?"
    if not names:
        return ""
    listed = ", ".join(f"`{name}`" for name in names[:12])
    return f"{what} {listed}" + (" …" if len(names) > 12 else "")


def unclaimed(findings: Iterable[Finding]) -> list[Finding]:
    """Drop what is found at, or below, a path that an earlier finding is about: one mistake, one error.

    Of more mistakes than anybody reads the first are kept, and that there are more; of more warnings the first.
    """
    kept: list[Finding] = []
    count = {"error": 0, "warning": 0}
    for finding in findings:
        if any(finding.path[: len(earlier.path)] == earlier.path for earlier in kept):
            continue
        severity = "error" if finding.diagnostic.severity == "error" else "warning"
        count[severity] += 1
        if count["error"] > MOST_FINDINGS:
            last = capped([finding.diagnostic] * (MOST_FINDINGS + 1))[-1]
            return [*kept, Finding(finding.path, last)]
        if count[severity] <= MOST_FINDINGS:
            kept.append(finding)
    return kept


def located(bound: BoundRecipe, ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Ask, and give each diagnostic that names a key, such as of weights that do not fit, the place of its value."""
    try:
        return ask()
    except (RecipeError, StepError) as error:
        if not any(diagnostic.key for diagnostic in error.diagnostics):
            raise
        kind = RecipeError if isinstance(error, RecipeError) else StepError
        raise kind(*(placed(bound.parsed, diagnostic) for diagnostic in error.diagnostics)) from None


def placed(recipe: ParsedRecipe, diagnostic: Diagnostic) -> Diagnostic:
    """Give a diagnostic that names a key, and no place yet, the place of its value in the recipe."""
    if diagnostic.where is not None or not diagnostic.key:
        return diagnostic
    key, _, value = diagnostic.key.partition(" ")
    source = recipe.source
    path = tuple(int(part) if part.isdigit() else part for part in key.split("."))
    where = source.place(source.holding(path, value), "value")
    return replace(diagnostic, where=where)
