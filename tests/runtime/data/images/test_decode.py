"""Every mode, depth, alpha, orientation and container gives the picture that was drawn, in 0..1."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import laid_down, netpbm, png, tiff
from PIL import Image

from titrant.runtime.data.images.decode import decode
from titrant.runtime.data.images.stored import ImageRefusedError, scaled, seen
from titrant.runtime.values import ImageReading

LUMA = np.array([0.299, 0.587, 0.114])
WHITES = {1: 1, 8: 255, 12: 4095, 16: 65535}
PAPER = {"white": 1.0, "black": 0.0, "#3366cc": np.array([0x33, 0x66, 0xCC]) / 255}
# Container → what it can hold: (color, alpha) and bits.
HOLDS = {
    "png": ([("gray", False), ("gray", True), ("RGB", False), ("RGB", True)], (1, 8, 16)),
    "tiff": ([("gray", False), ("RGB", False), ("RGB", True), ("CMYK", False)], (8, 16)),
    "tiff of 12 bits": ([("gray", False)], (12,)),
    "tiff, white is 0": ([("gray", False)], (8, 16)),
    "netpbm": ([("gray", False), ("RGB", False)], (8, 12, 16)),
}


@st.composite
def drawings(draw):
    """Draw a picture and the file that holds it: (bytes, suffix, color (h, w, 1 or 3) in 0..1, alpha or None)."""
    container = draw(st.sampled_from(sorted(HOLDS)))
    modes, depths = HOLDS[container]
    color, alpha = draw(st.sampled_from(modes))
    bits = draw(st.sampled_from([bits for bits in depths if bits != 1 or (color == "gray" and not alpha)]))
    if container == "tiff of 12 bits" or (container == "netpbm" and bits == 12):
        bits = 12
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    width += width % 2 if container == "tiff of 12 bits" else 0
    orientation = draw(st.integers(1, 8)) if container != "netpbm" else 1
    if container == "tiff of 12 bits":
        orientation = 1
    colors = {"gray": 1, "RGB": 3, "CMYK": 4}[color]
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    white = WHITES[bits]
    dtype = np.uint8 if bits <= 8 else np.uint16
    picture = generator.integers(0, white + 1, (height, width, colors + alpha), dtype=dtype)
    if alpha and draw(st.booleans()):
        picture[0, 0, -1] = 0
    raw = laid_down(picture, orientation)
    if container == "png":
        woven = draw(st.booleans())
        data = png(raw, bits=bits, color=color, alpha=alpha, orientation=orientation, interlaced=woven)
    elif container == "netpbm":
        data = netpbm(raw, white)
    else:
        inverted = container == "tiff, white is 0"
        photometric = 0 if inverted else {"gray": 1, "RGB": 2, "CMYK": 5}[color]
        big = draw(st.booleans()) and bits != 12 and not (inverted and bits == 16)
        data = tiff(
            white - raw if inverted else raw, big=big, photometric=photometric, orientation=orientation,
            extra=(2,) if alpha else (), packed=draw(st.booleans()) and bits != 12, bits=12 if bits == 12 else None,
        )  # fmt: skip
    shown = picture.astype(np.float64) / white
    if color == "CMYK":
        return data, ".tif", (1 - shown[..., :3]) * (1 - shown[..., 3:]), None, bits
    suffix = {"png": ".png", "netpbm": ".ppm"}.get(container, ".tif")
    return data, suffix, shown[..., :colors], shown[..., -1] if alpha else None, bits


def expected(color, alpha, reading):
    """Compose and convert a picture in float64, as a viewer does: (channels, height, width)."""
    color = np.repeat(color, 3, axis=2) if color.shape[2] == 1 else color
    if alpha is not None:
        color = color * alpha[..., None] + PAPER[reading.background] * (1 - alpha[..., None])
    picture = color.transpose(2, 0, 1)
    return picture if reading.color == "rgb" else np.tensordot(LUMA, picture, axes=1)[None]


def pixels(data, suffix, reading):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"image{suffix}")
        file.write_bytes(data)
        return scaled(seen(decode(file), reading), 3 if reading.color == "rgb" else 1)


@given(drawings(), st.sampled_from(["rgb", "gray"]), st.sampled_from(sorted(PAPER)))
@settings(max_examples=120)
def test_gives_the_picture_that_was_drawn(drawing, color, background):
    data, suffix, drawn, alpha, bits = drawing
    reading = ImageReading(color, background)
    # Ink of 8 bits is turned into 8 bits of light by Pillow, which rounds.
    apart = 2.5 / 255 if suffix == ".tif" and bits == 8 else 2e-6
    picture = pixels(data, suffix, reading)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert picture.max() <= 1
    np.testing.assert_allclose(picture, expected(drawn, alpha, reading), atol=apart, rtol=0)


@pytest.mark.parametrize(
    ("container", "color", "alpha"),
    [
        ("png", "gray", False), ("png", "gray", True), ("png", "RGB", False), ("png", "RGB", True),
        ("tiff", "gray", False), ("tiff", "RGB", False), ("tiff", "RGB", True),
        ("packed", "gray", False), ("packed", "RGB", False), ("packed", "RGB", True),
    ],
)  # fmt: skip
def test_turns_16_bits_upright(tmp_path, container, color, alpha):
    channels = (1 if color == "gray" else 3) + alpha
    picture = np.arange(6 * channels, dtype=np.uint16).reshape(2, 3, channels) * 2_000
    for orientation in range(1, 9):
        raw = laid_down(picture, orientation)
        if container == "png":
            data = png(raw, bits=16, color=color, alpha=alpha, orientation=orientation)
        else:
            photometric = 1 if color == "gray" else 2
            data = tiff(
                raw, photometric=photometric, extra=(2,) * alpha, orientation=orientation, packed=container != "tiff"
            )
        held = stored(data, ".png" if container == "png" else ".tif", tmp_path)
        assert held.values.tolist() == picture[..., : channels - alpha].tolist(), orientation
        if alpha:
            np.testing.assert_allclose(held.alpha, picture[..., -1] / 65535, atol=1e-7)


@given(st.integers(0, 2**32), st.integers(1, 8), st.sampled_from([None, 1, 2, 4, 8]))
@settings(max_examples=60)
def test_gives_palettes_their_colors_and_their_alpha(seed, orientation, transparent):
    generator = np.random.default_rng(seed)
    palette = generator.integers(0, 256, (8, 3))
    clear = None if transparent is None else generator.integers(0, 256, transparent)
    picture = generator.integers(0, 8, (3, 4, 1), dtype=np.uint8)
    data = png(laid_down(picture, orientation), palette=palette, clear=clear, orientation=orientation)
    opacity = np.full(8, 255)
    opacity[: transparent or 0] = [] if clear is None else clear
    alpha = None if clear is None else opacity[picture[..., 0]] / 255
    reading = ImageReading("rgb", "#3366cc")
    drawn = expected(palette[picture[..., 0]] / 255, alpha, reading)
    np.testing.assert_allclose(pixels(data, ".png", reading), drawn, atol=2e-6)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("color", ["gray", "RGB"])
def test_makes_the_one_color_transparent_that_a_png_names(color, bits):
    picture = np.full((2, 2, 1 if color == "gray" else 3), 5, dtype=np.uint16)
    picture[0, 0] = 200
    data = png(picture, bits=bits, color=color, clear=[200] * picture.shape[2])
    shown = pixels(data, ".png", ImageReading())
    assert shown[:, 0, 0].tolist() == [1, 1, 1]
    np.testing.assert_allclose(shown[:, 1, 1], 5 / WHITES[bits], atol=1e-6)


@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([8, 16]), st.booleans())
@settings(max_examples=40)
def test_lays_premultiplied_color_over_the_background_once(seed, big, bits, packed):
    generator = np.random.default_rng(seed)
    white = WHITES[bits]
    alpha = generator.integers(white // 2, white + 1, (3, 4, 1))
    ink = generator.integers(0, white + 1, (3, 4, 3)) * alpha // white
    data = tiff(
        np.concatenate([ink, alpha], axis=2).astype(f"u{bits // 8}"), big=big, photometric=2, extra=(1,), packed=packed
    )
    drawn = (ink + (white - alpha)) / white
    # Pillow takes the alpha out of 8 bits, and rounds.
    apart = 1.5 / 255 if bits == 8 else 2e-6
    np.testing.assert_allclose(pixels(data, ".tif", ImageReading()), drawn.transpose(2, 0, 1), atol=apart)


def stored(data, suffix, tmp_path):
    file = tmp_path / f"image{suffix}"
    file.write_bytes(data)
    return decode(file)


@pytest.mark.parametrize(
    ("dtype", "sample", "big"),
    [
        ("float32", 3, False), ("float32", 3, True), ("int16", 2, False), ("int16", 2, True), ("int32", 2, False),
        ("int32", 2, True), ("uint32", 1, False), ("int8", 2, False),
    ],
)  # fmt: skip
def test_refuses_numbers_without_a_range_until_a_window_gives_one(tmp_path, dtype, sample, big):
    numbers = np.array([[[-100], [0]], [[60], [100]]]).astype(dtype)
    numbers = abs(numbers) if dtype == "uint32" else numbers
    data = tiff(numbers, big=big, sample=sample)
    held = stored(data, ".tif", tmp_path)
    with pytest.raises(ImageRefusedError) as refusal:
        seen(held, ImageReading())
    assert refusal.value.code == "X113"
    assert "window: [" in refusal.value.help
    shown = scaled(seen(held, ImageReading("gray", window=(0, 80))), 1)
    np.testing.assert_allclose(shown[0], (numbers[..., 0].astype(float) / 80).clip(0, 1), atol=1e-6)


def test_takes_floats_of_0_to_1_as_they_are(tmp_path):
    numbers = np.array([[[0.0], [0.25]], [[0.5], [1.0]]], dtype=np.float32)
    shown = scaled(seen(stored(tiff(numbers, sample=3), ".tif", tmp_path), ImageReading("gray")), 1)
    assert shown[0].tolist() == numbers[..., 0].tolist()


def test_refuses_floats_with_gaps(tmp_path):
    numbers = np.array([[[0.0], [np.nan]]], dtype=np.float32)
    for reading in (ImageReading(), ImageReading(window=(0, 1))):
        with pytest.raises(ImageRefusedError) as refusal:
            seen(stored(tiff(numbers, sample=3), ".tif", tmp_path), reading)
        assert refusal.value.code == "X113"


def test_keeps_a_window_from_color(tmp_path):
    held = stored(png(np.zeros((2, 2, 3), np.uint8), color="RGB"), ".png", tmp_path)
    with pytest.raises(ImageRefusedError) as refusal:
        seen(held, ImageReading(window=(0, 9)))
    assert refusal.value.code == "X116"


def frames(kind, count=3):
    data = io.BytesIO()
    first, *rest = (Image.new("L", (3, 3), 40 * number) for number in range(count))
    first.save(data, kind, save_all=True, append_images=rest)
    return data.getvalue()


@pytest.mark.parametrize(("kind", "suffix"), [("GIF", ".gif"), ("TIFF", ".tif"), ("PNG", ".png"), ("WEBP", ".webp")])
def test_refuses_several_pictures_in_one_file(tmp_path, kind, suffix):
    with pytest.raises(ImageRefusedError) as refusal:
        stored(frames(kind), suffix, tmp_path)
    assert refusal.value.code == "X114"
    assert "holds 3 " in refusal.value.why


def test_passes_over_a_thumbnail_and_says_so(tmp_path):
    picture, small = np.full((4, 4, 1), 200, np.uint8), np.full((2, 2, 1), 9, np.uint8)
    held = stored(tiff(picture, small, subfiles=(0, 1)), ".tif", tmp_path)
    assert held.previews == 1
    assert held.values.tolist() == picture.tolist()


@pytest.mark.parametrize(("dtype", "colors"), [("u1", 1), ("u1", 3), ("u2", 3)])
def test_counts_channels_that_the_file_does_not_explain(tmp_path, dtype, colors):
    picture = np.arange(4 * (colors + 1), dtype=dtype).reshape(2, 2, colors + 1)
    held = stored(tiff(picture, photometric=2 if colors == 3 else 1, extra=(0,)), ".tif", tmp_path)
    assert (held.unread, held.alpha) == (1, None)
    assert held.values.tolist() == picture[..., :colors].tolist()


def test_takes_the_alpha_out_of_premultiplied_gray(tmp_path):
    held = stored(tiff(np.array([[[100, 200]]], np.uint8), extra=(1,)), ".tif", tmp_path)
    shown = scaled(seen(held, ImageReading("gray")), 1)
    np.testing.assert_allclose(shown, (100 + 55) / 255, atol=1.5 / 255)


@pytest.mark.parametrize("kind", ["RGB", "L", "CMYK"])
def test_reads_jpeg_of_any_color(tmp_path, kind):
    Image.new("RGB", (8, 8), (200, 100, 50)).convert(kind).save(tmp_path / "a.jpg", quality=100)
    shown = scaled(seen(decode(tmp_path / "a.jpg"), ImageReading()), 3)[:, 4, 4]
    light = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    wanted = np.array([light] * 3 if kind == "L" else [200, 100, 50]) / 255
    np.testing.assert_allclose(shown, wanted, atol=4 / 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_turns_photographs_upright(tmp_path, kind, orientation):
    picture = np.zeros((32, 16, 3), dtype=np.uint8)
    picture[:16, :8], picture[16:, 8:] = (255, 0, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(laid_down(picture, orientation)).save(tmp_path / "a", kind, exif=exif, quality=100)
    held = decode(tmp_path / "a")
    assert held.turned == (orientation > 1)
    light = scaled(seen(held, ImageReading()), 3)[:, 4:32:8, 4:16:8]
    np.testing.assert_allclose(light, picture.transpose(2, 0, 1)[:, 4:32:8, 4:16:8] / 255, atol=0.1)


@given(drawings(), st.data())
@settings(max_examples=60)
def test_names_half_a_file_or_reads_it_whole(drawing, chance):
    data, suffix, *_ = drawing
    cut = data[: chance.draw(st.integers(0, len(data) - 1))]
    code, shown = "", None
    try:
        shown = pixels(cut, suffix, ImageReading())
    except ImageRefusedError as refusal:
        code = refusal.code
    if shown is None:
        assert code == "X107"
    else:
        np.testing.assert_array_equal(shown, pixels(data, suffix, ImageReading()))
