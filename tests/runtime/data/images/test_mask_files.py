"""Masks in a folder beside images: taken by name, with the numbers that the files hold, and refused where unlike."""

import numpy as np
import pytest
from PIL import Image

from titrant.runtime.data.images.read import read_images
from titrant.schema.diagnostics.diagnostics import StepError

NUMBERS = np.array([[0, 1, 1], [2, 2, 255]], np.uint8)


@pytest.fixture
def folders(tmp_path):
    """Return folders of three images and of their masks."""
    for place, name in enumerate(("b", "deep/a", "c")):
        for folder, mode, ending in (("scans", "RGB", ".jpg"), ("masks", "L", ".png")):
            path = tmp_path / folder / f"{name}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(NUMBERS + place if mode == "L" else np.zeros((2, 3, 3), np.uint8))
            image.save(path)
    (tmp_path / "scans" / "deep" / "a.jpg").rename(tmp_path / "scans" / "a.jpg")
    (tmp_path / "masks" / "deep" / "a.png").rename(tmp_path / "masks" / "a.png")
    return tmp_path


def read(folders, *, resize=False):
    return read_images(str(folders / "scans"), label="mask", resize=resize, masks=str(folders / "masks"))


def save(folders, name, array, **options):
    Image.fromarray(array, options.pop("mode", None)).save(folders / "masks" / name, **options)


def test_masks_go_with_the_images_of_their_names(folders):
    save(folders, "nobody.png", NUMBERS)
    table = read(folders)
    assert table.columns["mask"].tolist() == [(NUMBERS + place).tolist() for place in (1, 0, 2)]
    assert table.notes[-1] == "1 mask of no image passed over"


@pytest.mark.parametrize("mode", ["1", "P", "I;16"])
def test_numbers_are_those_of_the_file_and_no_color(folders, mode):
    made = Image.fromarray(NUMBERS if mode == "P" else NUMBERS.astype(np.uint16) if mode == "I;16" else NUMBERS > 0)
    if mode == "P":
        made.putpalette([200, 10, 10] * 256)
    made.save(folders / "masks" / "b.png")
    assert Image.open(folders / "masks" / "b.png").mode == mode
    expected = NUMBERS > 0 if mode == "1" else NUMBERS
    assert read(folders).columns["mask"][1].tolist() == expected.astype(int).tolist()


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_turns_a_mask_upright_with_its_image(folders, ending):
    """A tool that paints on a photo keeps what its file says of the camera."""
    side = Image.Exif()
    side[0x112] = 6  # the right side is up: a quarter turn to the left was stored
    Image.fromarray(np.zeros((3, 2, 3), np.uint8)).save(folders / "scans" / "a.jpg", exif=side)
    (folders / "masks" / "a.png").unlink()
    save(folders, f"a.{ending}", np.rot90(NUMBERS).copy(), exif=side)
    assert read(folders).columns["mask"][0].tolist() == NUMBERS.tolist()


def test_masks_of_several_sizes_wait_for_a_transform(folders):
    Image.new("RGB", (5, 4)).save(folders / "scans" / "b.jpg")
    save(folders, "b.png", np.ones((4, 5), np.uint8))
    masks = read(folders, resize=True).columns["mask"]
    assert [(mask.shape, mask.dtype.str) for mask in masks] == [((2, 3), "<f4"), ((4, 5), "<f4"), ((2, 3), "<f4")]


def colors(folders):
    save(folders, "c.png", np.zeros((2, 3, 3), np.uint8))


def lossy(folders):
    folders.joinpath("masks", "c.png").unlink()
    save(folders, "c.jpg", NUMBERS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folders: (folders / "masks" / "b.png").unlink(), "1 of 3 images has no mask in masks, image 2 first"),
        (lambda folders: save(folders, "b.tif", NUMBERS), "image 2 has 2 masks in masks"),
        (lambda folders: Image.new("RGB", (3, 2)).save(folders / "scans" / "b.png"), "called as another one"),
        (lambda folders: save(folders, "c.png", NUMBERS.T.copy()), "is 2 x 3, and its image is 3 x 2"),
        (colors, r"holds colors \(RGB\)"),
        (lossy, "is a JPEG, which changes the numbers of pixels"),
    ],
)
def test_refuses_masks_that_do_not_fit(folders, change, says):
    change(folders)
    with pytest.raises(StepError, match=says) as caught:
        read(folders)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "X607"
    assert not any(name in diagnostic.message for name in ("b.", "c.", "a."))
