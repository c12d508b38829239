"""Labels: class numbers, names and the positive class."""

import numpy as np
import pytest

from titrant.runtime.operators.data.transform import find_classes, positive_class
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


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.array([1, 1, 1]), "one class only, 1"),
        (np.array([0.5, 1.0]), "holds fractions"),
        (np.zeros((3, 4)), "has the shape"),
    ],
)
def test_refuses_labels_without_classes(label, message):
    with pytest.raises(PreconditionError, match=message):
        find_classes([label], {}, "y")
