"""Image folders: classes from subfolders, pixels as floats, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.data.readers import read_images
from titrant.runtime.data.transforms import fit
from titrant.runtime.operators.data.transform import wire
from titrant.runtime.values import Transforms
from titrant.schema.diagnostics.diagnostics import StepError


def picture(path, size=(6, 4), color=(255, 0, 51)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def refused(folder):
    with pytest.raises(StepError) as caught:
        read_images(str(folder), label="label", resize=False)
    assert caught.value.diagnostics[0].code == "X107"
    return caught.value.diagnostics[0].message


def test_takes_the_class_from_the_subfolder(tmp_path):
    for name in ("dog/2.png", "cat/1.png", "cat/0.png"):
        picture(tmp_path / name)
    columns = read_images(str(tmp_path), label="kind", resize=False)
    assert columns["kind"].tolist() == ["cat", "cat", "dog"]
    assert columns["image"].shape == (3, 3, 4, 6)
    assert columns["image"].dtype == np.float32
    np.testing.assert_allclose(columns["image"][0, :, 0, 0], [1, 0, 0.2])


def test_gives_no_label_for_a_flat_folder_or_when_none_is_asked_for(tmp_path):
    picture(tmp_path / "flat" / "a.png")
    picture(tmp_path / "deep" / "x" / "a.png")
    assert set(read_images(str(tmp_path / "flat"), label="label", resize=False)) == {"image"}
    assert set(read_images(str(tmp_path / "deep"), label=None, resize=False)) == {"image"}


def test_refuses_what_is_no_folder_of_images_of_one_size(tmp_path):
    assert "no folder" in refused(tmp_path / "gone")
    assert "has no images" in refused(tmp_path)
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", (3, 3))
    assert "image 1 is 6 x 4 and image 2 3 x 3" in refused(tmp_path)
    picture(tmp_path / "dog" / "c.png")
    assert "beside its class folders" in refused(tmp_path)


def test_names_an_image_that_cannot_be_decoded_by_its_place(tmp_path):
    """Its file may be called by a patient's name."""
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    message = refused(tmp_path)
    assert message == "image 1, in the order of the files' names, cannot be decoded: it is no image that Pillow knows"


def test_names_an_image_that_is_cut_short_by_its_place_in_its_class(tmp_path):
    for name in ("cat/a.png", "dog/a.png", "dog/jane-doe.png", "dog/z.png"):
        picture(tmp_path / name)
    broken = tmp_path / "dog" / "jane-doe.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    message = refused(tmp_path)
    assert (
        message
        == "image 2 of class dog, in the order of the files' names, cannot be decoded: it is damaged or cut short"
    )


def test_resizes_images_that_differ_in_size(tmp_path):
    from titrant.runtime.data.transforms import apply

    picture(tmp_path / "a.png", (6, 4))
    picture(tmp_path / "b.png", (9, 5), (0, 0, 255))
    columns = read_images(str(tmp_path), label=None, resize=True)
    assert columns["image"].dtype == object
    steps = fit([TransformStep(name="resize", height=2, width=3)], columns)
    inputs = apply(Transforms(steps, *wire(columns, ())), columns)
    assert inputs["image"].shape == (2, 3, 2, 3)
    np.testing.assert_allclose(inputs["image"][1, :, 1, 1], [0, 0, 1], atol=1e-6)
