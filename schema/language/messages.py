"""Word what is wrong at a place of a recipe, and what would mend it.

Values that mean something else than they seem to are explained: `no`, `0x10`, `97%`, `"0.5"`, `yes`.
"""

import re
from collections.abc import Callable
from typing import Any, Literal

from pydantic.fields import FieldInfo

from titrant.schema.diagnostics.diagnostics import Diagnostic, Place
from titrant.schema.language.expected import Kind, describe, expected, fields, homes, takes, words
from titrant.schema.language.nearest import nearest
from titrant.schema.language.shape import Violation
from titrant.schema.language.spans import KeyPath, dotted
from titrant.schema.language.yaml_tree import Branch, Items, Leaf
from titrant.schema.recipe.recipe import LANGUAGE
from titrant.schema.recipe.terms import MOST_COUNT, REFERENCE, CountedIn, Form, Written

PlaceOf = Callable[[KeyPath, Literal["key", "value"]], Place]

_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


def word(finding: Violation, place: PlaceOf) -> Diagnostic:
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


def _missing(finding: Violation, place: PlaceOf) -> Diagnostic:
    path, keys = finding.path, finding.keys
    if keys == ("titrant",):
        message = "the recipe does not say which version of the language it speaks"
        return Diagnostic("R020", message, place(path, "key"), f"write `titrant: {LANGUAGE}` as its first line")
    owner = dotted(path)
    inside: KeyPath = path
    if isinstance(finding.node, Leaf):  # a transform's bare name
        owner, inside = finding.node.text, (*path, finding.node.text)
    options = fields(expected(inside))
    advice = "; ".join(f"add `{key}: …`{_described(options.get(key), (*inside, key))}" for key in keys)
    names = " and no ".join(f"`{key}`" for key in keys)
    where = f"`{owner}`" if owner else "the recipe"
    return Diagnostic("R013", f"{where} has no {names}", place(path, "key"), advice)


def _described(info: FieldInfo | None, path: KeyPath) -> str:
    choice = words(expected(path))
    if len(choice) > 1:
        return f", {_listed(choice)}"
    return f": {info.description}" if info is not None and info.description else ""


def _unknown_key(finding: Violation, place: PlaceOf) -> Diagnostic:
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


def _meant(key: str, parents: KeyPath, allowed: list[str]) -> str:
    if key.partition(":")[0] in allowed:
        return "put a space after the `:`"
    if close := nearest(key, allowed, 0.75):
        return f"did you mean `{close}`?"
    here = dotted(tuple(part for part in parents if isinstance(part, str)))
    if parents == ("validation",) and key in words(expected(("validation", "gates", 0, "metric"))):
        return f"a metric stands in a gate: `gates: [{{metric: {key}, comparison: at_least, threshold: 0.9}}]`"
    elsewhere = [path for path in homes().get(key, ()) if path.rpartition(".")[0] != here]
    if elsewhere:
        return "it belongs at " + " or ".join(_home(path) for path in elsewhere[:3])
    if close := nearest(key, allowed):
        return f"did you mean `{close}`?"
    return "the options here are " + ", ".join(f"`{name}`" for name in allowed) if allowed else "take it out"


def _home(path: str) -> str:
    return f"`{path}`" if "." in path else f"the top of the recipe, `{path}`"


def _empty(finding: Violation, place: PlaceOf) -> Diagnostic:
    kinds = expected(finding.path)
    assert isinstance(finding.node, Leaf)
    key = dotted(finding.path)
    what = f"is `{finding.node.text}`" if finding.node.text else "has no value"
    advice = f"give it {describe(kinds)}, or take the line out"
    if finding.node.text and "none" in words(kinds):
        advice = "write `none`"
    part: Literal["key", "value"] = "value" if finding.node.text else "key"
    return Diagnostic("R025", f"`{key}` {what}", place(finding.path, part), advice)


def _wrong_value(finding: Violation, place: PlaceOf) -> Diagnostic:
    path, node = finding.path, finding.node
    kinds = expected(path)
    tag = next((error["ctx"]["tag"] for error in finding.errors if error["type"] == "union_tag_invalid"), None)
    if tag is not None:
        at = place((*path, tag), "key") if isinstance(node, Branch) else place(path, "value")
        return Diagnostic("R017", f"there is no transform `{shown(tag)}`", at, _did_you_mean(tag, words(kinds)))
    where = place(path, "value")
    if isinstance(node, (Branch, Items)):
        return _wrong_container(finding, kinds, _name(path), where)
    if not takes(kinds, str, int, float, bool):
        message = f"{_name(path)} is {describe(kinds)}, not {_kind(node)}"
        return Diagnostic("R011", message, where, _container_example(path, kinds, node))
    return _wrong_scalar(node, kinds, _name(path), where, {error["type"] for error in finding.errors})


def _wrong_scalar(node: Leaf, kinds: tuple[Kind, ...], name: str, where: Place, types_: set[str]) -> Diagnostic:
    expectation, choice, text = describe(kinds), words(kinds), shown(node.text)
    advice = _other_unit(node, kinds) or explanation(node, kinds)
    if types_ & set(_RANGE) and not isinstance(node.value, str):
        message = f"`{text}` is out of range: {name} is {expectation}"
        return Diagnostic("R016", message, where, advice or _most(node, kinds))
    if node.value == "" and "" not in choice:
        return Diagnostic("R018", f"{name} is empty", where, f"give it {expectation}")
    if isinstance(node.value, str) and not advice:
        close = nearest(node.value, choice)
        if close or (len(choice) > 1 and not any(kind.note(Form) for kind in kinds if words((kind,)))):
            message = f"`{text}` is not a known value of {name}"
            return Diagnostic("R017", message, where, _did_you_mean(node.value, choice))
    if isinstance(node.value, str) and len(choice) > 6:
        return Diagnostic("R017", f"`{text}` is not a known value of {name}", where, advice)
    if "string_pattern_mismatch" in types_ and isinstance(node.value, str):
        return Diagnostic("R018", f"`{text}` does not fit: {name} is {expectation}", where, advice)
    return Diagnostic("R014", f"{name} is {expectation}, not {_kind(node)}", where, advice)


def _most(node: Leaf, kinds: tuple[Kind, ...]) -> str:
    """Name the largest whole number where one is too large; the words for a range leave it out when it is large."""
    bounds = [getattr(note, "le", getattr(note, "lt", None)) for kind in kinds for note in kind.notes]
    limits = [bound for bound in bounds if bound is not None]
    if not limits or not isinstance(node.value, int) or max(limits) < MOST_COUNT or node.value <= max(limits):
        return ""
    largest = MOST_COUNT if MOST_COUNT in limits else max(limits) - 1
    return f"nothing needs a number of this size: the largest is {largest}"


def _did_you_mean(text: str, choice: tuple[str, ...]) -> str:
    close = nearest(text, choice)
    return f"did you mean `{close}`?" if close else _listed(choice)


def _wrong_container(finding: Violation, kinds: tuple[Kind, ...], name: str, where: Place) -> Diagnostic:
    node = finding.node
    empty = not (node.items if isinstance(node, Items) else node.entries if isinstance(node, Branch) else ())
    if empty and any(error["type"] == "too_short" for error in finding.errors):
        return Diagnostic("R019", f"{name} is empty", where, "give it at least one entry, or take the line out")
    advice = ""
    if isinstance(node, Branch) and takes(kinds, tuple):
        advice = "begin each entry with `- `, or put brackets around it: `[…]`"
    elif isinstance(node, Items) and takes(kinds, dict):
        advice = "write `key: value` lines without `-`"
    elif isinstance(node, Items) and len(node.items) == 1:
        advice = "write the value alone, without brackets or `-`"
    given = "a mapping" if isinstance(node, Branch) else "a list"
    return Diagnostic("R011", f"{name} is {describe(kinds)}, not {given}", where, advice)


def _container_example(path: KeyPath, kinds: tuple[Kind, ...], node: Leaf) -> str:
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    inside: KeyPath = path if takes(kinds, dict) else (*path, 0)
    options = list(fields(expected(inside)))
    if options and node.text.partition(":")[0] in options:
        return "put a space after the `:`"
    value = shown(node.text)
    if node.value == "none":
        return "take the line out to have the default"
    if "bits" in options and (bits := number_of_bits(node.text)):
        value = f"{{bits: {bits}}}"
    elif option := _fitting(options, inside, node):
        value = f"{{{option}: {value}}}"
    elif options:
        return f"write its options below it, such as `{options[0]}: …`"
    elif takes(kinds, dict):
        value = "{name: …}"
    if takes(kinds, tuple):
        value = f"[{value}]"
    return f"write `{value}`" if isinstance(path[-1], int) else f"write `{key}: {value}`"


def _fitting(options: list[str], inside: KeyPath, node: Leaf) -> str | None:
    """Return the option that a single value was most likely meant for."""
    if isinstance(node.value, bool):
        return None
    if isinstance(node.value, str):
        suffix = node.value.rpartition(".")[2].lower()
        matches = [option for option in options if node.value in words(expected((*inside, option))) or option == suffix]
        if matches:
            return matches[0]
    # A share that is written alone is one that is asked for.
    for option in sorted(options, key=lambda name: name != "at_least"):
        if takes(tuple(kind for kind in expected((*inside, option)) if _free(kind, node)), type(node.value)):
            return option
    return None


def _free(kind: Kind, node: Leaf) -> bool:
    """Whether an alternative takes any text or number, rather than a few words; a reference has a colon."""
    form = kind.note(Form)
    if form is not None and form.phrase == REFERENCE:
        return ":" in node.text
    return form is not None or not words((kind,))


def _name(path: KeyPath) -> str:
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
    return "one of " + ", ".join(f"`{option}`" for option in choice)


def shown(text: str) -> str:
    """Shorten a text that is repeated in a message."""
    line = text.replace("\n", " ")
    return line if len(line) <= 40 else line[:37] + "…"


_EXACT = 2.0**53  # whole numbers up to here are what was written
# Letters and digits of other scripts that look like a digit.
_ALIKE = str.maketrans("Ooοо" + "".join(map(chr, range(0xFF10, 0xFF1A))), "0000" + "0123456789")
# How long the units are that people write, by their lower case.
_UNIT_SECONDS = {
    "ms": 1e-3, "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1, "m": 60, "min": 60, "mins": 60, "minute": 60,
    "minutes": 60, "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400,
    "days": 86400,
}  # fmt: skip
_TRUE = ("yes", "on", "y", "enabled", "enable", "1", "t")
_FALSE = ("no", "off", "n", "disabled", "disable", "0", "f")


def explanation(node: Leaf, kinds: tuple[Kind, ...]) -> str:
    """Return help for a scalar that does not fit here although it looks as if it should; "" when it is no such case."""
    if node.value == "none" and "none" not in words(kinds):
        return "`none` switches nothing off here: take the line out to have the default"
    if help_ := _form(node, kinds):
        return help_
    if takes(kinds, bool) and (help_ := _boolean(node)):
        return help_
    references = any(form.phrase == REFERENCE for kind in kinds if (form := kind.note(Form)))
    if references and isinstance(node.value, str) and len(words(kinds)) < 2:
        return _reference(node.value)
    if takes(kinds, int, float) and isinstance(node.value, str) and not _with_unit(kinds):
        return _number(node, whole=not takes(kinds, float))
    if takes(kinds, int) and isinstance(node.value, float) and node.value.is_integer() and abs(node.value) < _EXACT:
        return f"write `{int(node.value)}`, a whole number"
    if takes(kinds, float) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return _fraction(node, kinds)
    if takes(kinds, str) and not isinstance(node.value, str) and node.value is not None and not _with_unit(kinds):
        return f'if text is meant, write "{node.text}" in quotes' if any(kind.type is str for kind in kinds) else ""
    return ""


def _form(node: Leaf, kinds: tuple[Kind, ...]) -> str:
    """Return help for a text whose form a person can be helped with: names, slices, sizes of an input, methods."""
    forms = {form.kind for kind in kinds if (form := kind.note(Form))}
    choice, text = words(kinds), node.text.strip()
    if "name" in forms and isinstance(node.value, str):
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", text[:200]).strip("-._")[:100]
        return f"such as `{name}`" if name else ""
    if "slice" in forms:
        match = re.match(r"(class|subgroup)(?: ([^.]{1,60}))?$", text)
        return {
            None: "", "class": "name the class: `class NAME`",
            "subgroup": f"name one value of it: `subgroup {match[2] or 'NAME'}.VALUE`" if match else "",
        }[match[1] if match else None]  # fmt: skip
    if choice == ("batch",) and (text.lower() in ("n", "b", "bs", "dynamic", "none", "?", "*") or node.value == -1):
        return "a size that is free is written `batch`"
    if "ort.static" in choice and (bits := number_of_bits(text)):
        return f"that is a number of bits: write `bits: {bits}` and `method: auto`, or name one operator"
    return ""


def number_of_bits(text: str) -> str:
    """Return the bits that a text such as `int8` or `4-bit` means; "" where it means none."""
    match = re.fullmatch(r"(?i)(?:u?int|fp|bf|w|q)?(4|8|16)(?:[- ]?bits?)?", text.strip())
    return match[1] if match else ""


def _boolean(node: Leaf) -> str:
    word = node.text.lower()
    if isinstance(node.value, str) and word in ("true", "false"):
        return f"write `{word}` without quotes"
    if word in _TRUE:
        return f"`{node.text}` is not a truth value in YAML 1.2; write `true`"
    if word in _FALSE:
        return f"`{node.text}` is not a truth value in YAML 1.2; write `false`"
    return ""


def _reference(text: str) -> str:
    if re.fullmatch(r"\w+(\.\w+)+", text) and len(text) <= 200:
        module, _, name = text.rpartition(".")
        return f"did you mean `{module}:{name}`?"
    return ""


def _number(node: Leaf, *, whole: bool) -> str:
    text = node.text.strip()
    if node.plain and re.fullmatch(r"[-+]?([1-9][0-9]{40,499}|[0-9.]{1,500}[eE]\+?[0-9]{3,5})", text):
        return "no number of this size can be held"
    if percent := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?%", text):
        return f"fractions are 0 to 1, never percent: write `{float(percent[1]) / 100:g}`"
    if not node.plain and re.fullmatch(r"[-+]?\d{1,30}(\.\d{1,30})?([eE][-+]?\d{1,3})?", text):
        return f"write `{text}` without quotes"
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,15}|0[oO][0-7]{1,20}|0[bB][01]{1,60}", text):
        return f"numbers are decimal: write `{int(text, 0)}`"
    if re.fullmatch(r"[-+]?0\d{1,30}", text):
        return f"a leading zero makes octal in some tools: write `{int(text)}`"
    if re.fullmatch(r"\d{1,3}([_,' ]\d{3}){1,8}", text):
        return f"write `{re.sub(r'[^0-9]', '', text)}` without separators"
    if re.fullmatch(r"\d{1,15},\d{1,15}", text) and not whole:
        return f"the decimal sign is a point: write `{text.replace(',', '.')}`"
    if (digits := text.translate(_ALIKE)) != text and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", digits):
        return f"did you mean `{digits}`?"
    if unit := re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?) ?(?:[A-Za-z]{1,12}|/ ?[A-Za-z]{1,12})", text):
        return f"it has no unit here: write `{unit[1]}`"
    if text.lower() in (".inf", "-.inf", "+.inf", ".nan", "inf", "nan"):
        return "infinity and NaN are not values here"
    return ""


def _other_unit(node: Leaf, kinds: tuple[Kind, ...]) -> str:
    """Return help for a time written with a unit in place of a number of another one, such as `30 s` for minutes."""
    counted = next((unit for kind in kinds if (unit := kind.note(CountedIn))), None)
    time = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([A-Za-z]{1,12})", node.text.strip())
    if counted is None or not time or not takes(kinds, float):
        return ""
    seconds = _UNIT_SECONDS.get(time[2].lower())
    if seconds is None:
        return f"it is a number of {counted.unit} without a unit, such as `10`"
    return f"it is a number of {counted.unit}: write `{float(time[1]) * seconds / counted.seconds:.6g}`"


def _fraction(node: Leaf, kinds: tuple[Kind, ...]) -> str:
    value = node.value
    limited = any(
        getattr(note, "le", None) == 1 or getattr(note, "lt", None) == 1 for kind in kinds for note in kind.notes
    )
    if limited and isinstance(value, (int, float)) and 2 <= value <= 100:
        return f"fractions are 0 to 1, never percent; did you mean `{value / 100:g}`?"
    return ""


def _with_unit(kinds: tuple[Kind, ...]) -> bool:
    return any(kind.note(Written) for kind in kinds)
