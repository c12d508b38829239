"""Rewrite recipes of older language versions; only the changed tokens move, so comments, order and quoting stay."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.parse import mapping
from titrant.schema.language.spans import Origin, Span, dotted
from titrant.schema.language.yaml_source import LINE_BREAK, check_text, split_lines
from titrant.schema.language.yaml_tree import Branch, Leaf, Node
from titrant.schema.recipe.recipe import LANGUAGE


@dataclass(frozen=True)
class Migration:
    """A recipe's new text, and what was changed, a sentence each; none when it spoke the language already."""

    text: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Edit:
    """Text to put in place of a token, and why."""

    span: Span
    text: str
    change: str = ""


def migrate(text: str, file: str) -> Migration:
    """Rewrite a recipe to the present version of the language, one version after the other.

    RecipeError for a text that is not a recipe, names no version, or names a newer one.
    """
    check_text(text, file)
    changes: list[str] = []
    while (version := _version(root := _root(text, file), file)) < LANGUAGE:
        edits = [*_STEPS[version](root), _bump(root, version + 1)]
        text = _edited(text, edits)
        changes += [edit.change for edit in edits if edit.change]
    return Migration(text, tuple(changes))


def _root(text: str, file: str) -> Branch:
    root, diagnostics = mapping(text, Origin(file, Path(), split_lines(text)))
    if diagnostics:
        raise RecipeError(*diagnostics)
    return root


def _version(root: Branch, file: str) -> int:
    entry = root.entries.get("titrant")
    if entry is None:
        message = f"{file} does not say which version of the language it speaks"
        raise RecipeError(Diagnostic("R020", message, help=f"write `titrant: {LANGUAGE}` as its first line"))
    value = entry.node.value if isinstance(entry.node, Leaf) else None
    if isinstance(value, int) and not isinstance(value, bool) and value in (*_STEPS, LANGUAGE):
        return value
    versions = ", ".join(map(str, (*_STEPS, LANGUAGE)))
    message, advice = "`titrant` is not a version of the language", f"it is a whole number: {versions}"
    if isinstance(value, int) and value > LANGUAGE:
        message = f"this recipe speaks language {value}, and this titrant knows {versions}"
        advice = f"install a titrant that speaks language {value}"
    raise RecipeError(Diagnostic("R020", message, entry.node.span.place("titrant"), advice))


def _bump(root: Branch, version: int) -> Edit:
    return Edit(root.entries["titrant"].node.span, str(version), f"`titrant` is {version}")


def _edited(text: str, edits: list[Edit]) -> str:
    """Put every edit in place of its token; a line ends where YAML says so."""
    starts = [0, *(match.end() for match in LINE_BREAK.finditer(text))]
    for edit in sorted(edits, key=lambda edit: (edit.span.line, edit.span.column), reverse=True):
        span = edit.span
        begin, end = starts[span.line] + span.column, starts[span.end_line] + span.end_column
        text = text[:begin] + edit.text + text[end:]
    return text


# --- from version 0, the draft before the first release

_RENAMED = {
    ("optimization_level",): "level",
    ("data", "split", "validation"): "tuning",
    ("data", "split", "test"): "evaluation",
    ("quantization", "exclude"): "skip",
    ("validation", "accuracy_retention"): "retention",
}
_PLAIN = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# Numbers whose unit stood in the key: new key, and how the value is written.
_UNITS = {
    ("target", "max_size_mb"): ("size", "{} MB"),
    ("target", "max_memory_mb"): ("peak_memory", "{} MB"),
    ("target", "max_latency_ms"): ("latency", "{{p95: {} ms}}"),
}


def _from_draft(root: Branch) -> Iterator[Edit]:
    for path, name in _RENAMED.items():
        owner = _owner(root, path)
        if owner is not None and path[-1] in owner.entries and name not in owner.entries:
            yield Edit(owner.entries[path[-1]].key, name, f"`{dotted(path)}` is `{name}`")
    for path, (name, form) in _UNITS.items():
        owner = _owner(root, path)
        entry = owner.entries.get(path[-1]) if owner is not None else None
        if owner is None or entry is None or name in owner.entries:
            continue
        if (text := _number(entry.node)) is not None:
            value = form.format(text)
            yield Edit(entry.key, name, f"`{dotted(path)}: {text}` is `{name}: {value}`")
            yield Edit(entry.node.span, value)
    yield from _percentages(root)


def _percentages(root: Branch) -> Iterator[Edit]:
    """Fractions were percentages in the draft."""
    for key in ("retention", "accuracy_retention", "safety", "bias", "clinical_relevance"):
        owner = _owner(root, ("validation", key))
        entry = owner.entries.get(key) if owner is not None else None
        if entry is not None and (text := _number(entry.node)) is not None:
            fraction = f"{float(text) / 100:.12g}"
            yield Edit(entry.node.span, fraction, f"`validation.{key}: {text}` (percent) is `{fraction}`")


def _number(node: Node) -> str | None:
    """Return a number's digits, without sign `+` or exponent, which no unit may follow; None for anything else."""
    if not isinstance(node, Leaf) or isinstance(node.value, bool) or not isinstance(node.value, int | float):
        return None
    return node.text if _PLAIN.fullmatch(node.text) else f"{Decimal(node.text):f}"


def _owner(root: Branch, path: tuple[str, ...]) -> Branch | None:
    node = root
    for part in path[:-1]:
        entry = node.entries.get(part)
        if entry is None or not isinstance(entry.node, Branch):
            return None
        node = entry.node
    return node


_STEPS: dict[int, Callable[[Branch], Iterator[Edit]]] = {0: _from_draft}
