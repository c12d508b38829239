"""A recipe while its mistakes are still being gathered."""

from collections.abc import Mapping
from typing import Any, cast

from titrant.schema.diagnostics.diagnostics import Diagnostic
from titrant.schema.language.source_map import SourceMap
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.data import Data
from titrant.schema.recipe.deploy import Export
from titrant.schema.recipe.model import Model
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.recipe.validation import Validation
from titrant.schema.values.frozen import dataclass


class UnsettledError(Exception):
    """A rule asked for a section that has mistakes of its own."""


@dataclass(frozen=True)
class Draft:
    """The sections that are right so far, and where everything stands."""

    sections: Mapping[str, Any]
    wrong: frozenset[str]
    source: SourceMap

    def get(self, key: str) -> Any:
        """Return a section, or its default where it is not written; UnsettledError where it is wrong or missing."""
        if key in self.sections:
            return self.sections[key]
        info = Recipe.model_fields[key]
        if key in self.wrong or info.is_required():
            raise UnsettledError(key)
        return info.get_default(call_default_factory=True)

    @property
    def task(self) -> str:
        """The task."""
        return cast("str", self.get("task"))

    @property
    def model(self) -> Model:
        """The `model` section."""
        return cast("Model", self.get("model"))

    @property
    def data(self) -> Data | None:
        """The `data` section."""
        return cast("Data | None", self.get("data"))

    @property
    def validation(self) -> Validation:
        """The `validation` section."""
        return cast("Validation", self.get("validation"))

    @property
    def export(self) -> tuple[Export, ...]:
        """The `export` list."""
        return cast("tuple[Export, ...]", self.get("export"))

    def key(self, code: str, message: str, path: KeyPath, advice: str) -> Diagnostic:
        """Make a diagnostic with its caret under a key, or the nearest parent's that stands in the text."""
        return Diagnostic(code, message, self.source.place(path), advice)

    def value(self, code: str, message: str, path: KeyPath, advice: str) -> Diagnostic:
        """Make a diagnostic with its caret under a value."""
        return Diagnostic(code, message, self.source.place(path, "value"), advice)
