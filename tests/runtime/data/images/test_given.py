"""What a released model is given in place of rows means what files of the data meant."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import dicom, netpbm, png

from titrant.runtime.backends.rows import load_tables, save_tables
from titrant.runtime.data.images.given import as_rows
from titrant.runtime.data.images.read import read_images
from titrant.runtime.data.saved_transforms import load_transforms, save_transforms
from titrant.runtime.values import ImageReading, Tables, Transforms
from titrant.schema.diagnostics.diagnostics import StepError


def answered(rows, **reading):
    return as_rows(rows, {"image": ImageReading(**reading)}, resize=False)["image"]


def refused(rows, **reading):
    with pytest.raises(StepError) as caught:
        answered(rows, **reading)
    return caught.value.diagnostics[0]


@given(st.integers(0, 2**32), st.sampled_from([8, 16]), st.sampled_from(["gray", "rgb"]), st.sampled_from([1, 3, None]))
def test_reads_an_array_as_the_file_that_holds_it(tmp_path_factory, seed, bits, color, colors):
    windowed, colors = colors is None, colors or 1
    colored = colors == 3
    pixels = np.random.default_rng(seed).integers(0, 2**bits, (3, 4, colors), dtype=f"u{bits // 8}")
    file = tmp_path_factory.mktemp("given") / "a.png"
    file.write_bytes(png(pixels, bits=bits, color="RGB" if colored else "gray"))
    reading = {"color": color, "window": (3.0, 90.0) if windowed else None}
    from_file = answered(str(file), **reading)
    assert from_file.shape == (1, 3 if color == "rgb" else 1, 3, 4)
    stacked = pixels.transpose(2, 0, 1)[None]
    for rows in (stacked, {"image": stacked}, *([stacked[:, 0]] if not colored else [])):
        np.testing.assert_array_equal(answered(rows, **reading), from_file)


def test_takes_uint16_for_the_bits_that_the_data_had(tmp_path):
    numbers = np.array([[0, 4095, 2000]], dtype=np.uint16)
    dicom(tmp_path / "a.dcm", numbers, stored=12)
    table = read_images(str(tmp_path), label=None, resize=False)
    assert table.deep_whites == (4095,)
    from_file = answered(tmp_path / "a.dcm")
    np.testing.assert_array_equal(answered(numbers[None], deep_whites=(4095,)), from_file)
    problem = refused(np.full((1, 2, 2), 4096, np.uint16), deep_whites=(4095,))
    assert problem.code == "X342"
    assert "up to 4,096, and white was 4,095" in problem.message
    assert "white was 1,023 and 4,095" in refused(numbers[None], deep_whites=(1023, 4095)).message


def test_keeps_what_the_data_had_where_they_are_stored(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.pgm").write_bytes(netpbm(np.array([[[0], [1023]]]), 1023))
    table = read_images(str(tmp_path / "images"), label=None, resize=False)
    save_tables(Tables({"source": table}), tmp_path)
    assert load_tables(tmp_path).sources["source"].deep_whites == (1023,)
    reading = ImageReading("gray", "#102030", (-1.0, 2.5), (1023,))
    save_transforms(Transforms((), {"image": ("image",)}, {"image": "float32"}, images={"image": reading}), tmp_path)
    assert load_transforms(tmp_path).images == {"image": reading}


@pytest.mark.parametrize("rows", [{"age": [1]}, {"age": ["a.png"]}])
def test_leaves_other_columns_as_they_are(rows):
    readings = {"image": ImageReading()}
    assert as_rows(rows, readings, resize=False) == rows


def test_names_a_file_by_its_place_among_those_given(tmp_path):
    (tmp_path / "a.png").write_bytes(png(np.zeros((2, 2, 1), np.uint8)))
    (tmp_path / "b.png").write_bytes(png(np.zeros((3, 2, 1), np.uint8)))
    assert refused([tmp_path / "a.png", tmp_path / "gone.png"]).message == (
        "image 2 of those given cannot be decoded: no such file or directory"
    )
    assert "image 1 of those given is 2 x 2 and image 2 of those given 2 x 3" in (
        refused([tmp_path / "a.png", tmp_path / "b.png"]).message
    )


def test_takes_the_path_of_one_image_by_the_name_of_the_input(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(np.full((2, 2, 1), 51, np.uint8)))
    for given_path in (path, str(path)):
        assert (answered({"image": given_path}) == answered([path])).all()
