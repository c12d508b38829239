"""Read csv, parquet and npz files."""

import warnings
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from titrant.runtime.data.columns import array_column, find, frame_columns
from titrant.schema.diagnostics import Diagnostic, StepError


def read_csv(path: str) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Read a comma-separated file with a header line, and notes.

    A first column without a name is an index that some writer added, and is left out. StepError X100 for what is no
    such file, X109 for a name that stands twice.
    """
    import pandas as pd

    file = _existing(path)
    try:
        with warnings.catch_warnings():
            # Else rows with more values than the header has names would lose some, or move by a column.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(file, low_memory=False, index_col=False)
        header = pd.read_csv(file, header=None, nrows=1, dtype=str, keep_default_na=False)
    except pd.errors.ParserWarning:
        message = f"{file.name} cannot be read as csv: its rows have more values than its header has names"
        raise StepError(Diagnostic("X100", message, help="give every column a name in the first line")) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise StepError(_unreadable(file, error, "csv")) from None
    names = Counter(str(name) for name in header.iloc[0])
    if twice := [name for name, count in names.items() if count > 1 and name]:
        message = f"{file.name} has the column {twice[0]} twice"
        raise StepError(Diagnostic("X109", message, help="give each column a name of its own"))
    notes: tuple[str, ...] = ()
    if len(frame.columns) and str(frame.columns[0]).startswith("Unnamed:"):
        frame, notes = frame.iloc[:, 1:], (f"the first column of {file.name} has no name and is left out as an index",)
    return frame_columns(frame, file.name), notes


def read_parquet(path: str) -> dict[str, np.ndarray]:
    """Read a Parquet file."""
    import pandas as pd
    import pyarrow as pa

    file = _existing(path)
    try:
        frame = pd.read_parquet(file, engine="pyarrow")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StepError(_unreadable(file, error, "parquet")) from None
    return frame_columns(frame, file.name)


def read_npz(path: str, wanted: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Read the arrays of a NumPy .npz file, or only the wanted ones; object arrays are refused, never unpickled."""
    file = _existing(path)
    try:
        with np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise StepError(Diagnostic("X100", f"{file.name} holds one array", help="write it with numpy.savez"))
            there = {name: np.empty(0) for name in archive.files}
            for name in wanted or ():
                find(there, name, file.name, "data")
            names = archive.files if wanted is None else wanted
            return {name: array_column(_member(archive, name, file), name, file.name) for name in names}
    except (OSError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise StepError(_unreadable(file, error, "npz")) from None


def _member(archive: "np.lib.npyio.NpzFile", name: str, file: Path) -> np.ndarray:
    try:
        member: np.ndarray = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise StepError(
            Diagnostic(
                "X100",
                f"{file.name}: {name} holds Python objects, which titrant does not unpickle",
                help=f"save {name} as numbers or fixed-width text: array.astype(str)",
            )
        ) from None
    return member


def _existing(path: str) -> Path:
    file = Path(path)
    if not file.is_file():
        raise StepError(Diagnostic("X100", f"there is no file {path}", help="check the path in `data`"))
    return file


def _unreadable(file: Path, error: Exception, kind: str) -> Diagnostic:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return Diagnostic(
        "X100", f"{file.name} cannot be read as {kind}: {line}", help="check that it is whole and of that format"
    )
