"""first_line: one line of an error that somebody else wrote."""

import pytest

from titrant.schema.values.text import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no such layer\n  at net.py:3"), "no such layer"),
        (ValueError("\n\n  late \n"), "late"),
        (RuntimeError(), "RuntimeError"),
        (RuntimeError("  \n"), "RuntimeError"),
        (OSError("x" * 500), "x" * 200),
    ],
)
def test_takes_the_first_line_that_says_anything_or_names_the_type(error, line):
    assert first_line(error) == line
