"""Image folders: classes from subfolders, pixels as floats, what is said of them, and what is refused."""

import unicodedata

import numpy as np
import pytest
from image_files import dicom, png
from PIL import Image

from titrant.runtime.data.images.read import read_images
from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.data.transforms import fit
from titrant.runtime.operators.data.transform import wire
from titrant.runtime.values import ImageReading, Transforms
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
    columns = read_images(str(tmp_path), label="kind", resize=False).columns
    assert columns["kind"].tolist() == ["cat", "cat", "dog"]
    assert columns["image"].shape == (3, 3, 4, 6)
    assert columns["image"].dtype == np.float32
    np.testing.assert_allclose(columns["image"][0, :, 0, 0], [1, 0, 0.2])


def test_gives_no_label_for_a_flat_folder_or_when_none_is_asked_for(tmp_path):
    picture(tmp_path / "flat" / "a.png")
    picture(tmp_path / "deep" / "x" / "a.png")
    assert set(read_images(str(tmp_path / "flat"), label="label", resize=False).columns) == {"image"}
    assert set(read_images(str(tmp_path / "deep"), label=None, resize=False).columns) == {"image"}


@pytest.mark.parametrize("splits", [("test", "train"), ("Test", "train", "VAL"), ("validation",)])
def test_takes_no_split_for_a_class(tmp_path, splits):
    for split in splits:
        picture(tmp_path / split / "ill" / "a.png")
        picture(tmp_path / split / "well" / "deep" / "a.png")
    message = refused(tmp_path)
    assert (
        message == f"the subfolders of {tmp_path.name} are {', '.join(sorted(splits))}, which are splits and no classes"
    )
    assert len(read_images(str(tmp_path), label=None, resize=False).columns["image"]) == 2 * len(splits)
    picture(tmp_path / splits[0] / "b.png")
    assert set(read_images(str(tmp_path), label="label", resize=False).columns["label"]) == set(splits)


def test_says_where_the_outer_of_two_folders_is_the_class(tmp_path):
    picture(tmp_path / "all" / "ill" / "a.png")
    picture(tmp_path / "all" / "well" / "a.png")
    assert "the only subfolder" in refused(tmp_path)
    picture(tmp_path / "rest" / "a.png")
    table = read_images(str(tmp_path), label="label", resize=False)
    assert table.columns["label"].tolist() == ["all", "all", "rest"]
    assert "2 images lie in subfolders of class folders, and the outer folder is the class" in table.notes


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
    columns = read_images(str(tmp_path), label=None, resize=True).columns
    assert columns["image"].dtype == object
    steps = fit([TransformStep(name="resize", height=2, width=3)], columns)
    inputs = apply(Transforms(steps, *wire(columns, ())), columns)
    assert inputs["image"].shape == (2, 3, 2, 3)
    np.testing.assert_allclose(inputs["image"][1, :, 1, 1], [0, 0, 1], atol=1e-6)


def notes(folder, **reading):
    return read_images(str(folder), label="label", resize=True, reading=ImageReading(**reading)).notes


def test_says_what_was_read_and_how(tmp_path):
    picture(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "b.png").write_bytes(png(np.full((2, 2, 2), 60_000), bits=16, alpha=True))
    (tmp_path / "cat" / "c.png").write_bytes(png(np.full((2, 2, 1), 9), orientation=6))
    assert notes(tmp_path, background="black") == (
        "3 images read as RGB in 0..1 on black: 1 of 8 bits RGB, 1 of 16 bits gray with alpha, 1 of 8 bits gray",
        "1 image turned upright, as EXIF says",
    )


def test_says_that_a_deep_image_uses_little_of_its_range(tmp_path):
    (tmp_path / "a.png").write_bytes(png(np.full((2, 2, 1), 4_095), bits=16))
    first, second = notes(tmp_path)
    assert first == "1 image read as RGB in 0..1: 16 bits gray"
    assert second == "no number is above 4,095 of 65,535: `window: [0, 4095]` would use the whole range"
    assert notes(tmp_path, window=(0, 4095), color="gray") == (
        "1 image read as gray in 0..1 through the window 0 to 4095: 16 bits gray",
    )


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (".hidden.png", "1 hidden"), ("._a.png", "1 hidden"), ("Thumbs.db", "1 of the system"),
        ("notes.TXT", "1 .txt"), ("scan.nii.gz", "1 .nii.gz"), ("scan.Jane-Doe", "1 of another kind"),
        ("README", "1 of another kind"), ("DICOMDIR", "1 of the system"), ("desktop.ini", "1 of the system"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["", "cat", "cat/deep", "cat/.ipynb_checkpoints", "__MACOSX/cat"])
def test_passes_over_what_is_no_image_and_counts_it_by_kind(tmp_path, file, kind, place):
    picture(tmp_path / "cat" / "a.png")
    other = tmp_path / place / file
    other.parent.mkdir(parents=True, exist_ok=True)
    picture(other.with_suffix(".png"))
    other.with_suffix(".png").replace(other)
    if kind != "1 of the system":
        kind = "1 hidden" if "checkpoints" in place else "1 of the system" if "MACOSX" in place else kind
    table = read_images(str(tmp_path), label="label", resize=False)
    assert table.rows == 1
    assert table.notes[1] == f"1 file is passed over as no image: {kind}"


def test_counts_each_kind_and_folders_without_an_image(tmp_path):
    for name in ("cat/a.png", "dog/a.png", "cat/.ipynb_checkpoints/a-checkpoint.png", "dog/.b.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.csv").write_text("a,b\n")
    (tmp_path / "plans").mkdir()
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert notes(tmp_path)[1:] == (
        "4 files are passed over as no image: 1 .csv, 1 linked to nothing, 2 hidden",
        "1 subfolder has no image and so no class",
    )


def test_says_how_nifti_is_read_where_there_is_nothing_else(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.nii.gz").write_bytes(b"volume")
    with pytest.raises(StepError) as caught:
        read_images(str(tmp_path), label=None, resize=False)
    found = caught.value.diagnostics[0]
    assert found.message == f"{tmp_path.name} has no images: there are 3 .nii.gz"
    assert "data factory" in found.help


def test_follows_links_and_no_circle(tmp_path):
    picture(tmp_path / "elsewhere" / "a.png")
    picture(tmp_path / "images" / "dog" / "a.PNG")
    (tmp_path / "images" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "dog" / "b.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "images" / "dog" / "again").symlink_to(tmp_path / "images")
    table = read_images(str(tmp_path / "images"), label="label", resize=False)
    assert table.columns["label"].tolist() == ["cat", "dog", "dog"]


def test_writes_classes_in_one_unicode_form(tmp_path):
    composed, apart = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    picture(tmp_path / apart / "a.png")
    picture(tmp_path / "tea" / "a.png")
    labels = read_images(str(tmp_path), label="label", resize=False).columns["label"]
    assert labels.tolist() == [composed, "tea"]
    picture(tmp_path / composed / "b.png")
    assert "both called caf\u00e9" in refused(tmp_path)


def test_refuses_a_window_over_numbers_of_several_units(tmp_path):
    (tmp_path / "a.png").write_bytes(png(np.full((2, 2, 1), 9)))
    (tmp_path / "b.png").write_bytes(png(np.full((2, 2, 1), 9), bits=16))
    with pytest.raises(StepError) as caught:
        notes(tmp_path, window=(0, 255))
    found = caught.value.diagnostics[0]
    assert found.code == "X116"
    assert found.message == ("`window` would mean different things: image 1 is 8 bits gray and image 2 16 bits gray")


def test_reads_dicom_beside_png_and_without_a_suffix(tmp_path):
    pixels = np.array([[0, 1023]], dtype=np.uint16)
    dicom(tmp_path / "IM0001", pixels, stored=10)
    dicom(tmp_path / "1.2.840.113", pixels, stored=10)
    dicom(tmp_path / "a.DCM", pixels, stored=10)
    (tmp_path / "b.png").write_bytes(png(np.array([[[0], [255]]])))
    table = read_images(str(tmp_path), label=None, resize=False, reading=ImageReading("gray"))
    assert table.columns["image"].tolist() == [[[[0, 1]]]] * 4
    assert table.notes == ("4 images read as gray in 0..1: 3 of 10 bits gray (DICOM), 1 of 8 bits gray",)


def test_names_an_empty_file(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    assert "image 2, in the order of the files' names, cannot be decoded" in refused(tmp_path)
