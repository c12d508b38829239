"""The pages of the recipe's sections: their examples are recipes, and they miss no section and no key."""

import importlib.util
from pathlib import Path

import pytest

from titrant.compiler.bind.availability import later_keys
from titrant.compiler.bind.bind import bind
from titrant.schema.language.parse import parse
from titrant.schema.recipe.recipe import Recipe

ROOT = Path(__file__).parent.parent
specification = importlib.util.spec_from_file_location("sections", ROOT / "docs" / "sections.py")
sections = importlib.util.module_from_spec(specification)
specification.loader.exec_module(sections)
EXAMPLES = {"top": sections.TOP.example, **{name: page.example for name, page in sections.PAGES.items()}}
LATER = {pattern[0] for pattern in later_keys() if len(pattern) == 1} | {"memory"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_shows_an_example_that_is_a_recipe(name):
    parsed = parse(sections.whole(EXAMPLES[name]), f"{name}.yaml", folder=ROOT / "recipes")
    if name not in LATER:
        bind(parsed)
    assert name == "top" or parsed.source.has((name,))


def test_has_a_page_for_every_section():
    single = {"titrant", "name", "description", "extends", "level", "preserve", "task", "seed"}
    assert set(Recipe.model_fields) - single == set(sections.PAGES)


def test_shows_every_key_of_a_section():
    table = (ROOT / "docs" / "reference" / "language.md").read_text("utf-8")
    keys = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    for name in sections.PAGES:
        page = (ROOT / "docs" / "reference" / "recipe" / f"{name}.md").read_text("utf-8")
        assert [key for key in keys if key.startswith(f"{name}.") and f"| `{key}` |" not in page] == []
