"""List the third-party components of a run: what a released file needs, and what made and judged it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from titrant.runtime.backends import backend
from titrant.runtime.evidence.facts import RunFacts
from titrant.runtime.evidence.words import NO_CLAIM, NOT_KNOWN, table, text_of
from titrant.schema.diagnostics.diagnostics import TitrantError
from titrant.schema.values.frozen import dataclass

# An SPDX license expression: identifiers, joined by AND, OR and WITH.
_EXPRESSION = re.compile(r"[\w.+-]+( (AND|OR|WITH) [\w.+-]+)*")
_SEPARATORS = re.compile(r"[-_.]+")


@dataclass(frozen=True)
class Component:
    """A library: `license` as it declares it ("" unknown); `needed` says that a released file does not run without.

    `purl` is its package URL, "" for what does not come from the Python Package Index.
    """

    name: str
    version: str
    license: str
    needed: bool
    purl: str

    @property
    def reference(self) -> str:
        """What other parts of a document call it."""
        return self.purl or f"library:{self.name}@{self.version}"


def components(facts: RunFacts) -> tuple[Component, ...]:
    """Return the libraries that can have changed a result, by name."""
    declared: Mapping[str, Any] = facts.environment.get("licenses", {})
    installed = {_canonical(name) for name in facts.environment.get("packages", {})}
    needed = {_canonical(name) for model in facts.released for name in _packages(model.candidate.engine)}
    return tuple(
        Component(
            name,
            version,
            str(declared.get(name, "")),
            _canonical(name) in needed,
            f"pkg:pypi/{_canonical(name)}@{version.replace('+', '%2B')}" if _canonical(name) in installed else "",
        )
        for name, version in sorted(facts.libraries.items(), key=lambda item: item[0].lower())
    )


def _packages(engine: str) -> tuple[str, ...]:
    """Return the distributions that bring an engine; none where it is no longer here."""
    try:
        return tuple(backend.get(engine).packages)
    except (KeyError, TitrantError):
        return ()


def _canonical(name: str) -> str:
    return _SEPARATORS.sub("-", name).lower()


def license_choice(component: Component) -> list[dict[str, Any]]:
    """Return a component's license as CycloneDX has it: by its one identifier as a name, an expression, or not."""
    if not component.license:
        return []
    if _joined(component.license):
        return [{"expression": component.license, "acknowledgement": "declared"}]
    return [{"license": {"name": component.license, "acknowledgement": "declared"}}]


def _joined(text: str) -> bool:
    """Whether a license is an expression of several identifiers, and not a name in words."""
    expression = _EXPRESSION.fullmatch(text)
    return expression is not None and expression[1] is not None


def third_party(facts: RunFacts) -> dict[str, str]:
    """Return third-party.md: each library with its version, its license and what it was for."""
    lines = ["# Third-party components", "", NO_CLAIM, "", *_lines(facts)]
    return {"third-party.md": text_of(lines)}


def _lines(facts: RunFacts) -> Iterator[str]:
    yield "Libraries that can have changed a result of the run; licenses are as the packages declare them."
    yield ""
    yield from table(
        ("component", "version", "license", "needed by a released file", "package URL"),
        (
            (
                library.name,
                library.version,
                library.license or "not declared",
                "yes" if library.needed else "no",
                library.purl,
            )
            for library in components(facts)
        ),
    )
    yield ""
    yield f"Python {facts.plan.hardware.python} on {facts.plan.hardware.system}."
    yield ""
    yield f"The license of the original model and of the data: {NOT_KNOWN}"
