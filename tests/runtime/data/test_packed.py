"""What a packed file unpacks to is measured before it is unpacked, whatever it is packed in."""

import bz2
import gzip
import io
import itertools
import lzma
import tracemalloc
import zipfile

import numpy as np
import pandas as pd  # noqa: TID253 - the tests write tables
import pytest
import torch  # noqa: TID253 - the tests build tiny checkpoints
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.runtime.backends.torch.checkpoint import read_saved
from titrant.runtime.data.delimited.read import read_csv
from titrant.runtime.data.readers import read_npz, read_parquet
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.values import archives

LINE, MIB = 1 << 18, 1 << 20
STREAMS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
ENDINGS = (".npz", ".pt", ".pth", ".th", ".ckpt", ".csv.gz", ".csv.bz2", ".csv.xz", ".csv.zip", ".parquet")


@pytest.fixture(autouse=True)
def harmless(monkeypatch):
    """Draw the line at a size that a test makes in no time."""
    monkeypatch.setattr(archives, "HARMLESS_BYTES", LINE)


def repacked(file, kind, beside=b""):
    """Pack a zip file anew, as torch and numpy.savez do not; `beside` lies in it as it is."""
    with zipfile.ZipFile(file) as there:
        members = {name: there.read(name) for name in there.namelist()}
    with zipfile.ZipFile(file, "w", kind) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
        if beside:
            packed.writestr(next(iter(members)).split("/")[0] + "/beside.bin", beside, zipfile.ZIP_STORED)


def write(file, values, kind=zipfile.ZIP_DEFLATED, beside=b""):
    """Write float32 values (rows, 4) in the file's format."""
    endings = "".join(file.suffixes)
    frame = pd.DataFrame({f"c{place}": column for place, column in enumerate(values.T)})
    if endings == ".npz":
        np.savez(file, x=values)
        repacked(file, kind, beside)
    elif endings == ".parquet":
        frame.to_parquet(file)
    elif endings == ".csv.zip":
        with zipfile.ZipFile(file, "w", kind) as packed:
            packed.writestr("rows.csv", frame.to_csv(index=False))
    elif endings.startswith(".csv"):
        with STREAMS[file.suffix](file, "wb") as stream:
            stream.write(frame.to_csv(index=False).encode())
    else:
        torch.save({"w": torch.from_numpy(values)}, file)
        repacked(file, kind, beside)


def read(file):
    if file.suffix == ".npz":
        return read_npz(str(file), None)["x"]
    if file.suffix == ".parquet":
        return np.stack(list(read_parquet(str(file)).values()), axis=1)
    if ".csv" in file.suffixes:
        return np.stack(list(read_csv(str(file)).columns.values()), axis=1)
    return read_saved(str(file)).tensors[()]["w"].numpy()


ZEROS = np.zeros((LINE // 8, 4), "f4")  # twice what is harmless
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        *itertools.product((".npz", ".pt", ".csv.zip"), (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)),
        *((ending, zipfile.ZIP_DEFLATED) for ending in ENDINGS if ending not in (".npz", ".pt", ".csv.zip")),
    ],
)
def test_refuses_what_grows_beyond_data_with_a_figure(tmp_path, ending, kind):
    file = tmp_path / f"rows{ending}"
    write(file, ZEROS, kind)
    with pytest.raises(StepError, match=r"X112: rows\S+ is not unpacked: its .*B would unpack to .* times as much"):
        read(file)


@SHARED
@given(ending=st.sampled_from(ENDINGS), rows=st.integers(1, 2_000), zeros=st.sampled_from([0.0, 0.5, 0.9]))
def test_reads_data_as_they_were_however_they_are_packed(tmp_path, ending, rows, zeros):
    random = np.random.default_rng(rows)
    values = random.normal(size=(rows, 4)).astype("f4") * (random.random((rows, 4)) >= zeros)
    write(file := tmp_path / f"rows{ending}", values)
    np.testing.assert_allclose(read(file), values, rtol=1e-5)


def test_reads_much_that_is_stored_as_it_is(tmp_path):
    np.savez(tmp_path / "rows.npz", x=np.zeros((LINE, 4), "f4"))
    assert read(tmp_path / "rows.npz").shape == (LINE, 4)


@pytest.mark.parametrize("ending", [".npz", ".pt"])
def test_is_not_misled_by_what_lies_beside(tmp_path, ending):
    file = tmp_path / f"rows{ending}"
    write(file, np.zeros((LINE, 4), "f4"), beside=np.random.default_rng(0).bytes(4 * LINE))
    with pytest.raises(StepError, match="X112"):
        read(file)


def test_makes_no_room_for_what_a_header_only_promises(tmp_path):
    header = io.BytesIO()
    said = {"descr": "<f4", "fortran_order": False, "shape": (1 << 24, 4)}
    np.lib.format.write_array_header_1_0(header, said)
    with zipfile.ZipFile(tmp_path / "rows.npz", "w") as packed:
        packed.writestr("x.npy", header.getvalue() + b"1234")
    tracemalloc.start()
    with pytest.raises(StepError, match=r"X100: rows.npz: x promises 256.0 MiB and holds \d+ B"):
        read(tmp_path / "rows.npz")
    assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    tracemalloc.stop()


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.bz2", ".csv.xz", ".csv.zip", ".npz", ".parquet"])
def test_says_of_a_broken_file_that_it_is_broken(tmp_path, ending):
    write(file := tmp_path / f"rows{ending}", np.ones((9, 4), "f4"))
    file.write_bytes(file.read_bytes()[:-12])
    with pytest.raises(StepError, match="X100"):
        read(file)
