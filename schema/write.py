"""Write recipes as YAML: a new one from its value, or changes to an old one with its comments kept."""

from typing import Any

import yaml

from titrant.schema.recipe import Recipe, written
from titrant.schema.scalars import resolve


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes wherever a reader of YAML 1.1 or of recipes would take it for something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's signature
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    odd = not isinstance(resolve(value), str) or value == "<<"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if odd else None)


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e", 1)
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _float)


def print_recipe(recipe: Recipe) -> str:
    """Write a recipe as YAML that parses to the same recipe: the keys that were written, no defaults."""
    return dump(written(recipe))


def dump(value: Any) -> str:
    """Write plain JSON types as block YAML, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)
