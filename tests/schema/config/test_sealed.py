"""What is sealed opens with its key, whole and unchanged, or not at all."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant import load_config, save_config
from titrant.schema.config import sealed as sealing
from titrant.schema.config.sealed import CHUNK_BYTES, MAGIC, SealedReader, SealedWriter, key_from_environment, opened
from titrant.schema.config.sealed import sealed as seal
from titrant.schema.diagnostics.diagnostics import RecipeError

RAW, OTHER, WORDS = "0f" * 32, "f0" * 32, "twelve letters or more"
SIZES = st.one_of(
    st.integers(0, 40), st.sampled_from([count * CHUNK_BYTES + by for count in (1, 2, 3) for by in (-1, 0, 1)])
)


@pytest.fixture(autouse=True, scope="module")
def _quick():
    """Make keys of passphrases in fewer rounds: what they protect from is none of what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "_ROUNDS", 10)
        yield


@given(SIZES, st.sampled_from([RAW, WORDS, "e" * 63, "ß" * 64]), st.lists(st.integers(1, CHUNK_BYTES * 2), max_size=4))
def test_gives_back_what_was_written_however_it_was_cut(size, key, cuts):
    data = os.urandom(size)
    stream, rest = io.BytesIO(), data
    writer = SealedWriter(stream, key)
    for cut in cuts:
        writer.write(rest[:cut])
        rest = rest[cut:]
    writer.write(rest)
    writer.close()
    assert opened(stream.getvalue(), key, "x") == data
    assert data[:16] not in stream.getvalue() or size < 8


def changed(whole, kind, at):
    """Damage a sealed file in one way, at a place between 0 and 1."""
    place = min(int(at * len(whole)), len(whole) - 1)
    chunk = CHUNK_BYTES + 16
    match kind:
        case "a byte":
            return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        case "cut":
            return whole[:place]
        case "longer":
            return whole + b"x"
        case "twice":
            return whole + whole
        case "without a chunk":
            return whole[: -2 * chunk] + whole[-chunk:] if len(whole) > 2 * chunk else whole[:-1]
        case _:
            return whole[: -2 * chunk] + whole[-chunk:] + whole[-2 * chunk : -chunk] if len(whole) > 2 * chunk else b""


@given(
    SIZES, st.sampled_from([RAW, WORDS]), st.floats(0, 1),
    st.sampled_from(["a byte", "cut", "longer", "twice", "without a chunk", "chunks in another order"]),
)  # fmt: skip
def test_refuses_a_file_that_was_changed_anywhere_or_cut_short(size, key, at, kind):
    whole = seal(os.urandom(size), key)
    wrong = changed(whole, kind, at)
    if wrong == whole:
        return
    with pytest.raises(RecipeError, match="R217"):
        opened(wrong, key, "x")


def test_says_that_a_file_is_cut_short_at_the_end_of_a_chunk():
    whole = seal(bytes(2 * CHUNK_BYTES), RAW)
    with pytest.raises(RecipeError, match="x is cut short: it ends around byte 0 of what was sealed"):
        opened(whole[: -CHUNK_BYTES - 16], RAW, "x")


@pytest.mark.parametrize(
    ("sealed_with", "key"), [(RAW, OTHER), (RAW, WORDS), (WORDS, RAW), (WORDS, "another passphrase")]
)
def test_says_that_the_key_is_another(sealed_with, key):
    with pytest.raises(RecipeError, match="x does not open with the key in TITRANT_KEY: it is another one"):
        opened(seal(b"data", sealed_with), key, "x")


def test_gives_out_nothing_before_it_is_known_to_be_authentic():
    whole = bytearray(seal(bytes(3 * CHUNK_BYTES), RAW))
    whole[-1] ^= 1
    reader = io.BufferedReader(SealedReader(io.BytesIO(bytes(whole)), RAW, "x"), 1)
    assert reader.read(2 * CHUNK_BYTES) == bytes(2 * CHUNK_BYTES)
    with pytest.raises(RecipeError, match="R217"):
        reader.read(1)


def test_holds_no_more_than_a_few_chunks_of_what_it_seals():
    """Whatever is written, what waits is a chunk at most."""
    writer = SealedWriter(io.BytesIO(), RAW)
    for _ in range(5):
        writer.write(bytes(3 * CHUNK_BYTES + 7))
        assert len(writer._waiting) <= CHUNK_BYTES


def test_seals_the_same_bytes_otherwise_each_time():
    assert seal(b"data", RAW) != seal(b"data", RAW)


def test_refuses_a_header_that_asks_for_all_memory():
    head = MAGIC + b'{"key":"scrypt","rounds":40,"salt":"00"}\n' + bytes(32)
    with pytest.raises(RecipeError, match="in its first lines"):
        opened(head, WORDS, "x")


@pytest.mark.parametrize(
    ("value", "said"),
    [("", "there is no key: TITRANT_KEY is not set"), ("short", "has 5 characters, and 12 are the least")],
)
def test_says_which_key_is_none(monkeypatch, value, said):
    monkeypatch.setenv("TITRANT_KEY", value)
    with pytest.raises(RecipeError, match=said):
        key_from_environment()


def test_says_which_package_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(RecipeError, match=r"R218.*pip install 'titrant\[evidence\]'"):
        seal(b"data", RAW)


@pytest.mark.parametrize("name", ["c.yaml", "c.json"])
def test_saves_a_configuration_that_only_the_key_opens(tmp_path, monkeypatch, name):
    monkeypatch.setenv("TITRANT_KEY", RAW)
    value = {"rate": 0.1, "layers": [64, 32], "password": "hunter2"}
    assert save_config(value, tmp_path / name, encrypt=True) == ("password",)
    kept = (tmp_path / name).read_bytes()
    assert b"rate" not in kept
    loaded = {**value, "password": "<redacted>"}
    assert load_config(tmp_path / name) == loaded
    assert load_config(tmp_path / name, dict[str, object]) == loaded
    save_config(value, tmp_path / name, encrypt=True, keep="password")
    assert load_config(tmp_path / name) == value
    monkeypatch.setenv("TITRANT_KEY", OTHER)
    with pytest.raises(RecipeError, match="R217"):
        load_config(tmp_path / name)
    monkeypatch.delenv("TITRANT_KEY")
    with pytest.raises(RecipeError, match="R216"):
        load_config(tmp_path / name)
    with pytest.raises(RecipeError, match="R216"):
        save_config(value, tmp_path / "other.yaml", encrypt=True)
    assert not (tmp_path / "other.yaml").exists()
