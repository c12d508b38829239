"""The docs name no key, method, operator, verb or Python name that does not exist."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from titrant.cli.options import VERBS
from titrant.runtime import catalog
from titrant.schema.recipe.recipe import Recipe

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = [*PAGES, ROOT / "schema" / "diagnostics" / "codes.yaml"]
SCHEMA = Recipe.model_json_schema()
# Metadata of released files, groups of entry points, a decision.
OTHERS = (
    "titrant.release",
    "titrant.state",
    "titrant.backends",
    "titrant.formats",
    "titrant.operators",
    "profile.plain",
)
FILES = ("py", "html", "json", "md", "xml", "bin", "pt", "safetensors", "data")


def mentions(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield what a pattern's group matches in the texts, and where: "page: name"."""
    for file in TEXTS:
        for name in re.findall(pattern, file.read_text("utf-8"), re.M):
            yield name, f"{file.relative_to(ROOT)}: {name}"


def forms(node) -> Iterator[dict]:
    """Yield the shapes that a schema lets a value have, of a list those of its items."""
    several = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if "$ref" in node:
        several = [SCHEMA["$defs"][node["$ref"].rpartition("/")[2]]]
    elif node.get("type") == "array" and isinstance(node.get("items"), dict):
        several = [node["items"]]
    if not several:
        yield node
    for inner in several:
        yield from forms(inner)


def is_key(node, path) -> bool:
    """Whether a path of keys leads somewhere; below a mapping with names of the user's own anything does."""
    return not path or any(
        form.get("additionalProperties") not in (None, False)
        or (path[0] in form.get("properties", {}) and is_key(form["properties"][path[0]], path[1:]))
        for form in forms(node)
    )


def is_python(name: str) -> bool:
    """Whether `titrant.x.y` can be had after `import titrant`, or imported."""
    value = importlib.import_module("titrant")
    for part in name.split(".")[1:]:
        try:
            value = getattr(value, part, None) or importlib.import_module(f"{value.__name__}.{part}")
        except (ImportError, AttributeError):
            return False
    return True


def exists(name: str) -> bool:
    if name.endswith(FILES) or name in (*OTHERS, *catalog.names()) or name.startswith("data.transform."):
        return True
    return is_python(name) if name.startswith("titrant.") else is_key(SCHEMA, name.split("."))


def test_name_keys_operators_and_functions_that_exist():
    names = [*mentions(r"`([a-z_]+(?:\.[a-z_]+)+)(?=[`:=])"), *mentions(r"`(titrant(?:\.[a-z_]+)+)(?=\()")]
    dotted = [item for item in names if item[0].split(".")[0] in Recipe.model_fields]
    assert len(dotted) > 1000
    assert [where for name, where in dotted if not exists(name)] == []


def test_name_methods_that_exist():
    """Or a user's own, `module:name`."""
    methods = mentions(r"quantization(?:\.method[:=]|: ?\{method:) ?([a-z_.\d]+)(?![\w.:])")
    names = {"auto", "none", "toy.round", *catalog.quantization_methods()}
    assert [where for name, where in methods if name not in names] == []


def test_name_verbs_that_exist():
    verbs = list(mentions(r"(?:`|^\$ )titrant ([a-z]+)\b"))
    assert len(verbs) > 100
    assert [where for name, where in verbs if name not in VERBS] == []
