"""Word what was found at a place of a recipe, and what would mend it."""

from collections.abc import Callable
from typing import Any, Literal

from titrant.schema.compose import Branch, Items, Leaf, Node
from titrant.schema.diagnostics import Diagnostic, Place
from titrant.schema.expected import Kind, Path, describe, expected, fields, homes, takes, words
from titrant.schema.nearest import nearest
from titrant.schema.shape import Finding
from titrant.schema.spans import dotted
from titrant.schema.surprises import surprise

PlaceOf = Callable[[Path, Literal["key", "value"]], Place]

_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


def word(finding: Finding, place: PlaceOf) -> Diagnostic:
    """Turn a finding into a diagnostic: one code, one sentence, a caret under the token, and help."""
    if finding.kind == "missing":
        return _missing(finding, place)
    if finding.kind == "extra_forbidden":
        return _unknown_key(finding, place)
    if finding.kind == "empty":
        return _empty(finding, place)
    custom = next((error for error in finding.errors if error["type"] == "mistake"), None)
    if custom:
        context = custom["ctx"]
        return Diagnostic(context["code"], context["message"], place(finding.path, "value"), context["help"])
    return _wrong_value(finding, place)


def _missing(finding: Finding, place: PlaceOf) -> Diagnostic:
    path = (*finding.path, finding.key)
    info = fields(expected(finding.path)).get(finding.key)
    where = f"`{dotted(finding.path)}`" if finding.path else "the recipe"
    kinds = expected(path)
    advice = f"add `{_example(finding.key, kinds)}`"
    if info is not None and info.description:
        advice += f": {info.description}"
    return Diagnostic("R013", f"{where} has no `{finding.key}`", place(finding.path, "key"), advice)


def _example(key: str, kinds: tuple[Kind, ...]) -> str:
    choice = words(kinds)
    if takes(kinds, dict) and not choice:
        return f"{key}:"
    return f"{key}: {choice[0] if choice else '…'}"


def _unknown_key(finding: Finding, place: PlaceOf) -> Diagnostic:
    *parents, last = finding.path
    key = str(last)
    inside = f" in `{dotted(tuple(parents))}`" if parents else ""
    allowed = list(fields(expected(tuple(parents))))
    return Diagnostic(
        "R012",
        f"unknown option `{shown(key)}`{inside}",
        place(finding.path, "key"),
        _meant(key, tuple(parents), allowed),
    )


def _meant(key: str, parents: Path, allowed: list[str]) -> str:
    if close := nearest(key, allowed, 0.75):
        return f"did you mean `{close}`?"
    here = dotted(tuple(part for part in parents if isinstance(part, str)))
    elsewhere = [path for path in homes().get(key, ()) if path.rpartition(".")[0] != here]
    if elsewhere:
        return "it belongs at " + " or ".join(f"`{path}`" for path in elsewhere[:3])
    if close := nearest(key, allowed):
        return f"did you mean `{close}`?"
    return "the options here are " + ", ".join(f"`{name}`" for name in allowed) if allowed else "take it out"


def _empty(finding: Finding, place: PlaceOf) -> Diagnostic:
    kinds = expected(finding.path)
    assert isinstance(finding.node, Leaf)
    key = dotted(finding.path)
    what = f"is `{finding.node.text}`" if finding.node.text else "has no value"
    advice = f"give it {describe(kinds)}, or take the line out"
    if finding.node.text and "none" in words(kinds):
        advice = "write `none`"
    part: Literal["key", "value"] = "value" if finding.node.text else "key"
    return Diagnostic("R025", f"`{key}` {what}", place(finding.path, part), advice)


def _wrong_value(finding: Finding, place: PlaceOf) -> Diagnostic:
    path, node = finding.path, finding.node
    kinds = expected(path)
    name = _name(path)
    types_ = {error["type"] for error in finding.errors}
    where = place(path, "value")
    wanted = describe(kinds)
    if isinstance(node, (Branch, Items)):
        return _wrong_container(finding, kinds, name, where)
    if not takes(kinds, str, int, float, bool):
        advice = _container_example(path, kinds, node)
        return Diagnostic("R011", f"{name} is {wanted}, not {_kind(node)}", where, advice)
    choice = words(kinds)
    advice = surprise(node, kinds)
    if not advice and isinstance(node.value, str) and choice and (close := nearest(node.value, choice)):
        advice = f"did you mean `{close}`?"
    if types_ & set(_RANGE) and not isinstance(node.value, str):
        return Diagnostic("R016", f"`{shown(node.text)}` is out of range: {name} is {wanted}", where, advice)
    listed = _listed(choice) if choice and not advice else advice
    if "string_too_short" in types_ and node.value == "":
        return Diagnostic("R018", f"{name} is empty", where, f"give it {wanted}")
    if isinstance(node.value, str) and choice and _mainly_words(kinds):
        return Diagnostic("R017", f"`{shown(node.text)}` is not a known value of {name}", where, listed)
    if "string_pattern_mismatch" in types_:
        return Diagnostic("R018", f"`{shown(node.text)}` does not fit: {name} is {wanted}", where, advice)
    return Diagnostic("R014", f"{name} is {wanted}, not {_kind(node)}", where, listed)


def _wrong_container(finding: Finding, kinds: tuple[Kind, ...], name: str, where: Place) -> Diagnostic:
    node = finding.node
    short = next((error for error in finding.errors if error["type"] == "too_short"), None)
    if short:
        return Diagnostic("R019", f"{name} is empty", where, "give it at least one entry, or take the line out")
    advice = ""
    if isinstance(node, Branch) and takes(kinds, tuple):
        advice = "begin each entry with `- `, or put brackets around it: `[…]`"
    elif isinstance(node, Items) and takes(kinds, dict):
        advice = "write `key: value` lines without `-`"
    elif isinstance(node, Items) and len(node.items) == 1:
        advice = "write the value alone, without brackets or `-`"
    found = "a mapping" if isinstance(node, Branch) else "a list"
    return Diagnostic("R011", f"{name} is {describe(kinds)}, not {found}", where, advice)


def _container_example(path: Path, kinds: tuple[Kind, ...], node: Leaf) -> str:
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    if takes(kinds, tuple):
        return f"write `{key}: [{shown(node.text)}]`"
    keys = list(fields(kinds))
    if keys and ":" in node.text:
        return "put a space after the `:`"
    return f"write its options below it, such as `{keys[0]}: …`" if keys else f"write `{key}: {{name: …}}`"


def _mainly_words(kinds: tuple[Kind, ...]) -> bool:
    """Whether words are what one would choose from here, rather than an exception to a number or text."""
    return not takes(kinds, int, float, bool) and not (takes(kinds, tuple) or any(_free_text(kind) for kind in kinds))


def _free_text(kind: Kind) -> bool:
    return kind.type is str and not words((kind,)) and not kind.notes


def _name(path: Path) -> str:
    """Name what stands at a path: `bits`, or an entry of a list."""
    last = path[-1]
    if isinstance(last, int):
        owner = next((part for part in reversed(path) if isinstance(part, str)), "")
        return f"entry {last + 1} of `{owner}`"
    return f"`{shown(last)}`"


def _kind(node: Leaf) -> str:
    value: Any = node.value
    text = shown(node.text)
    if isinstance(value, bool):
        return f"`{text}`"
    if isinstance(value, (int, float)):
        return f"the number `{text}`"
    return f"the text `{text}`" if value is not None else "nothing"


def _listed(choice: tuple[str, ...]) -> str:
    return "one of " + ", ".join(f"`{one}`" for one in choice)


def shown(text: str) -> str:
    """Shorten a text that is repeated in a message."""
    line = text.replace("\n", " ")
    return line if len(line) <= 40 else line[:37] + "…"


def describe_node(node: Node) -> str:
    """Say what a node is: a list, a mapping, or its value."""
    if isinstance(node, Leaf):
        return _kind(node)
    return "a list" if isinstance(node, Items) else "a mapping"
