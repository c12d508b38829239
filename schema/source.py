"""Parse a recipe: text in, a frozen recipe with the place of every key out, or every mistake at once."""

from collections.abc import Sequence
from pathlib import Path

from titrant.schema.compose import MOST_FINDINGS, Branch, Leaf, compose
from titrant.schema.decimal_comma import refuse_decimal_commas
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.extends import base_of, extend
from titrant.schema.frozen import dataclass
from titrant.schema.intake import check_text, read_text, split_lines
from titrant.schema.overrides import FLAG, apply
from titrant.schema.recipe import LANGUAGE, Recipe
from titrant.schema.rules import Draft, check
from titrant.schema.shape import shape
from titrant.schema.source_map import SourceMap
from titrant.schema.spans import Origin, Span
from titrant.schema.wording import word


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
    own, found = mapping(text, origin)
    _check_version(own)
    base, inherited = base_of(own, origin)
    if base is not None:
        _check_version(base)
        if "titrant" not in own.entries:
            found.append(_no_version(own))
    root, flags = apply(extend(own, base) if base is not None else own, tuple(overrides), folder)
    found += inherited + flags
    source = SourceMap(root)
    recipe = _recipe(root, source, found, whole=base is not None or not inherited)
    if recipe is None or found:
        raise RecipeError(*_ordered(found, file, tuple(overrides)))
    return ParsedRecipe(recipe, source, text, file, folder, tuple(overrides))


def mapping(text: str, origin: Origin) -> tuple[Branch, list[Diagnostic]]:
    """Compose a text that must be a mapping; RecipeError when nothing of it can be read."""
    root, found = compose(text, origin)
    if isinstance(root, Branch):
        return refuse_decimal_commas(root, text, found), found
    if not found:
        start = Span(origin, 0, 0, 0, 1) if root is None else root.span
        empty = root is None or (isinstance(root, Leaf) and root.value is None)
        what = "is empty" if empty else "is not a mapping of `key: value` lines"
        advice = f"a recipe begins with `titrant: {LANGUAGE}`; `titrant show recipes` lists examples"
        found.append(Diagnostic("R010", f"the recipe {what}", start.place(), advice))
    raise RecipeError(*found)


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


def _recipe(root: Branch, source: SourceMap, found: list[Diagnostic], *, whole: bool) -> Recipe | None:
    """Make the recipe of a tree, adding what is wrong with it to `found`.

    Where the tree is not `whole`, because its base could not be read, nothing is said about what it lacks.
    """
    shaped = shape(root)
    findings = [one for one in shaped.findings if whole or one.kind != "missing"]
    found += [word(finding, source.place) for finding in findings[:MOST_FINDINGS]]
    if len(findings) > MOST_FINDINGS:
        message = f"{len(findings) - MOST_FINDINGS:,} more mistakes are not shown"
        found.append(Diagnostic("R028", message, source.place(findings[MOST_FINDINGS].path), "mend the others first"))
    if whole:
        found += check(Draft(shaped.sections, shaped.wrong, source))
    if found:
        return None
    return Recipe.model_construct(_fields_set=set(shaped.sections), **shaped.sections)


def _ordered(found: list[Diagnostic], file: str, overrides: tuple[str, ...]) -> list[Diagnostic]:
    """Sort by text (the recipe, its base, the flags), then by place."""

    def order(one: Diagnostic) -> tuple[int, int, int]:
        if one.where is None:
            return (0, 0, 0)
        if one.where.file == FLAG:
            return (2 + overrides.index(one.where.text) if one.where.text in overrides else 2, 1, one.where.column)
        return (0 if one.where.file == file else 1, one.where.line, one.where.column)

    return sorted(found, key=order)
