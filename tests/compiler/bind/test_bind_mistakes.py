"""What bind says: every case is a recipe with a mistake and the whole of what is found, each with its token.

A case is `## title`, then `@@ line` with what replaces that line of case/base.yaml (a section that it adds replaces the
base's own), then `>>` and the findings. `UPDATE_GOLDEN=1 pytest` writes them anew, for a person to read first.
"""

import os
from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind
from titrant.schema.diagnostics.diagnostics import RecipeError, all_codes
from titrant.schema.language.parse import parse

HERE = Path(__file__).parents[1] / "bind_mistakes"
CASE = HERE / "case"
BASE = (CASE / "base.yaml").read_text("utf-8")
FILES = sorted(HERE.glob("*.txt"))


def cases():
    for file in FILES:
        for block in file.read_text("utf-8").split("## ")[1:]:
            title, _, rest = block.partition("\n")
            given, _, wanted = rest.partition("\n>>")
            yield pytest.param(given, wanted.strip("\n"), id=f"{file.stem}: {title}")


def recipe_of(given: str) -> str:
    line, _, replacement = given.removeprefix("@@ ").partition("\n")
    assert BASE.count(f"{line}\n") == 1, f"base.yaml has no line {line!r}"
    added = {text.partition(":")[0] for text in replacement.split("\n") if text and not text.startswith((" ", "-"))}
    own = [text for text in BASE.split("\n") if text == line or text.partition(":")[0] not in added]
    # What is added at the top level goes to the end, so that the section of the replaced line stays whole.
    inner = _before_top(replacement)
    outer = replacement.split("\n")[len(inner) :]
    place = own.index(line)
    return "\n".join([*own[:place], *inner, *own[place + 1 : -1], *outer]) + "\n"


def _before_top(replacement: str) -> list[str]:
    lines = replacement.split("\n")
    top = next((index for index, text in enumerate(lines) if text and not text.startswith((" ", "-"))), len(lines))
    return lines[:top]


def found(given: str) -> tuple:
    parsed = parse(recipe_of(given), "recipe.yaml", folder=CASE)
    with pytest.raises(RecipeError) as caught:
        bind(parsed)
    return caught.value.diagnostics


def written(diagnostics) -> str:
    lines = []
    for one in diagnostics:
        where = one.where
        token = where.text[where.column - 1 : where.column - 1 + where.width]
        lines.append(f"{one.code} {where.line}:{where.column} [{token}] {one.message}")
        lines.append(f"    {one.help}")
    return "\n".join(lines).replace(str(CASE), "FOLDER")


@pytest.mark.skipif("UPDATE_GOLDEN" in os.environ, reason="the texts are being written anew")
@pytest.mark.parametrize(("given", "wanted"), list(cases()))
def test_says_what_is_wrong_under_the_token_that_is_wrong(given, wanted):
    diagnostics = found(given)
    assert written(diagnostics) == wanted
    assert {diagnostic.code for diagnostic in diagnostics} <= set(all_codes())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_writes_the_texts_anew(file):
    head, *blocks = file.read_text("utf-8").split("## ")
    text = head
    for block in blocks:
        title, _, rest = block.partition("\n")
        given = rest.partition("\n>>")[0]
        text += f"## {title}\n{given}\n>>\n{written(found(given))}\n"
    file.write_text(text, "utf-8")


# Writes the expected texts; run it with UPDATE_GOLDEN=1.
test_writes_the_texts_anew.__test__ = "UPDATE_GOLDEN" in os.environ
