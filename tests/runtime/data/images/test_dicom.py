"""DICOM: rescaling, window, inversion, bits, color, packing, and nothing of whom an image shows."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import dicom

from titrant.runtime.data.images.dicom import decode_dicom
from titrant.runtime.data.images.stored import ImageRefusedError, scaled, seen
from titrant.runtime.values import ImageReading


def shown(file, color="gray", **reading):
    return scaled(seen(decode_dicom(file), ImageReading(color, **reading)), 3 if color == "rgb" else 1)


def refusal(file, **reading):
    with pytest.raises(ImageRefusedError) as caught:
        shown(file, **reading)
    return caught.value


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("dicom") / "image.dcm"


@st.composite
def images(draw):
    """Draw numbers (3, 4) as stored, and the bits and rescaling of the file that holds them."""
    stored, signed = draw(st.sampled_from([8, 10, 12, 14, 16])), draw(st.booleans())
    low = -(2 ** (stored - 1)) if signed else 0
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if stored == 8 else 2}")
    numbers = np.random.default_rng(draw(st.integers(0, 2**32))).integers(low, low + 2**stored, (3, 4)).astype(kind)
    rescale = draw(st.sampled_from([(), (1.0, 0.0), (1.0, -1024.0), (0.5, 0.0), (2.0, -1024.0)]))
    return numbers, stored, rescale


@given(images(), st.booleans(), st.sampled_from([None, (-160.0, 240.0), (0.0, 4095.0)]))
@settings(max_examples=80)
def test_gives_what_a_viewer_shows_or_asks_for_the_window(file, image, inverted, window):
    numbers, stored, rescale = image
    slope, intercept = rescale or (1.0, 0.0)
    attributes = {"RescaleSlope": slope, "RescaleIntercept": intercept} if rescale else {}
    dicom(file, numbers, stored=stored, photometric="MONOCHROME1" if inverted else "MONOCHROME2", **attributes)
    if window is None and (numbers.dtype.kind == "i" or (slope, intercept) != (1.0, 0.0)):
        assert refusal(file).code == "X113"
        return
    rescaled = numbers * slope + intercept
    black, white = (0, 2**stored - 1) if window is None else window
    wanted = ((rescaled - black) / (white - black)).clip(0, 1)
    wanted = 1 - wanted if inverted else wanted
    np.testing.assert_allclose(shown(file, window=window)[0], wanted, atol=1e-6)


def test_drops_bits_above_those_that_are_stored(file):
    dicom(file, np.array([[0xF000 | 5, 4095]], dtype=np.uint16), stored=12)
    np.testing.assert_allclose(shown(file)[0], [[5 / 4095, 1]], atol=1e-7)
    dicom(file, np.array([[0x0FFF, 0x0001]], dtype=np.int16), stored=12)
    np.testing.assert_allclose(shown(file, window=(-1, 1))[0], [[0, 1]], atol=1e-7)


def test_refuses_bits_that_lie_elsewhere(file):
    dicom(file, np.array([[0xFFF0, 0x0010]], dtype=np.uint16), stored=12, HighBit=15)
    assert refusal(file).why == "cannot be decoded: its 12 bits do not begin at the lowest one"


def test_reads_color_and_palettes(file):
    color = np.array([[[255, 0, 51], [0, 255, 102]]], dtype=np.uint8)
    dicom(file, color, photometric="RGB")
    np.testing.assert_allclose(shown(file, "rgb").transpose(1, 2, 0), color / 255, atol=1e-6)
    tables = {}
    for place, name in enumerate(("Red", "Green", "Blue")):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 8]
        tables[f"{name}PaletteColorLookupTableData"] = bytes([0, (250, 100, 50)[place]])
    dicom(file, np.array([[0, 1]], dtype=np.uint8), photometric="PALETTE COLOR", **tables)
    picture = shown(file, "rgb")
    assert picture[:, 0, 0].tolist() == [0, 0, 0]
    np.testing.assert_allclose(picture[:, 0, 1] * 255, [250, 100, 50], atol=1)


def test_rescales_by_a_table_or_by_half_a_formula(file):
    from pydicom.dataset import Dataset

    table = Dataset()
    table.add_new("LUTDescriptor", "US", [3, 0, 16])
    table.add_new("LUTData", "US", [0, 300, 100])
    table.ModalityLUTType = "US"
    dicom(file, np.array([[0, 1, 2]], dtype=np.uint8), ModalityLUTSequence=[table])
    assert refusal(file).code == "X113"
    np.testing.assert_allclose(shown(file, window=(0, 200))[0], [[0, 1, 0.5]], atol=1e-6)
    dicom(file, np.array([[1, 2]], dtype=np.uint8), RescaleIntercept=-2)
    np.testing.assert_allclose(shown(file, window=(-2, 0))[0], [[0.5, 1]], atol=1e-6)
    dicom(file, np.array([[1, 2]], dtype=np.uint8), RescaleSlope=0.5)
    np.testing.assert_allclose(shown(file, window=(0, 1))[0], [[0.5, 1]], atol=1e-6)


def test_offers_the_window_that_the_file_names(file):
    dicom(file, np.array([[0, 9]], dtype=np.int16), WindowCenter=40, WindowWidth=400)
    refused = refusal(file)
    assert refused.code == "X113"
    assert "window: [-160, 240]" in refused.help


def test_refuses_several_frames_by_their_number(file):
    dicom(file, np.zeros((5, 2, 2), np.uint8), NumberOfFrames=5)
    refused = refusal(file)
    assert (refused.code, refused.why) == ("X114", "holds 5 frames, and a row is one image")


@pytest.mark.parametrize(
    ("syntax", "packages"),
    [
        ("JPEGLosslessSV1", "pylibjpeg pylibjpeg-libjpeg"), ("JPEGLSLossless", "pyjpegls"),
        ("HTJ2KLossless", "pylibjpeg pylibjpeg-openjpeg"), ("MPEG4HP41", ""),
    ],
)  # fmt: skip
def test_names_what_to_install_where_a_decoder_is_missing(file, monkeypatch, syntax, packages):
    import pydicom.uid
    from pydicom.pixels.decoders.base import Decoder

    monkeypatch.setattr(Decoder, "is_available", property(lambda self: False))
    dicom(file, np.zeros((2, 2), np.uint8), syntax=getattr(pydicom.uid, syntax), fragment=b"packed")
    refused = refusal(file)
    assert refused.code == "X115"
    assert refused.help == (f"pip install {packages}" if packages else "convert it to an uncompressed transfer syntax")


def test_says_how_to_get_pydicom(file, monkeypatch):
    dicom(file, np.zeros((2, 2), np.uint8))
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    refused = refusal(file)
    assert (refused.code, refused.help) == ("X115", "pip install 'titrant[dicom]'")


def test_reads_packed_pixels_that_pydicom_unpacks(file):
    import pydicom
    from pydicom.uid import RLELossless

    numbers = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300
    dicom(file, numbers, stored=12)
    plain = pydicom.dcmread(file)
    plain.compress(RLELossless)
    plain.save_as(file)
    np.testing.assert_allclose(shown(file)[0], numbers / 4095, atol=1e-6)


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(max_examples=80)
def test_names_half_a_file_or_reads_it_whole(file, cut):
    dicom(file, np.full((4, 4), 4095, np.uint16), stored=12)
    data = file.read_bytes()
    file.write_bytes(data[: int(cut * len(data))])
    code, picture = "", None
    try:
        picture = shown(file)
    except ImageRefusedError as refused:
        code = refused.code
    assert code == "X107" if picture is None else picture.tolist() == np.ones((1, 4, 4)).tolist()


def test_reads_no_attribute_of_a_patient(file, capfd):
    """Not even one that is damaged, of which pydicom would warn with its value."""
    from titrant.runtime.data.images.dicom import _dataset

    dicom(file, np.zeros((2, 2), np.uint8), PatientBirthDate="CANARY-7", StudyDate="CANARY-8", PatientAge="CANARY-9")
    data = _dataset(file)
    assert {element.tag.group for element in data} <= {0x0028, 0x7FE0}
    shown(file)
    told = capfd.readouterr()
    assert "CANARY" not in str(data) + told.out + told.err


def test_hands_on_no_warning_that_quotes_a_file(file, caplog):
    dicom(file, np.zeros((2, 2), np.uint8))
    file.write_bytes(file.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"CANARY-Jane-Doe-1970"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        refused = refusal(file)
    assert (told, caplog.text) == ([], "")
    assert refused.why == "cannot be decoded: it is cut short, or holds no image"


def test_names_no_color_that_the_standard_does_not_know(file):
    dicom(file, np.zeros((2, 2), np.uint8), photometric="CANARY")
    assert refusal(file).why == "cannot be decoded: its photometric interpretation is none that is known"
    dicom(file, np.zeros((2, 2), np.uint8), photometric="HSV")
    assert refusal(file).why == "cannot be decoded: its photometric interpretation is HSV"
