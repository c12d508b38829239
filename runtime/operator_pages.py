"""The documentation page of an operator, from its declaration and its docstring."""

import re
from typing import Any

from titrant.runtime.catalog import ANY_MODEL, Declaration, Port
from titrant.schema.values.text import device_title

HEADINGS = ("Helps when", "Inputs", "Outputs", "Fails", "Cost")


def sections(doc: str) -> dict[str, str]:
    """Split an operator's docstring into its summary ("") and its headed paragraphs, each on one line.

    Raises ValueError, naming them, when headings are missing or stand in another order.
    """
    paragraphs: dict[str, list[str]] = {"": []}
    current = ""
    for line in doc.splitlines():
        match = re.match(rf"({'|'.join(HEADINGS)}):\s*(.*)", line)
        if match:
            current = match[1]
            paragraphs[current] = [match[2]]
        else:
            paragraphs[current].append(line.strip())
    if tuple(paragraphs)[1:] != HEADINGS:
        raise ValueError(
            f"the headings are {', '.join(tuple(paragraphs)[1:]) or 'none'}; they must be {', '.join(HEADINGS)}"
        )
    return {heading: " ".join(part for part in lines if part) for heading, lines in paragraphs.items()}


def page(declaration: Declaration) -> str:
    """Write the page in Markdown: what it does, its ports, its parameters, and what is declared of it."""
    paragraphs = sections(declaration.doc)
    lines = [f"# {declaration.name}", "", paragraphs[""], ""]
    for heading in HEADINGS:
        lines += [f"**{heading}.** {paragraphs[heading]}", ""]
    lines += ["## Ports", "", "| port | direction | kinds |", "|---|---|---|"]
    lines += [f"| `{name}` | in | {_kinds(port)} |" for name, port in declaration.inputs.items()]
    lines += [f"| `{name}` | out | {kind} |" for name, kind in declaration.outputs.items()]
    rows = _parameters(declaration)
    if rows:
        lines += ["", "## Parameters", "", "| name | type | default | meaning |", "|---|---|---|---|", *rows]
    lines += ["", "## Declared", "", *(f"- {fact}" for fact in _facts(declaration)), ""]
    return "\n".join(lines)


def _kinds(port: Port) -> str:
    text = " or ".join("any model" if kind == ANY_MODEL else kind for kind in port.kinds)
    return text + (", several by name" if port.many else "") + (", optional" if port.optional else "")


def _parameters(declaration: Declaration) -> list[str]:
    """Write one row a parameter, read from the JSON schema as recipes and plans hold it."""
    schema = declaration.params.model_json_schema()
    required = schema.get("required", ())
    rows = []
    for name, field in schema.get("properties", {}).items():
        default = "–" if name in required else _plain(field.get("default"))
        rows.append(f"| `{name}` | {_type(field)} | {default} | {field.get('description', '')} |")
    return rows


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(str(value) for value in field["enum"])
    if "const" in field:
        return str(field["const"])
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(part) for part in field["anyOf"]))
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if field.get("type") == "array":
        return "list"
    name = {"integer": "integer", "number": "number", "boolean": "bool", "string": "text", "object": "mapping"}.get(
        field.get("type", ""), field.get("type", "any")
    )
    return "none" if name == "null" else name + _range(field)


def _range(field: dict[str, Any]) -> str:
    signs = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    limits = [f"{sign} {_plain(field[key])}" for key, sign in signs if key in field]
    return f" {', '.join(limits)}" if limits else ""


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _facts(declaration: Declaration) -> list[str]:
    facts = [
        f"version {declaration.version}, family {declaration.family}",
        f"result: {declaration.determinism}",
        f"verified on: {', '.join(map(device_title, declaration.verified)) or 'no device yet'}",
    ]
    if declaration.consumes:
        facts.append(f"consumes {', '.join(declaration.consumes)}")
    if declaration.libraries:
        facts.append(f"its bytes follow from the versions of {', '.join(declaration.libraries)}")
    if declaration.method is not None:
        method = declaration.method
        traits = [f"{'/'.join(map(str, method.bits))} bits"] if method.bits else []
        traits += [f"runs in {method.engine} as {method.format}"] if method.engine else []
        traits += ["needs calibration rows"] if method.calibrated else []
        traits += ["finds activation scales batch by batch"] if method.dynamic_activations else []
        facts.append(f"quantization method `{method.name}`: {', '.join(traits)}")
    return facts
