"""A recipe whose names, files and references have been found: what bind gives and every later stage takes."""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Literal

from titrant.schema.diagnostics import Diagnostic
from titrant.schema.frozen import dataclass
from titrant.schema.recipe import Recipe
from titrant.schema.source import ParsedRecipe


@dataclass(frozen=True)
class UserReference:
    """One `module:Name` of the recipe, and where its module lives.

    `origin` is "recipe" (under the recipe's folder), "environment" (installed) or "outside" (anywhere else: trusted
    explicitly). `path` is the module's file; None for a package without a file of its own. `digest` is the file's where
    it was trusted, else "".
    """

    key: str  # dotted recipe path, such as "model.factory"
    reference: str
    origin: Literal["recipe", "environment", "outside"]
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
