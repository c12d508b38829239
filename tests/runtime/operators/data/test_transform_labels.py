"""Labels: class numbers, names and the positive class."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.data.classes import find_classes, positive_class
from titrant.schema.diagnostics.diagnostics import PreconditionError, RecipeError


def test_writes_integral_floats_as_integers_in_the_order_of_their_size():
    classes = find_classes([np.array([10.0, 2.0, 1.0])], {}, "y")
    assert classes.names == ("1", "2", "10")
    assert classes.numbers(np.array([2, 10, 1])).tolist() == [1, 2, 0]
    assert classes.notes == ("y has the values 1 to 10, numbered by rank as classes 0 to 2",)


def test_takes_names_from_the_source_and_finds_the_positive_class_by_name_or_value():
    classes = find_classes([np.array([0, 1])], {"0": "malignant", "1": "benign"}, "y")
    assert classes.names == ("malignant", "benign")
    assert [positive_class(classes, value) for value in ("malignant", 1, "1", 1.0, None)] == [0, 1, 1, 1, None]
    with pytest.raises(RecipeError, match="did you mean malignant"):
        positive_class(classes, "malignent")


def test_orders_text_by_alphabet_and_reads_truth_values():
    assert find_classes([np.array(["b", "a"]), np.array(["c"])], {}, "y").names == ("a", "b", "c")
    classes = find_classes([np.array([True, False])], {}, "y")
    assert positive_class(classes, True) == 1


def test_numbers_classes_as_the_recipe_lists_them_by_value_or_name_and_also_those_that_no_row_has():
    label = np.array(["bee", "ant", "bee"])
    classes = find_classes([label], {}, "y", ["dog", "bee", "ant"])
    assert classes.names == ("dog", "bee", "ant")
    assert classes.numbers(label).tolist() == [1, 2, 1]
    named = find_classes([np.array([0, 1])], {"0": "malignant", "1": "benign"}, "y", ["benign", 0.0])
    assert named.names == ("benign", "malignant")
    assert named.numbers(np.array([0, 1, 0])).tolist() == [1, 0, 1]
    assert find_classes([np.array([True, False])], {}, "y", [True, False]).names == ("true", "false")


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (["ant", "cat"], r"X128: data.classes does not list `bee`, which the label has \(list every class"),
        (["ant", "bees"], r"does not list `bee`, which the label has \(is it bees\?"),
        (["ant", "bee", "ant"], "lists `ant` twice"),
    ],
)
def test_refuses_a_list_that_does_not_fit_the_label(stated, message):
    with pytest.raises(RecipeError, match=message):
        find_classes([np.array(["bee", "ant"])], {}, "y", stated)


@settings(max_examples=60, deadline=None)
@given(
    values=st.sampled_from([["a", "b", "c"], [3, 1, 2], [0.0, 1.0, 2.0], [True, False], ["10", "9", "1"]]),
    extra=st.lists(st.sampled_from(["x", "y", 77]), unique=True),
    seed=st.integers(0, 99),
)
def test_gives_every_label_the_place_that_its_class_has_in_the_list(values, extra, seed):
    drawn = np.random.default_rng(seed)
    stated = [*values, *extra]
    stated = [stated[place] for place in drawn.permutation(len(stated))]
    label = np.array(values)[np.concatenate([np.arange(len(values)), drawn.integers(len(values), size=20)])]
    classes = find_classes([label], {}, "y", stated)
    assert [stated[number] for number in classes.numbers(label)] == label.tolist()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.array([1, 1, 1]), "one class only, 1"),
        (np.array([0.5, 1.0]), "holds fractions"),
        (np.zeros((3, 4)), r"has the shape.*is one value a row\)$"),
        (np.eye(3), r"has the shape.*each row has a single 1, so give `label.argmax\(axis=1\)`"),
    ],
)
def test_refuses_labels_without_classes(label, message):
    with pytest.raises(PreconditionError, match=message):
        find_classes([label], {}, "y")


FORMS = ("NFC", "NFD")


@given(st.text("aäöüéñ ß", min_size=1, max_size=6).filter(str.strip), st.sampled_from(FORMS), st.sampled_from(FORMS))
def test_finds_a_class_that_the_recipe_writes_in_another_form_of_unicode(name, stored, written):
    held, asked = unicodedata.normalize(stored, name).strip(), unicodedata.normalize(written, name)
    label = np.array([held, "other", held])
    classes = find_classes([label], {}, "y")
    assert classes.values[positive_class(classes, asked)] == held
    assert find_classes([label], {}, "y", ["other", asked]).numbers(label).tolist() == [1, 0, 1]


@pytest.mark.parametrize("other", ["gesu\u0308nd", "gesünd ", "\u00a0gesünd"])
def test_refuses_classes_that_look_the_same(other):
    with pytest.raises(PreconditionError, match=r"X123: y has classes that look the same, `.*` and `.*`"):
        find_classes([np.array(["gesünd", "ill"]), np.array([other])], {}, "y")


@pytest.mark.parametrize("stated", [(), ("ill", "Ill")])
def test_says_which_classes_differ_by_case_only(stated):
    classes = find_classes([np.array(["Ill", "ill"])], {}, "y", stated)
    assert classes.notes == ("classes of y differ by case only: `Ill` and `ill`",)
