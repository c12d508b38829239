"""Pack a run's folder into one file, compressed and, with a key, sealed; read and unpack it again.

A packed run is a tar archive in gzip: any tool opens one that is not sealed. The same run gives the same bytes: names
are sorted, and times and owners left out. A sealed one differs each time, since its key is salted.
"""

import contextlib
import gzip
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from titrant.runtime.store.placed import forged
from titrant.runtime.store.run_folder import RECORD
from titrant.schema.config.sealed import MAGIC, SealedReader, SealedWriter, is_sealed, key_from_environment
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.text import os_reason

_FILE_MODE, _FOLDER_MODE = 0o644, 0o755
_COPY_BYTES = 1 << 18


def pack(run: Path, file: Path, *, key: str | None) -> None:
    """Write a run's folder into a new file, sealed where there is a key; links in it are left out.

    Nothing is held in memory but a piece of a file. Raises RecipeError X595 where the file cannot be written.
    """
    if file.exists() or file.is_symlink():
        raise _unwritable(file, "it is there already", "name a new file")
    if file.resolve().is_relative_to(run.resolve()):
        raise _unwritable(file, "it lies in the run that it is to hold", "name a file elsewhere")
    unfinished = file.with_name(f".{file.name[:100]}.{os.getpid()}")
    try:
        with unfinished.open("xb") as stream:
            _write(run, stream, key)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(file)
    except OSError as error:
        raise _unwritable(file, os_reason(error), "name a file in a folder with room that you may write to") from None
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _write(run: Path, stream: IO[bytes], key: str | None) -> None:
    sealing = None if key is None else SealedWriter(stream, key)
    outer = stream if sealing is None else sealing
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=outer, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in _entries(run):
            name = f"{run.name}/{path.relative_to(run).as_posix()}"
            if path.is_dir():
                archive.addfile(_member(name, _FOLDER_MODE, tarfile.DIRTYPE))
                continue
            with path.open("rb") as source:
                member = _member(name, _FILE_MODE, tarfile.REGTYPE)
                member.size = os.fstat(source.fileno()).st_size
                archive.addfile(member, source)
    if sealing is not None:
        sealing.close()


def _member(name: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.type = mode, kind
    return member


def _entries(run: Path) -> Iterator[Path]:
    """Yield folders and regular files below a folder, sorted, without following or yielding links."""
    for entry in sorted(run.iterdir()):
        if entry.is_symlink():
            continue
        if entry.is_dir():
            yield entry
            yield from _entries(entry)
        elif entry.is_file():
            yield entry


def packed_file(file: Path, name: str) -> bytes | None:
    """Return one file of a packed run, by its path in the run's folder, once the whole pack was read and is intact.

    None where it has no such file. Raises RecipeError X596 where the pack is damaged, R216 or R217 where it is sealed
    and does not open.
    """
    contents: list[bytes] = []

    def take(path: PurePosixPath, source: IO[bytes] | None) -> None:
        if source is not None and path.as_posix() == name:
            contents.append(source.read())

    _read(file, take)
    return contents[-1] if contents else None


def unpack(file: Path, folder: Path) -> None:
    """Unpack a run into a new folder, which appears whole or not at all.

    What the run put out is compared with its journal and record, as it is wherever a run is read. Raises RecipeError
    as `packed_file`, and X595 where the folder cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise _unwritable(folder, "it is there already", "name a new folder")
    unfinished = folder.with_name(f".{folder.name[:100]}.{os.getpid()}")
    try:
        _extract(unfinished, None)
        _read(file, lambda path, source: _extract(unfinished / path, source))
        wrong = forged(unfinished)
        if wrong is not None:
            raise _damaged(file, f"{wrong.path.relative_to(unfinished)}: {wrong.why}")
        with _writing():
            unfinished.rename(folder)
    except _UnwrittenError as error:
        raise _unwritable(folder, str(error), "name a folder with room that you may write to") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


class _UnwrittenError(Exception):
    """What is unpacked cannot be written: nothing is wrong with the pack."""


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _UnwrittenError(os_reason(error)) from None


def _extract(target: Path, source: IO[bytes] | None) -> None:
    """Write a file, or make a folder where there is no source."""
    with _writing():
        (target if source is None else target.parent).mkdir(parents=True, exist_ok=True)
        if source is None:
            return
        written = target.open("xb")
    with written:
        while piece := source.read(_COPY_BYTES):
            with _writing():
                written.write(piece)


def _read(file: Path, take: Callable[[PurePosixPath, IO[bytes] | None], None]) -> None:
    """Hand on every path of a pack below its run's folder, with its content (None for a folder), to the pack's end.

    Raises RecipeError at what is damaged or does not belong there, at the latest after the last path.
    """
    run, has_record = "", False
    try:
        with file.open("rb") as stream:
            head = stream.read(len(MAGIC))
            stream.seek(0)
            inner: IO[bytes] = (
                io.BufferedReader(SealedReader(stream, key_from_environment(), str(file)))
                if is_sealed(head)
                else stream
            )
            with gzip.GzipFile(fileobj=inner) as compressed:
                with tarfile.open(fileobj=compressed, mode="r|") as archive:
                    for member in archive:
                        path = PurePosixPath(member.name)
                        run = run or next(iter(path.parts), "")
                        if ".." in path.parts or path.is_absolute() or path.parts[:1] != (run,):
                            raise _damaged(file, f"`{member.name}` leads out of the run's folder")
                        if member.issparse() or not (member.isreg() or member.isdir()):
                            raise _damaged(file, f"`{member.name}` is neither a file nor a folder")
                        below = path.relative_to(run)
                        has_record |= below.as_posix() == RECORD
                        if below.parts:
                            take(below, archive.extractfile(member) if member.isreg() else None)
                # Only the end of both streams says that they are whole, and that nothing follows.
                while compressed.read(_COPY_BYTES):
                    pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _damaged(file, str(error)) from None
    except OSError as error:
        raise _damaged(file, os_reason(error)) from None
    if not has_record:
        raise _damaged(file, f"it has no {RECORD}")


def _unwritable(file: Path, why: str, advice: str) -> RecipeError:
    return RecipeError(Diagnostic("X595", f"{file} cannot be written: {why}", help=advice))


def _damaged(file: Path, why: str) -> RecipeError:
    advice = "name a file that `titrant report --pack` wrote, or pack the run again"
    return RecipeError(Diagnostic("X596", f"{file} is no packed run that is whole: {why}", help=advice))
