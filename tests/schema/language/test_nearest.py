"""What a person most likely meant is found by one rule everywhere."""

from pathlib import Path

import pytest

from titrant.schema.language.nearest import nearest, several_nearest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("word", "choices", "found"),
    [
        ("balancd", ("auto", "balanced"), "balanced"),
        ("Learning-Rate", ("learning_rate", "loss"), "learning_rate"),
        ("lr", ("learning_rate", "label"), "learning_rate"),
        ("acc", ("accuracy", "auroc"), "accuracy"),
        ("turbo", ("auto", "minimal"), None),
        ("", ("auto",), None),
    ],
)
def test_finds_what_was_meant(word, choices, found):
    assert nearest(word, choices) == found


def test_lists_the_most_alike_first():
    assert several_nearest("agee", ["page", "age", "sex"], 2) == ["age", "page"]


def test_is_the_only_place_that_compares_words():
    rooms = [file for room in ("schema", "compiler", "runtime") for file in (ROOT / room).rglob("*.py")]
    files = [*rooms, *(ROOT / "src" / "titrant").glob("*.py"), *(ROOT / "src" / "titrant" / "verbs").glob("*.py")]
    assert [file.name for file in files if "difflib" in file.read_text("utf-8")] == ["nearest.py"]
