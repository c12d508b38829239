"""Parse a recipe: text in, a frozen recipe with the place of every key out, or every mistake at once.

Also list what the base, the recipe itself and the flags each say at a path.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from titrant.schema.diagnostics.diagnostics import Diagnostic, Place, RecipeError
from titrant.schema.language.draft import Draft
from titrant.schema.language.layers import FLAG, apply, base_of, extend
from titrant.schema.language.rules import check
from titrant.schema.language.shape import shape
from titrant.schema.language.source_map import SourceMap
from titrant.schema.language.spans import KeyPath, Origin, Span
from titrant.schema.language.yaml_source import check_text, read_text, split_lines
from titrant.schema.language.yaml_tree import (
    MOST_FINDINGS,
    Branch,
    Items,
    Leaf,
    Node,
    compose,
    plain_value,
    refuse_decimal_commas,
)
from titrant.schema.recipe.recipe import LANGUAGE, Recipe
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class ParsedRecipe:
    """A recipe that is right in itself, and where each of its keys stands.

    `folder` is the recipe's own; paths in it start there, but `source.folder(path)` for what a base file says.
    """

    recipe: Recipe
    source: SourceMap
    text: str
    file: str
    folder: Path
    overrides: tuple[str, ...] = ()


def read(path: Path | str, overrides: Sequence[str] = ()) -> ParsedRecipe:
    """Parse a recipe file; RecipeError carries every mistake found, in the order of the file."""
    path = Path(path)
    return parse(read_text(path, str(path)), str(path), folder=path.parent, overrides=overrides)


def parse(text: str, file: str, *, folder: Path, overrides: Sequence[str] = ()) -> ParsedRecipe:
    """Parse a recipe's text as if it stood in `file`; RecipeError carries every mistake found, in order."""
    check_text(text, file)
    origin = Origin(file, folder, split_lines(text))
    own, diagnostics = mapping(text, origin)
    _check_version(own)
    base, inherited = base_of(own, origin)
    if base is not None:
        _check_version(base)
        if "titrant" not in own.entries:
            diagnostics.append(_no_version(own))
    root, flags = apply(extend(own, base) if base is not None else own, tuple(overrides), folder)
    diagnostics += inherited + flags
    source = SourceMap(root)
    recipe = _recipe(root, source, diagnostics, whole=base is not None or not inherited)
    if recipe is None or diagnostics:
        raise RecipeError(*_ordered(diagnostics, file, tuple(overrides)))
    return ParsedRecipe(recipe, source, text, file, folder, tuple(overrides))


def mapping(text: str, origin: Origin) -> tuple[Branch, list[Diagnostic]]:
    """Compose a text that must be a mapping; RecipeError when nothing of it can be read."""
    root, diagnostics = compose(text, origin)
    if isinstance(root, Branch):
        return refuse_decimal_commas(root, text, diagnostics), diagnostics
    if not diagnostics:
        start = Span(origin, 0, 0, 0, 1) if root is None else root.span
        empty = root is None or (isinstance(root, Leaf) and root.value is None)
        what = "is empty" if empty else "is not a mapping of `key: value` lines"
        advice = f"a recipe begins with `titrant: {LANGUAGE}`; `titrant show recipes` lists examples"
        diagnostics.append(Diagnostic("R010", f"the recipe {what}", start.place(), advice))
    raise RecipeError(*diagnostics)


def _check_version(root: Branch) -> None:
    """Raise RecipeError for a lock, or a recipe of another version of the language: nothing else can be judged."""
    if "titrant_lock" in root.entries:
        place = root.entries["titrant_lock"].key.place("titrant_lock")
        raise RecipeError(Diagnostic("R010", "this is a lock, not a recipe", place, "name the recipe beside it"))
    entry = root.entries.get("titrant")
    if entry is None or not isinstance(entry.node, Leaf):
        return
    version = entry.node.value
    if not isinstance(version, int) or isinstance(version, bool) or version == LANGUAGE:
        return
    place = entry.node.span.place("titrant")
    if version > LANGUAGE:
        message = f"this recipe speaks language {version}, and this titrant speaks {LANGUAGE}"
        raise RecipeError(Diagnostic("R020", message, place, f"install a titrant that speaks language {version}"))
    if version < 0:
        raise RecipeError(Diagnostic("R020", f"there is no language {version}", place, f"write `titrant: {LANGUAGE}`"))
    message = f"this recipe speaks language {version}, which titrant no longer reads"
    raise RecipeError(Diagnostic("R020", message, place, f"`titrant migrate {place.file}` rewrites it, comments kept"))


def _no_version(own: Branch) -> Diagnostic:
    """Word that a recipe leaves its own version of the language to the recipe that it extends."""
    message = "the recipe does not say which version of the language it speaks"
    return Diagnostic("R020", message, SourceMap(own).place(()), f"write `titrant: {LANGUAGE}` as its first line")


def _recipe(root: Branch, source: SourceMap, diagnostics: list[Diagnostic], *, whole: bool) -> Recipe | None:
    """Make the recipe of a tree, adding what is wrong with it to `diagnostics`.

    Where the tree is not `whole`, because its base could not be read, nothing is said about what it lacks.
    """
    shaped = shape(root)
    findings = [finding for finding in shaped.findings if whole or finding.kind != "missing"]
    if findings:
        from titrant.schema.language.messages import word

        diagnostics += [word(finding, source.place) for finding in findings[:MOST_FINDINGS]]
    if len(findings) > MOST_FINDINGS:
        message = f"{len(findings) - MOST_FINDINGS:,} more mistakes are not shown"
        place = source.place(findings[MOST_FINDINGS].path)
        diagnostics.append(Diagnostic("R028", message, place, "mend the others first"))
    if whole:
        diagnostics += check(Draft(shaped.sections, shaped.wrong, source))
    if diagnostics:
        return None
    return Recipe.model_construct(_fields_set=set(shaped.sections), **shaped.sections)


def _ordered(diagnostics: list[Diagnostic], file: str, overrides: tuple[str, ...]) -> list[Diagnostic]:
    """Sort by text (the recipe, its base, the flags), then by place."""

    def order(diagnostic: Diagnostic) -> tuple[int, int, int]:
        where = diagnostic.where
        if where is None:
            return (0, 0, 0)
        if where.file == FLAG:
            return (2 + overrides.index(where.text) if where.text in overrides else 2, 1, where.column)
        return (0 if where.file == file else 1, where.line, where.column)

    return sorted(diagnostics, key=order)


@dataclass(frozen=True)
class Saying:
    """What one text says at a path: its value as JSON types, and where it stands."""

    by: Literal["base", "recipe", "flag"]
    value: Any
    place: Place


def sayings(parsed: ParsedRecipe, path: KeyPath) -> tuple[Saying, ...]:
    """List what the texts say at a path, the one that counts last; () where none says anything."""
    return tuple(_sayings(parsed, path))


def _sayings(parsed: ParsedRecipe, path: KeyPath) -> Iterator[Saying]:
    origin = Origin(parsed.file, parsed.folder, split_lines(parsed.text))
    own, _ = compose(parsed.text, origin)
    if not isinstance(own, Branch):
        return
    base, _ = base_of(own, origin)
    layers: tuple[tuple[Literal["base", "recipe"], Branch | None], ...] = (("base", base), ("recipe", own))
    for by, root in layers:
        if root is not None and (node := node_at(root, path)) is not None:
            yield Saying(by, plain_value(node), SourceMap(root).place(path))
    node = node_at(parsed.source.root, path)
    if node is not None and parsed.source.file(path) == FLAG:
        yield Saying("flag", plain_value(node), parsed.source.place(path))


def node_at(root: Node, path: KeyPath) -> Node | None:
    """Return the node at a path, or None where there is none."""
    node = root
    for part in path:
        if isinstance(node, Branch) and isinstance(part, str) and part in node.entries:
            node = node.entries[part].node
        elif isinstance(node, Items) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            return None
    return node


def leaves(parsed: ParsedRecipe, path: KeyPath) -> list[KeyPath]:
    """List the paths of the single values that stand at or below a path, in the order of the text."""
    paths = []
    for inner in parsed.source.paths():
        if inner[: len(path)] == path and not isinstance(node_at(parsed.source.root, inner), (Branch, Items)):
            paths.append(inner)
    return paths
