"""What every check looks at, and how it says what it found."""

from collections.abc import Iterable
from typing import Literal

from titrant.schema.diagnostics import Diagnostic
from titrant.schema.frozen import dataclass
from titrant.schema.nearest import nearest
from titrant.schema.recipe import Recipe
from titrant.schema.recipe.data import Data
from titrant.schema.source import ParsedRecipe

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Finding:
    """A diagnostic and the recipe path that it is about: one path gives one error."""

    path: Path
    diagnostic: Diagnostic


@dataclass(frozen=True)
class Look:
    """A parsed recipe, asked and answered by path."""

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
    def labelled(self) -> bool:
        """Whether the task has labels."""
        return self.recipe.task in ("binary_classification", "multiclass_classification")

    def written(self, *path: str | int) -> bool:
        """Whether a path stands in the text."""
        return self.parsed.source.has(path)

    def finding(
        self,
        code: str,
        path: Path,
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
    known = list(choices)
    close = nearest(word, known)
    if close is not None:
        return f"did you mean `{close}`?"
    if not known:
        return ""
    listed = ", ".join(f"`{one}`" for one in known[:12])
    return f"{what} {listed}" + (" …" if len(known) > 12 else "")


def unclaimed(findings: Iterable[Finding]) -> list[Finding]:
    """Drop what is found at, or below, a path that an earlier finding is about: one mistake, one error."""
    kept: list[Finding] = []
    for finding in findings:
        if not any(finding.path[: len(earlier.path)] == earlier.path for earlier in kept):
            kept.append(finding)
    return kept
