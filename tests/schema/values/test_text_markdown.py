"""Words and names in Markdown mean nothing but themselves."""

from titrant.schema.values.text import code, inline


def test_calls_nobody_into_a_pull_request():
    assert "@someone" not in inline("thanks to @someone")


def test_closes_no_code_before_its_end():
    assert code("a`b") == "`` a`b ``"
