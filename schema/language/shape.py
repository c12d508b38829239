"""Read a recipe's tree into the section models, section by section, gathering every finding."""

from dataclasses import field
from functools import cache
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from titrant.schema.language.expected import expected, fields, takes
from titrant.schema.language.nearest import nearest
from titrant.schema.language.spans import KeyPath
from titrant.schema.language.yaml_tree import Branch, Items, Leaf, Node, plain_value
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.values.frozen import dataclass

# Comparing a word with every known one takes time, which a hostile file could ask for without end.
MOST_COMPARED = 100


@dataclass
class Violation:
    """What Pydantic said of one place of the text; `keys` are those that are missing there."""

    path: KeyPath
    node: Node
    kind: str
    keys: tuple[str, ...] = ()
    errors: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Shaped:
    """The sections that are right, the keys of those that are not (or are misspelt), and what was found in them."""

    sections: dict[str, Any]
    wrong: frozenset[str]
    findings: list[Violation]


def shape(root: Branch) -> Shaped:
    """Validate each section that stands in the text; sections that do not are never built."""
    sections: dict[str, Any] = {}
    findings: list[Violation] = _empty_values(root)
    for key, entry in root.entries.items():
        if key not in Recipe.model_fields:
            findings.append(Violation((key,), entry.node, "extra_forbidden"))
            continue
        try:
            sections[key] = _adapter(key).validate_python(plain_value(entry.node), strict=True)
        except ValidationError as error:
            findings += _by_place(root, (key,), error)
    for key, info in Recipe.model_fields.items():
        if info.is_required() and key not in root.entries:
            findings.append(Violation((), root, "missing", (key,)))
    kept = _one_each(_without_misspelt(findings))
    wrong = {str(finding.path[0]) for finding in findings if finding.path} | set(_meant(findings).get((), ()))
    return Shaped({key: value for key, value in sections.items() if key not in wrong}, frozenset(wrong), kept)


@cache
def _adapter(key: str) -> TypeAdapter[Any]:
    info = Recipe.model_fields[key]
    annotation: Any = info.annotation
    if info.metadata:
        annotation = Annotated[annotation, *info.metadata]
    return TypeAdapter(annotation)


def findings_at(root: Branch, path: KeyPath, error: ValidationError) -> list[Violation]:
    """Return what Pydantic says of the section that stands at a path, one finding for each mistake."""
    return _one_each(_without_misspelt(_by_place(root, path, error)))


def _by_place(root: Branch, home: KeyPath, error: ValidationError) -> list[Violation]:
    """Group what Pydantic says by the place of the text that it is about."""
    groups: dict[tuple[KeyPath, str], Violation] = {}
    for detail in error.errors(include_url=False):
        kind = detail["type"]
        path, node = locate(root, (*home, *detail["loc"]))
        group = kind if kind in ("missing", "extra_forbidden") else "value"
        missing = (str(detail["loc"][-1]),) if kind == "missing" else ()
        # A transform's bare name that lacks several options is one mistake.
        apart = missing[0] if missing and isinstance(node, Branch) else group
        finding = groups.setdefault((path, apart), Violation(path, node, group))
        finding.keys += missing
        finding.errors.append(detail)
    return list(groups.values())


def _meant(findings: list[Violation]) -> dict[KeyPath, list[str]]:
    """Return the keys that the unknown keys of each mapping were most likely meant to be."""
    meant: dict[KeyPath, list[str]] = {}
    for finding in findings[:MOST_COMPARED]:
        if finding.kind == "extra_forbidden":
            parents = finding.path[:-1]
            if close := nearest(str(finding.path[-1]), fields(expected(parents))):
                meant.setdefault(parents, []).append(close)
    return meant


def _without_misspelt(findings: list[Violation]) -> list[Violation]:
    """Leave out a key that is missing because it stands there misspelt."""
    meant = _meant(findings)
    return [
        finding
        for finding in findings
        if finding.kind != "missing" or not set(finding.keys) <= set(meant.get(finding.path, ()))
    ]


def locate(root: Node, loc: KeyPath) -> tuple[KeyPath, Node]:
    """Follow an error's location as far as the text goes, leaving out the parts that only the models know."""
    path: list[str | int] = []
    node = root
    for part in loc:
        inner: Node | None = None
        if isinstance(node, Branch) and isinstance(part, str) and part in node.entries:
            inner = node.entries[part].node
        elif isinstance(node, Items) and isinstance(part, int) and part < len(node.items):
            inner = node.items[part]
        if inner is not None:
            path.append(part)
            node = inner
    return tuple(path), node


def _empty_values(root: Branch) -> list[Violation]:
    """Find keys without a value, and `null`, outside of free arguments."""
    violations: list[Violation] = []
    pending: list[tuple[KeyPath, Node]] = [((), root)]
    while pending:
        path, node = pending.pop()
        if isinstance(node, Leaf):
            if node.value is None and not node.refused and (kinds := expected(path)) and not takes(kinds, type(None)):
                violations.append(Violation(path, node, "empty"))
        elif isinstance(node, Items):
            pending += [((*path, index), item) for index, item in enumerate(node.items)]
        else:
            pending += [((*path, key), entry.node) for key, entry in node.entries.items()]
    return violations


def _one_each(findings: list[Violation]) -> list[Violation]:
    """Keep one finding for each mistake: the deepest, and none about what was refused or is empty."""
    empty = {finding.path for finding in findings if finding.kind == "empty"}
    inner = {finding.path[:depth] for finding in findings for depth in range(len(finding.path))}
    inner |= {finding.path for finding in findings if finding.kind == "missing"}
    kept = []
    for finding in findings:
        if isinstance(finding.node, Leaf) and finding.node.refused:
            continue
        if finding.kind != "empty" and finding.path in empty:
            continue
        if finding.kind == "value" and finding.path in inner and not _own(finding):
            continue
        kept.append(finding)
    return kept


def _own(finding: Violation) -> bool:
    """Whether a container's finding is about itself rather than about another alternative of its type."""
    empty = isinstance(finding.node, Items) and not finding.node.items
    return any(error["type"] == "mistake" or (error["type"] == "too_short" and empty) for error in finding.errors)
