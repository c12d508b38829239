"""Write recipes as YAML: a new one from its value, or changes to an old one with its comments kept."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from titrant.schema.language.yaml_source import hidden
from titrant.schema.language.yaml_tree import resolve

# What a reader refuses to see in a text, and takes when it is written as an escape.
_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")

# Signs that end a line of YAML.
_BREAKS = frozenset("\n\r\x85\u2028\u2029")


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes wherever a reader of YAML 1.1 or of recipes would take it for something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's signature
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # A digest of digits alone is text to a recipe, whose numbers end at 40 digits, and a number to other readers.
    odd = not isinstance(resolve(value), str) or value == "<<" or value.isdecimal() or bool(hidden(value))
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if odd else None)


class _OneLine(_Dumper):
    """Writes every text without a line break of its own."""


def _text_in_line(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    if _BREAKS.isdisjoint(value):
        return _text(dumper, value)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"')


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e", 1)
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _float)
_OneLine.add_representer(str, _text_in_line)


def dump(value: Any, *, width: int = 100) -> str:
    """Write plain JSON types as block YAML, keys in their order; text goes on in a new line beyond `width`.

    What was written of a recipe (`titrant.schema.recipe.recipe.written`) parses to the same recipe again.
    """
    return seen(
        yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width, default_flow_style=False)
    )


def flow(value: Any) -> str:
    """Write plain JSON types in one line, fit to stand between brackets: `{shape: [batch, 3], dtype: float32}`."""
    # Between brackets more signs have a meaning of their own than outside of them.
    text = yaml.dump(
        [value], Dumper=_OneLine, sort_keys=False, allow_unicode=True, width=float("inf"), default_flow_style=True
    )
    return seen(text.strip()[1:-1])


def seen(text: str) -> str:
    """Write characters that nobody can see as escapes; a writer of YAML has put them in double quotes."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04X}", text)


def update(text: str, changes: Mapping[tuple[str | int, ...], Any]) -> str:
    """Set values at paths of a recipe's text, keeping its comments, order and quoting; missing sections are added.

    Values are JSON types. A path that leads through a single value replaces it. Raises ValueError for a text that is
    no mapping.
    """
    from io import StringIO

    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    writer = YAML(typ="rt")
    writer.preserve_quotes = True
    writer.width = 1000
    writer.brace_single_entry_mapping_in_flow_sequence = True
    tree = writer.load(text)
    if tree is None:
        tree = CommentedMap()
    if not isinstance(tree, CommentedMap):
        raise ValueError("the text is not a mapping of `key: value` lines")
    for path, value in changes.items():
        _set(tree, path, value)
    out = StringIO()
    writer.dump(tree, out)
    return out.getvalue()


def _set(tree: Any, path: tuple[str | int, ...], value: Any) -> None:
    for part in path[:-1]:
        inner = tree[part] if isinstance(part, int) or part in tree else None
        if not isinstance(inner, dict | list):
            inner = {}
            tree[part] = inner
        tree = inner
    tree[path[-1]] = value
