"""A file that was cut or altered is read, or refused with a code: nothing of what a library raises comes through."""

import bz2
import gzip
import io
import lzma
import zipfile
from contextlib import suppress

import numpy as np
import pandas as pd  # noqa: TID253 - the tests write tables
import pytest
import torch  # noqa: TID253 - the tests write checkpoints
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.runtime.backends.torch.checkpoint import read_saved
from titrant.runtime.data.delimited.read import read_csv
from titrant.runtime.data.readers import read_npz, read_parquet
from titrant.schema.diagnostics.diagnostics import StepError

TABLE = b"a,b\n" + b"1,x\n2,y\n" * 20
COLUMNS = {"a": np.arange(40), "b": np.array(["x", "y"] * 20)}
STATE = {"weight": torch.zeros(3, 2), "bias": torch.ones(3)}


def written(write, **how):
    held = io.BytesIO()
    write(held, **how)
    return held.getvalue()


def zipped(held):
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("table.csv", TABLE)


FILES = {
    ".npz": (written(lambda held: np.savez(held, **COLUMNS)), lambda path: read_npz(path, None)),
    "-packed.npz": (written(lambda held: np.savez_compressed(held, **COLUMNS)), lambda path: read_npz(path, None)),
    ".parquet": (written(lambda held: pd.DataFrame(COLUMNS).to_parquet(held)), read_parquet),
    ".csv": (TABLE, read_csv),
    ".csv.zip": (written(zipped), read_csv),
    ".csv.gz": (gzip.compress(TABLE), read_csv),
    ".csv.bz2": (bz2.compress(TABLE), read_csv),
    ".csv.xz": (lzma.compress(TABLE), read_csv),
    ".pt": (written(lambda held: torch.save(STATE, held)), read_saved),
    "-old.pt": (
        written(lambda held: torch.save(STATE, held, _use_new_zipfile_serialization=False)),
        read_saved,
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", FILES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.data())
def test_reads_a_damaged_file_or_refuses_it(tmp_path, ending, drawn):
    whole, read = FILES[ending]
    damaged = bytearray(whole)
    place = st.integers(0, len(whole) - 1)
    if drawn.draw(st.booleans()):
        del damaged[drawn.draw(place) :]
    for at, byte in drawn.draw(st.dictionaries(place, st.integers(0, 255), max_size=4)).items():
        damaged[at : at + 1] = bytes([byte])
    file = tmp_path / f"file{ending}"
    file.write_bytes(damaged)
    with suppress(StepError):
        read(str(file))


@pytest.mark.parametrize(
    ("whole", "part", "damaged"),
    [
        # The footer says that a column has no gaps, and counts some: asked for, that ends the process.
        (COLUMNS, b"%\x02\x18\x01a", b"%\x00\x18\x01a"),
        ({"b": ["zebra"] * 40}, b"zebra", b"z\xc8bra"),  # text that is no UTF-8
    ],
)
def test_reads_or_refuses_what_libraries_notice_late(tmp_path, whole, part, damaged):
    held = written(lambda held: pd.DataFrame(whole).to_parquet(held, compression=None))
    assert part in held
    (tmp_path / "file.parquet").write_bytes(held.replace(part, damaged))
    with suppress(StepError):
        read_parquet(str(tmp_path / "file.parquet"))


@pytest.mark.parametrize("text", [b"hello", b"", b"\x00", b"\xff" * 9, b"<html>"])
@pytest.mark.parametrize("values", [False, True])
def test_says_of_what_is_no_checkpoint_that_it_is_none(tmp_path, text, values):
    (tmp_path / "w.pt").write_bytes(text)
    with pytest.raises(StepError) as caught:
        read_saved(str(tmp_path / "w.pt"), values=values)
    assert caught.value.diagnostics[0].message in ("w.pt is not a torch checkpoint", "w.pt is empty")


def test_says_that_a_table_is_locked_by_a_password(tmp_path):
    locked = bytearray(written(zipped))
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(start) + flags] |= 1
    (tmp_path / "table.csv.zip").write_bytes(locked)
    with pytest.raises(StepError, match=r"X100: .* it is locked by a password \(unpack it\)"):
        read_csv(str(tmp_path / "table.csv.zip"))
