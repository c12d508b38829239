"""Classes: which there are where the model has more outputs than the label has values, and what they come back as."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.data.classes import find_classes, in_own_type, places


@given(st.sets(st.integers(0, 999), min_size=2, max_size=12), st.integers(0, 30))
def test_takes_whole_numbers_as_places_among_more_outputs(labels, above):
    outputs = max(labels) + 1 + above
    label = np.array(sorted(labels))
    classes = places(find_classes([label], {}, "y"), outputs)
    if outputs == len(labels):
        assert classes == ()  # as many outputs as classes: each has its rank
        return
    assert classes == tuple(map(str, range(outputs)))
    numbers = find_classes([label], {}, "y", classes).numbers(label)
    assert numbers.tolist() == label.tolist()


@pytest.mark.parametrize("label", [[1, 2, 3], [-1, 0, 1], ["0", "a"]])
def test_knows_no_places_for_labels_that_are_none(label):
    assert places(find_classes([np.array(label)], {}, "y"), 3) == ()
    assert places(find_classes([np.array([5, 9])], {}, "y"), 8) == ()


@given(st.sampled_from(["int64", "uint8", "int32", "float64", "bool", "text"]), st.lists(st.integers(0, 9), min_size=4))
def test_gives_classes_back_as_the_label_has_them(dtype, drawn):
    numbers = np.array([0, 1, *drawn])
    label = np.array([f"c{number}" for number in numbers]) if dtype == "text" else numbers.astype(dtype)
    classes = find_classes([label], {}, "y")
    given_back = in_own_type(classes.names, classes.kind)[classes.numbers(label)]
    assert given_back.tolist() == label.tolist()
    assert given_back.dtype.kind == {"text": "U", "bool": "b"}.get(dtype, "i")


def test_keeps_the_names_that_a_source_gives_and_text_that_looks_like_numbers():
    named = find_classes([np.array([0, 1])], {"0": "malignant", "1": "benign"}, "y")
    assert in_own_type(named.names, named.kind).tolist() == ["malignant", "benign"]
    text = find_classes([np.array(["007", "1"])], {}, "y")
    assert in_own_type(text.names, text.kind).dtype.kind == "U"
    stated = find_classes([np.array([0, 1])], {}, "y", [1, 0, 2])
    assert in_own_type(stated.names, stated.kind).tolist() == [1, 0, 2]
