"""Read each kind of data source: tables in files, image folders, scikit-learn's sets, factories, random inputs."""

import lzma
import math
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from titrant.runtime.data.columns import array_column, find, frame_columns, repeated_column
from titrant.runtime.data.parameters import SourceParams, TensorParams
from titrant.runtime.user_code import call, resolve, said_by
from titrant.runtime.values import Table
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.language.nearest import nearest
from titrant.schema.recipe.data import BUNDLED
from titrant.schema.values.archives import Unpacked, is_packed_stream, measure_stream, measure_zip
from titrant.schema.values.text import first_line, os_reason
from titrant.schema.values.units import format_size

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")


def read_csv(path: str) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Read a comma-separated file with a header line, and notes.

    A first column without a name is an index that some writer added, and is left out. StepError X100 for what is no
    such file, X109 for a name that stands twice.
    """
    import pandas as pd

    file = _existing(path)
    _measure_csv(file)
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
        raise StepError(repeated_column(file.name, twice[0], list(names)))
    notes: tuple[str, ...] = ()
    if len(frame.columns) and str(frame.columns[0]).startswith("Unnamed:"):
        frame, notes = frame.iloc[:, 1:], (f"the first column of {file.name} has no name and is left out as an index",)
    return frame_columns(frame, file.name), notes


def _measure_csv(file: Path) -> None:
    """Refuse a packed file that would fill the memory; StepError X112."""
    try:
        if is_packed_stream(file):
            _refuse_too_large(file, measure_stream(file))
        elif file.suffix.lower() == ".zip":
            _refuse_too_large(file, measure_zip(file))
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise StepError(_unreadable(file, error, "csv")) from None


def _refuse_too_large(file: Path, size: Unpacked, help: str = "if it really holds so much, store it unpacked") -> None:
    if size.too_large:
        raise StepError(Diagnostic("X112", f"{file.name} is not unpacked: its {size}", help=help))


def read_parquet(path: str) -> dict[str, np.ndarray]:
    """Read a Parquet file."""
    import pandas as pd
    import pyarrow as pa

    file = _existing(path)
    try:
        _measure_parquet(file)
        frame = pd.read_parquet(file, engine="pyarrow")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StepError(_unreadable(file, error, "parquet")) from None
    return frame_columns(frame, file.name)


# What a value takes in memory, by its physical type; text takes at least a reference.
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}


def _measure_parquet(file: Path) -> None:
    """Refuse a table whose footer says that it would fill the memory: one value repeated takes next to nothing."""
    import pyarrow.parquet

    footer = pyarrow.parquet.ParquetFile(file).metadata
    size = 0
    for place in range(footer.num_row_groups):
        group = footer.row_group(place)
        for column in (group.column(index) for index in range(group.num_columns)):
            size += max(column.total_uncompressed_size, column.num_values * _WIDTHS.get(column.physical_type, 8))
    help = "if it really holds so much, write it plain: to_parquet(…, compression=None, use_dictionary=False)"
    _refuse_too_large(file, Unpacked(file.stat().st_size, size), help)


def read_npz(path: str, selected: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Read the arrays of a NumPy .npz file, or only the selected ones; object arrays are refused, never unpickled."""
    file = _existing(path)
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
            _refuse_too_large(file, measure_zip(file, members), help)
            for member in sorted(members):
                _check_header(zipped, member, file)
            return {name: array_column(_member(archive, name, file), name, file.name) for name in names}
    except (OSError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise StepError(_unreadable(file, error, "npz")) from None


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


def _existing(path: str) -> Path:
    file = Path(path)
    if not file.is_file():
        raise StepError(Diagnostic("X100", f"there is no file {path}", help="check the path in `data`"))
    return file


# What these say names numbers of lines and names of members, never what stands in them.
_OF_FORM: tuple[type[Exception], ...] = (EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def _unreadable(file: Path, error: Exception, kind: str) -> Diagnostic:
    import pandas as pd

    said = said_by(error)
    if isinstance(error, UnicodeDecodeError):
        why, said = f"it is not UTF-8 text at byte {error.start:,}", ""
    elif isinstance(error, OSError) and error.errno is not None:
        why, said = os_reason(error), ""
    elif isinstance(error, (*_OF_FORM, pd.errors.ParserError, pd.errors.EmptyDataError)):
        why, said = first_line(error), ""
    else:
        why = type(error).__name__
    advice = "check that it is whole and of that format"
    return Diagnostic("X100", f"{file.name} cannot be read as {kind}: {why}", help=advice, said=said)


def read_images(path: str, *, label: str | None, resize: bool) -> dict[str, np.ndarray]:
    """Read images as `image` (rows, 3, height, width) float32 in 0..1 and, from class folders, their names as text.

    `label` is the column to give the class names; None leaves them out. Files are taken in the order of their names.
    With a resize transform to follow, images may differ in size: then `image` is an object array of (3, height,
    width). Raises StepError X107.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise StepError(Diagnostic("X107", f"there is no folder {path}", help="check `image_folder`"))
    flat, by_class = _images(folder)
    if flat and by_class:
        raise StepError(
            Diagnostic(
                "X107",
                f"{folder.name} has {len(flat)} images beside its class folders",
                help="move them into a class folder, or out of the folder",
            )
        )
    files = flat or [file for _, file in by_class]
    if not files:
        raise StepError(Diagnostic("X107", f"{folder.name} has no images", help=f"titrant reads {', '.join(SUFFIXES)}"))
    named = partial(_image_name, by_class, label)
    images = [_decode(file, named, place) for place, file in enumerate(files)]
    columns = {"image": _stacked(images, named, resize)}
    if by_class and label is not None:
        columns[label] = np.array([name for name, _ in by_class], dtype=str)
    return columns


def _images(folder: Path) -> tuple[list[Path], list[tuple[str, Path]]]:
    """List the images of a folder itself, and those of its subfolders with the subfolder's name, by name."""
    flat = [file for file in sorted(folder.iterdir()) if _is_image(file)]
    classes = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")]
    return flat, [(child.name, file) for child in classes for file in sorted(child.rglob("*")) if _is_image(file)]


def image_names(path: str) -> list[str]:
    """Name the images of a folder by their paths within it, in the order in which `read_images` reads them."""
    flat, by_class = _images(Path(path))
    return [file.relative_to(path).as_posix() for file in flat or [file for _, file in by_class]]


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _image_name(by_class: Sequence[tuple[str, Path]], label: str | None, place: int) -> str:
    """Name an image by its place among those of its class, by file name: the name of a file may be a patient's."""
    if not by_class or label is None:
        return f"image {place + 1:,}"
    name = by_class[place][0]
    before = next(number for number, (other, _) in enumerate(by_class) if other == name)
    return f"image {place - before + 1:,} of class {name}"


def _decode(file: Path, named: Callable[[int], str], place: int) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        unread = (
            "it is no image that Pillow knows",
            "it has more pixels than Pillow decodes",
            "it is damaged or cut short",
        )
        kinds = (UnidentifiedImageError, Image.DecompressionBombError)
        why = next((text for kind, text in zip(kinds, unread, strict=False) if isinstance(error, kind)), unread[-1])
        if isinstance(error, OSError) and error.errno is not None:
            why = os_reason(error)
        message = f"{named(place)}, in the order of the files' names, cannot be decoded: {why}"
        said = f"{file.parent.name}/{file.name}: {said_by(error)}"
        raise StepError(Diagnostic("X107", message, help="take the file out", said=said)) from None
    return pixels.transpose(2, 0, 1)


def _stacked(images: list[np.ndarray], named: Callable[[int], str], resize: bool) -> np.ndarray:
    if all(image.shape == images[0].shape for image in images):
        stacked = np.empty((len(images), *images[0].shape), dtype=np.float32)
        for place, image in enumerate(images):
            np.divide(image, np.float32(255), out=stacked[place])
        return stacked
    if not resize:
        other = next(place for place, image in enumerate(images) if image.shape != images[0].shape)
        raise StepError(
            Diagnostic(
                "X107",
                f"images differ in size: {named(0)} is {_size(images[0])} and {named(other)} {_size(images[other])}",
                help="add a transform such as `- resize: {height: 224, width: 224}`",
            )
        )
    ragged = np.empty(len(images), dtype=object)
    for place, image in enumerate(images):
        ragged[place] = image.astype(np.float32) / np.float32(255)
    return ragged


def _size(image: np.ndarray) -> str:
    return f"{image.shape[2]} x {image.shape[1]}"


def read_bundled(name: str) -> Table:
    """Load a set: one column a feature under its scikit-learn name, and `target` with its class names.

    `digits` has the 64 pixels as `pixel_0_0` … `pixel_7_7` (0..16) and, for whoever names it, `image` (rows, 1, 8, 8)
    float32 in 0..1. Raises RecipeError X105 for another name.
    """
    if name not in BUNDLED:
        near = nearest(name, BUNDLED)
        help = f"did you mean {near}?" if near else f"one of {', '.join(BUNDLED)}"
        raise RecipeError(Diagnostic("X105", f"scikit-learn brings no classification set {name}", help=help))
    from sklearn import datasets

    bundle = getattr(datasets, f"load_{name}")()
    columns = {
        str(feature): np.ascontiguousarray(bundle.data[:, place]) for place, feature in enumerate(bundle.feature_names)
    }
    columns["target"] = bundle.target.astype(np.int64)
    if name == "digits":
        columns["image"] = (bundle.images[:, None] / 16).astype(np.float32)
    return Table(columns, {str(value): str(text) for value, text in enumerate(bundle.target_names)})


def hidden(name: str | None) -> tuple[str, ...]:
    """Columns that are loaded only for whoever names them, because they repeat others."""
    return ("image",) if name == "digits" else ()


def read_factory(source: SourceParams, name: str) -> dict[str, np.ndarray]:
    """Call a data factory and return the columns of one source.

    The factory gives a DataFrame, {array name: array}, or {source name: either}; of the last, `source.part`, or else
    the source's own name, says which. Raises StepError X106 and X108, RecipeError X110 for a part that is not there.
    """
    reference = source.factory or ""
    made = call(f"{reference}()" if not source.args else f"{reference}(…)", resolve(reference), **source.args)
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
    import pandas as pd

    return isinstance(value, pd.DataFrame)


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
