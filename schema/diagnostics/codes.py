"""Every diagnostic code with an explanation and a wrong and a right example, read from `codes.yaml`."""

from importlib import resources
from typing import Any

from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Code:
    """One diagnostic code, as `titrant explain CODE` and the docs show it."""

    code: str
    title: str
    explanation: str
    wrong: str = ""
    right: str = ""


def all_codes() -> dict[str, Code]:
    """Return every code, in the order of the file; ValueError for a code that stands twice."""
    import yaml

    text = resources.files("titrant.schema.diagnostics").joinpath("codes.yaml").read_text("utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node: Any = loader.get_single_node()
        codes: dict[str, Code] = {}
        for key, value in node.value:
            if key.value in codes:
                raise ValueError(f"{key.value} stands twice")
            codes[key.value] = Code(key.value, **loader.construct_mapping(value, deep=True))
        return codes
    finally:
        loader.dispose()
