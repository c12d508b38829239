"""What a key of the recipe language means, from its model alone."""

import pytest

from titrant.cli.explain import default_text, field_of, later, meaning, value_text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "none"), ("5 ms", "5 ms"), (True, "true"), ([1, "ä"], '[1, "ä"]'), (0.5, "0.5")]
)
def test_writes_a_value_as_a_recipe_would(value, text):
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("name",), "nothing; it has no default"),
        (("train", "weight_decay"), "0.01 (the default)"),
        (("export",), "the defaults of its keys"),
        (("export", 0), "nothing"),
        (("model", "args", "depth"), "nothing"),
        (("no_such_key",), "nothing"),
    ],
)
def test_says_what_stands_where_nothing_is_written(path, text):
    assert default_text(path) == text


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        (("train", "epochs"), ["meaning: passes over the train rows, at most", "takes: a whole number, 1 or more"]),
        (("export", 0), ["keys: `format`, `opset`, `name`, `external_data`, `transforms`"]),
        (("model", "args", "depth"), ["takes: anything"]),
        (("no_such_key",), []),
    ],
)
def test_says_what_a_key_is_for_and_what_it_takes(path, lines):
    assert list(meaning(path)) == lines


def test_lists_every_word_where_there_are_many():
    _, takes = meaning(("train", "optimizer"))
    assert takes.startswith("takes: `adamw`, `adam`, `sgd`, ")
    assert " or " not in takes
    _, takes = meaning(("quantization", "method"))
    assert takes.endswith("`cast`, a reference such as `my_code:Net`")


def test_finds_the_field_of_keys_and_of_no_entry():
    assert field_of(("train", "epochs")).description == "passes over the train rows, at most"
    assert field_of(("export", 0)) is None


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("search", "space"), "`search.space` is not available in this version, other than `none`"),
        (("target", "engine"), "this version has `auto`, `torch`, `onnxruntime`, `openvino`"),
        (("export", 3, "format"), ""),
        (("train", "epochs"), ""),
    ],
)
def test_names_what_waits_for_a_later_version(path, words):
    assert later(path) == words
