"""What the errors say: every case is a recipe with a mistake and the whole text that a person then reads.

A case is `## title`, then either a whole recipe or `@@ line` with what replaces that line of base.yaml, then `>>` and
the text of the errors. Running this file writes the texts anew, for a person to read before they are kept.
"""

from pathlib import Path

import pytest

from titrant.schema.diagnostics.diagnostics import RecipeError, all_codes
from titrant.schema.diagnostics.render import render_all
from titrant.schema.language.parse import parse

HERE = Path(__file__).parents[1] / "mistakes"
BASE = (HERE / "base.yaml").read_text("utf-8")
FILES = sorted(HERE.glob("*.txt"))


def found_cases():
    for file in FILES:
        for block in file.read_text("utf-8").split("## ")[1:]:
            title, _, rest = block.partition("\n")
            given, _, wanted = rest.partition("\n>>\n")
            yield pytest.param(given, wanted.strip("\n"), id=f"{file.stem}: {title}")


CASES = list(found_cases())


def recipe_of(given: str) -> str:
    """Build the recipe of a case; `⇥`, `␛` and `␠` stand for a tab, an escape character and a last space."""
    if given.startswith("@@ "):
        line, _, replacement = given.removeprefix("@@ ").partition("\n")
        assert BASE.count(f"{line}\n") == 1, f"base.yaml has no line {line!r}"
        given = BASE.replace(f"{line}\n", f"{replacement}\n" if replacement else "")
    return given.replace("⇥", "\t").replace("␛", "\x1b").replace("␠", " ")


def errors_of(given: str) -> tuple:
    with pytest.raises(RecipeError) as caught:
        parse(recipe_of(given), "recipe.yaml", folder=HERE)
    return caught.value.diagnostics


@pytest.mark.parametrize(("given", "wanted"), CASES)
def test_says_what_is_wrong_and_what_would_mend_it_under_a_code_and_with_a_caret_in_its_line(given, wanted):
    errors = errors_of(given)
    assert render_all(errors) == wanted
    assert {error.code for error in errors} <= set(all_codes())
    lines = recipe_of(given).split("\n")
    for error in errors:
        assert error.where is not None
        assert error.where.text in lines
        assert 1 <= error.where.column <= len(error.where.text) + 1
        assert error.where.column - 1 + error.where.width <= max(len(error.where.text), error.where.column)


def test_reads_the_base_without_a_mistake():
    assert parse(BASE, "base.yaml", folder=HERE).recipe.name == "demo"


def test_knows_at_least_eighty_mistakes():
    assert len(CASES) >= 80


def write_anew() -> None:
    for file in FILES:
        head, *blocks = file.read_text("utf-8").split("## ")
        written = head
        for block in blocks:
            title, _, rest = block.partition("\n")
            given = rest.partition("\n>>\n")[0].rstrip("\n")
            written += f"## {title}\n{given}\n>>\n{render_all(errors_of(given))}\n\n"
        file.write_text(written.rstrip("\n") + "\n", "utf-8")


if __name__ == "__main__":
    write_anew()
