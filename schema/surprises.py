"""Explain values that mean something else than they seem to: `no`, `0x10`, `97%`, `"0.5"`, `yes`."""

import re

from titrant.schema.compose import Leaf
from titrant.schema.expected import Kind, takes, words
from titrant.schema.recipe.terms import REFERENCE, Form, Written

_EXACT = 2.0**53  # whole numbers up to here are what was written
# Letters and digits of other scripts that look like a digit.
_ALIKE = str.maketrans("Ooοо" + "".join(map(chr, range(0xFF10, 0xFF1A))), "0000" + "0123456789")
_TRUE = ("yes", "on", "y", "enabled", "enable", "1", "t")
_FALSE = ("no", "off", "n", "disabled", "disable", "0", "f")


def surprise(node: Leaf, kinds: tuple[Kind, ...]) -> str:
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
    phrases = [form.phrase for kind in kinds if (form := kind.note(Form))]
    choice, text = words(kinds), node.text.strip()
    if any(phrase.startswith("a name (") for phrase in phrases) and isinstance(node.value, str):
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", text[:200]).strip("-._")[:100]
        return f"such as `{name}`" if name else ""
    if any("subgroup G.value" in phrase for phrase in phrases):
        known = re.match(r"(class|subgroup)(?: ([^.]{1,60}))?$", text)
        return {
            None: "", "class": "name the class: `class NAME`",
            "subgroup": f"name one value of it: `subgroup {known[2] or 'NAME'}.VALUE`" if known else "",
        }[known[1] if known else None]  # fmt: skip
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
