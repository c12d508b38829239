"""Read each kind of data source: tables in files, scikit-learn's sets, factories, random inputs."""

import lzma
import math
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from titrant.runtime.data.columns import LARGEST_WHOLE, array_column, find, frame_columns, repeated_column, rounded
from titrant.runtime.data.parameters import SourceParams, TensorParams
from titrant.runtime.user_code import call, resolve, said_by
from titrant.runtime.values import Table
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.language.nearest import nearest
from titrant.schema.recipe.data import BUNDLED
from titrant.schema.values.archives import DAMAGED, Unpacked, measure_zip
from titrant.schema.values.canonical import canonical_json
from titrant.schema.values.text import first_line, os_reason
from titrant.schema.values.units import format_size


def refuse_too_large(file: Path, size: Unpacked, help: str = "if it really holds so much, store it unpacked") -> None:
    """Refuse a packed file that would fill the memory; StepError X112."""
    if size.too_large:
        raise StepError(Diagnostic("X112", f"{file.name} is not unpacked: its {size}", help=help))


def read_parquet(path: str) -> dict[str, np.ndarray]:
    """Read a Parquet file."""
    import pandas as pd
    import pyarrow as pa

    file = existing(path)
    try:
        _measure_parquet(file)
        _refuse_names(file)
        _refuse_rounding(file)
        frame = pd.read_parquet(file, engine="pyarrow")
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise StepError(unreadable(file, error, "parquet")) from None
    # An index with a name is a column of the file, which pandas alone takes for something else; a count is none.
    named = () if isinstance(frame.index, pd.RangeIndex) else frame.index.names
    kept = [name for name in named if name is not None and name not in frame.columns]
    try:
        return frame_columns(frame.reset_index(level=kept) if kept else frame, file.name)
    except pa.ArrowException as error:  # text is decoded where it is looked at
        raise StepError(unreadable(file, error, "parquet")) from None


def _refuse_names(file: Path) -> None:
    """Refuse a table in which a name stands twice; StepError X109."""
    import pyarrow.parquet

    names = pyarrow.parquet.read_schema(file).names
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise StepError(repeated_column(file.name, twice[0], names))


def _refuse_rounding(file: Path) -> None:
    """Refuse whole numbers beyond 2^53 in a column with gaps, which is read as floats, that hold no such number."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet

    source = pyarrow.parquet.ParquetFile(file)
    for field in source.schema_arrow:
        if not (pa.types.is_int64(field.type) or pa.types.is_uint64(field.type)):
            continue
        column = source.read(columns=[field.name]).column(field.name)
        ends = pc.min_max(column).as_py()
        if column.null_count and ends["max"] is not None and max(-ends["min"], ends["max"]) > LARGEST_WHOLE:
            raise StepError(rounded(field.name, file.name))


# What a value takes in memory, by its physical type; text takes at least a reference.
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}


def _measure_parquet(file: Path) -> None:
    """Refuse a table whose footer says that it would fill the memory: one value repeated takes next to nothing."""
    import pyarrow.parquet

    footer = pyarrow.parquet.ParquetFile(file).metadata
    columns = [footer.schema.column(index) for index in range(footer.num_columns)]
    widths = [_WIDTHS.get(column.physical_type, 8) for column in columns]
    # To ask of a column in a row group ends the process where it is damaged (pyarrow 26): done of series alone.
    series = [index for index, column in enumerate(columns) if column.max_repetition_level]
    size = 0
    for place in range(footer.num_row_groups):
        group = footer.row_group(place)
        further = sum((group.column(index).num_values - group.num_rows) * widths[index] for index in series)
        size += max(group.total_byte_size, group.num_rows * sum(widths) + further)
    help = "if it really holds so much, write it plain: to_parquet(…, compression=None, use_dictionary=False)"
    refuse_too_large(file, Unpacked(file.stat().st_size, size), help)


def read_npz(path: str, selected: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Read the arrays of a NumPy .npz file, or only the selected ones; object arrays are refused, never unpickled."""
    file = existing(path)
    try:
        with np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise StepError(Diagnostic("X100", f"{file.name} holds one array", help="write it with numpy.savez"))
            there = {name: np.empty(0) for name in archive.files}
            for name in selected or ():
                find(there, name, file.name, "data")
            names = archive.files if selected is None else selected
            zipped = archive.zip
            assert zipped is not None  # it is open
            members = {name if name in zipped.namelist() else f"{name}.npy" for name in names}
            help = "if it really holds so much, write it with numpy.savez, which does not pack"
            refuse_too_large(file, measure_zip(file, members), help)
            for member in sorted(members):
                _check_header(zipped, member, file)
            return {name: array_column(_member(archive, name, file), name, file.name) for name in names}
    except DAMAGED as error:
        raise StepError(unreadable(file, error, "npz")) from None


def _check_header(archive: zipfile.ZipFile, member: str, file: Path) -> None:
    """Refuse an array whose header promises more than there is: NumPy makes room for it before it reads."""
    with archive.open(member) as stream:
        if stream.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            return
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        promised = math.prod(shape) * dtype.itemsize
    held = archive.getinfo(member).file_size
    if not dtype.hasobject and promised > held:
        name = member.removesuffix(".npy")
        message = f"{file.name}: {name} promises {format_size(promised)} and holds {format_size(held)}"
        raise StepError(Diagnostic("X100", message, help="write it again, or copy it again"))


def _member(archive: np.lib.npyio.NpzFile, name: str, file: Path) -> np.ndarray:
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


def existing(path: str) -> Path:
    """Return the file of a path; StepError X100 where there is none."""
    file = Path(path)
    if not file.is_file():
        raise StepError(Diagnostic("X100", f"there is no file {path}", help="check the path in `data`"))
    return file


# What these say names numbers of lines and names of members, never what stands in them.
_OF_FORM: tuple[type[Exception], ...] = (EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def unreadable(file: Path, error: Exception, kind: str) -> Diagnostic:
    """Say that a file cannot be read as its kind (X100); what a library says may hold rows, and is kept apart."""
    said = said_by(error)
    if isinstance(error, OSError) and error.errno is not None:
        why, said = os_reason(error), ""
    elif isinstance(error, _OF_FORM):
        why, said = first_line(error), ""
    else:
        why = type(error).__name__
    advice = "check that it is whole and of that format"
    return Diagnostic("X100", f"{file.name} cannot be read as {kind}: {why}", help=advice, said=said)


def read_bundled(name: str) -> Table:
    """Load a set: one column a feature under its scikit-learn name, and `target`, with its class names or as numbers.

    `digits` has the 64 pixels as `pixel_0_0` … `pixel_7_7` (0..16) and, for whoever names it, `image` (rows, 1, 8, 8)
    float32 in 0..1. Raises RecipeError X105 for another name.
    """
    if name not in BUNDLED:
        near = nearest(name, BUNDLED)
        help = f"did you mean {near}?" if near else f"one of {', '.join(BUNDLED)}"
        raise RecipeError(Diagnostic("X105", f"scikit-learn brings no set {name}", help=help))
    from sklearn import datasets

    bundle = getattr(datasets, f"load_{name}")()
    columns = {
        str(feature): np.ascontiguousarray(bundle.data[:, place]) for place, feature in enumerate(bundle.feature_names)
    }
    names = bundle.get("target_names", ())
    columns["target"] = bundle.target.astype(np.int64 if len(names) else np.float64)
    if name == "digits":
        columns["image"] = (bundle.images[:, None] / 16).astype(np.float32)
    return Table(columns, {str(value): str(text) for value, text in enumerate(names)})


def hidden(name: str | None) -> tuple[str, ...]:
    """Columns that are loaded only for whoever names them, because they repeat others."""
    return ("image",) if name == "digits" else ()


# What factories gave that were called already, by reference and arguments.
FactoryAnswers = dict[tuple[str, str], Any]


def read_factory(source: SourceParams, name: str, earlier: FactoryAnswers) -> dict[str, np.ndarray]:
    """Call a data factory and return the columns of one source.

    The factory gives a DataFrame, {array name: array}, or {source name: either}; of the last, `source.part`, or else
    the source's own name, says which. It is called once for all sources of the same arguments, and what it gave enters
    `earlier`: its parts may be drawn at random, and must then come from one draw. Raises StepError X106 and X108,
    RecipeError X110 for a part that is not there.
    """
    reference = source.factory or ""
    asked = (reference, canonical_json(source.args))
    if asked not in earlier:
        called = f"{reference}()" if not source.args else f"{reference}(…)"
        earlier[asked] = call(called, resolve(reference), **source.args)
    made = earlier[asked]
    if _is_named_sources(made):
        made = _part(made, source.part or name, reference)
    elif source.part is not None:
        raise RecipeError(
            Diagnostic("X110", f"{reference} gives one source, none called {source.part}", help="give roles fractions")
        )
    return _columns(made, reference)


def _is_named_sources(made: Any) -> bool:
    return (
        isinstance(made, Mapping) and bool(made) and all(_is_frame(v) or isinstance(v, Mapping) for v in made.values())
    )


def _is_frame(value: Any) -> bool:
    """Tell a DataFrame; whoever made one has imported pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _part(made: Mapping[Any, Any], part: str, reference: str) -> Any:
    if part not in made:
        names = ", ".join(str(name) for name in made)
        raise RecipeError(
            Diagnostic("X110", f"{reference} gives the sources {names}", help="give each role one of them, by name")
        )
    return made[part]


def _columns(made: Any, reference: str) -> dict[str, np.ndarray]:
    if _is_frame(made):
        return frame_columns(made, reference)
    if isinstance(made, Mapping) and all(isinstance(name, str) for name in made):
        return {name: array_column(values, name, reference) for name, values in made.items()}
    raise StepError(
        Diagnostic(
            "X106",
            f"{reference} gave {type(made).__name__}",
            help="return a DataFrame, {array name: array}, or {source name: either}",
        )
    )


def random_table(inputs: Sequence[TensorParams], rows: int, seed: int) -> Table:
    """Draw standard normal numbers for float inputs, 0 or 1 for whole and truth values (valid in any vocabulary).

    Input shapes hold the batch first; RecipeError X126 when another dimension is free.
    """
    generator = np.random.default_rng(seed)
    columns = {}
    for spec in inputs:
        free = [size for size in spec.shape[1:] if not isinstance(size, int)]
        if free:
            raise RecipeError(
                Diagnostic(
                    "X126", f"model input {spec.name} has a free size {free[0]}", help="write a number in `shape`"
                )
            )
        shape = (rows, *(int(size) for size in spec.shape[1:]))
        columns[spec.name] = _draw(generator, shape, spec.dtype)
    return Table(columns, notes=(f"no data: {rows} rows of seeded random inputs",))


def _draw(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return generator.standard_normal(shape, dtype=np.float32)
    return generator.integers(0, 2, shape).astype(dtype)
