"""Labels that say where something is: masks and boxes, their classes, and what is refused."""

import numpy as np
import pytest

from titrant.runtime.data.images.objects import (
    box_numbers,
    find_object_classes,
    image_size,
    mask_numbers,
    resized_objects,
)
from titrant.runtime.data.transforms import apply_resize
from titrant.runtime.values import Fitted
from titrant.schema.diagnostics.diagnostics import PreconditionError, RecipeError

MASKS = np.array([[[0, 1], [2, 2]], [[0, 0], [0, 1]]])
NAN = [np.nan] * 5


def test_classes_of_masks_are_numbers_up_to_the_highest():
    classes = find_object_classes([MASKS], "mask", "mask", ())
    assert classes.names == ("0", "1", "2")
    assert mask_numbers(MASKS, classes).tolist() == MASKS.tolist()
    assert mask_numbers(MASKS[:, None].astype(np.float32), classes).dtype == np.int16


def test_names_are_those_of_the_numbers_in_order():
    classes = find_object_classes([MASKS], "mask", "mask", ("background", "organ", "lesion", "vessel"))
    assert classes.names == ("background", "organ", "lesion", "vessel")
    assert mask_numbers(MASKS, classes).tolist() == MASKS.tolist()


def test_numbers_that_are_stated_are_those_in_the_masks():
    classes = find_object_classes([MASKS * 100], "mask", "mask", (0, 200, 100))
    assert classes.names == ("0", "200", "100")
    assert mask_numbers(MASKS * 100, classes)[0].tolist() == [[0, 2], [1, 1]]


def test_a_mask_that_shows_one_class_has_two():
    assert find_object_classes([MASKS * 0], "mask", "mask", ()).names == ("0", "1")


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (MASKS / 2, "fractions"),
        (np.where(MASKS == 2, np.nan, MASKS), "fractions, or no numbers"),
        (MASKS - 1, "the numbers -1 to 1"),
        (MASKS[0], r"the shape \(2,\)"),
        (MASKS.astype(str), "text"),
        (np.array([np.zeros((2, 2)), np.zeros((3, 2))], dtype=object), "several sizes"),
    ],
)
def test_what_is_no_mask_is_refused(masks, words):
    with pytest.raises(PreconditionError, match=words) as caught:
        find_object_classes([masks], "mask", "mask", ())
    assert caught.value.diagnostics[0].code == "X646"


@pytest.mark.parametrize("stated", [("background", "organ"), (0, 1)])
def test_a_number_without_a_class_is_refused(stated):
    with pytest.raises(RecipeError, match="none for the number 2 that mask holds"):
        find_object_classes([MASKS], "mask", "mask", stated)


def test_boxes_come_before_what_fills_a_row_up_and_are_cut_at_the_edges():
    boxes = np.array([[NAN, [-2, 1, 5, 9, 1]], [[0, 0, 4, 4, 0], [2, 2, 12, 6, 1]]])
    classes = find_object_classes([boxes], "boxes", "boxes", ("car", "man"))
    numbers = box_numbers(boxes, classes, (8, 10), "boxes")
    assert numbers[0, 0].tolist() == [0, 1, 5, 8, 1]
    assert np.isnan(numbers[0, 1]).all()
    assert numbers[1].tolist() == [[0, 0, 4, 4, 0], [2, 2, 10, 6, 1]]


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ([4, 4, 2, 6, 0], "of no width or height in 1 of 1 rows"),
        ([20, 0, 30, 5, 0], "outside the image of 8 × 10 in 1 of 1 rows"),
        ([-5, 0, 0, 5, 0], "outside the image"),
        ([0, 0, 4, 4, 0.5], "classes are whole numbers"),
        ([0, 0, 4, 4, -1], "classes are whole numbers"),
        ([0, 0, np.nan, 4, 0], "no finite number in some"),
        ([0, 0, np.inf, 4, 0], "no finite number in some"),
    ],
)
def test_what_is_no_box_is_refused(box, words):
    boxes = np.array([[box, NAN]], float)
    with pytest.raises(PreconditionError, match=words) as caught:
        box_numbers(boxes, find_object_classes([boxes], "boxes", "boxes", ()), (8, 10), "boxes")
    assert caught.value.diagnostics[0].code == "X647"


def test_arrays_of_other_shapes_are_no_boxes():
    with pytest.raises(PreconditionError, match=r"the shape \(3, 4\)"):
        find_object_classes([np.zeros((2, 3, 4))], "boxes", "boxes", ())


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 3, 8, 10), (8, 10)),
        ((2, 8, 10, 3), (8, 10)),
        ((2, 1, 1, 1), (1, 1)),
        ((2, 7), None),
        ((2, 16, 8, 9), (8, 9)),
    ],
)
def test_the_size_is_that_of_the_first_images(shape, size):
    assert image_size({"age": np.zeros((2, 1)), "image": np.zeros(shape)}) == size


def resize(height, width, *columns):
    return Fitted("resize", columns or ("image",), {"height": height, "width": width}, {})


@pytest.mark.parametrize(("height", "width"), [(12, 20), (3, 5), (6, 10), (7, 9)])
def test_masks_and_boxes_are_resized_as_their_images_are(height, width):
    """A bright square, its mask and its box stay one another's: to half a pixel, where the image is cut."""
    image, mask = np.zeros((1, 1, 6, 10), np.float32), np.zeros((1, 6, 10), np.int64)
    image[0, 0, 2:5, 4:8] = mask[0, 2:5, 4:8] = 1
    steps, images = [resize(32, 32), resize(height, width)], {"image": image}.get
    resized = apply_resize(resize(height, width), 0, image)[0, 0]
    (moved,) = resized_objects(mask, "mask", steps, images)
    assert moved.shape == resized.shape
    assert ((moved == 1) == (resized > 0.5)).mean() >= 0.85
    ((box, filling),) = resized_objects(np.array([[[4, 2, 8, 5, 1], NAN]]), "boxes", steps, images)
    assert box.tolist() == pytest.approx([4 * width / 10, 2 * height / 6, 8 * width / 10, 5 * height / 6, 1])
    assert np.isnan(filling).all()


def test_masks_that_differ_in_size_become_equal_and_show_their_classes():
    masks = np.empty(2, dtype=object)
    masks[:] = [np.kron(np.eye(2), np.ones((size, size))).astype(np.float32) for size in (2, 3)]
    classes = find_object_classes([masks], "mask", "mask", (), resized=True)
    assert classes.names == ("0", "1")
    moved = resized_objects(masks, "mask", [resize(4, 4)], None)
    assert mask_numbers(moved, classes).tolist() == [np.kron(np.eye(2), np.ones((2, 2))).tolist()] * 2
    assert resized_objects(masks[:0], "mask", [resize(4, 4)], None).shape == (0, 4, 4)


def test_boxes_of_rows_with_two_images_of_other_sizes_are_refused():
    images = {"left": np.zeros((1, 3, 8, 8)), "right": np.zeros((1, 3, 6, 8))}
    with pytest.raises(PreconditionError, match="a row has several images of different sizes, left, right") as caught:
        resized_objects(np.zeros((1, 1, 5)), "boxes", [resize(4, 4, "left", "right")], images.get)
    assert caught.value.diagnostics[0].code == "X606"
