"""What may stand at a key, in words."""

import pytest

from titrant.schema.language.expected import describe, expected


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("data", "source", "files"), "a list of paths"),
        (("data", "inputs"), "a list of texts or a mapping of names, each to text or a list of texts"),
        (("data", "sources", "s", "inputs"), "a list of texts"),
        (("quantization", "skip"), "a list of module name patterns"),
        (("model", "inputs", 0, "shape"), "a list of whole numbers, 1 or more or `batch`"),
        (("model", "output"), "a list of mappings or a mapping of options (name, kind)"),
    ],
)
def test_names_what_a_list_holds_in_the_plural(path, words):
    assert describe(expected(path)) == words


def test_names_each_of_several_kinds_alone():
    within = describe(expected(("data", "subgroups", "age", "values")))
    assert within.startswith("a list of text, a whole number, a number or `true` or `false`")
