"""No text that others read names a place of the machine that it was made on."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.schema.values.text import without_places

ROOTS = sorted(f"/{name}" for name in os.listdir("/") if os.path.isdir(f"/{name}") and name.isidentifier())  # noqa: PTH112, PTH208
NAMES = st.text(st.sampled_from("abcXYZ019._-é"), min_size=1, max_size=8)
WRITTEN = ("{}", "cannot read {}: no", "'{}'", '"{}"', "({})", "file://{}", "open={}", "{}:12", "at {}, and")


@given(st.sampled_from(ROOTS), st.lists(NAMES, min_size=1, max_size=4), st.sampled_from(WRITTEN), NAMES)
def test_leaves_the_last_part_of_a_path_however_it_is_written(root, folders, written, name):
    path = "/".join([root, *folders, name])
    told = without_places(written.format(path), ())
    assert told == written.format(f"…/{name}")


@given(st.lists(NAMES, min_size=1, max_size=3), NAMES)
def test_leaves_nothing_of_a_folder_with_spaces_that_is_known(folders, name):
    folder = "/tmp/my own " + "/".join(folders)
    assert without_places(f"no {folder}/worker-host-12/{name} here", [folder]) == f"no …/{name} here"


@pytest.mark.parametrize(
    "text",
    ["/features/0/Conv has no weights", "12 images/s at 1/2", "a and/or b", "models/net.onnx", "", "x / y", "…/a"],
)
def test_leaves_alone_what_names_no_place_of_the_machine(text):
    assert without_places(text, ["/tmp", "/"]) == text


def test_is_settled_once_it_was_done():
    told = without_places("/tmp/a/b.onnx and ~/x", ("/tmp/a",))
    assert told == without_places(told, ("/tmp/a",)) == "…/b.onnx and ~/x"
