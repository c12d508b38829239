"""Turn the bytes of a delimited file into text: unpack them, and find out or check their encoding."""

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

# What a file may begin with; the longer ones of UTF-32 hold those of UTF-16.
_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UTF8 = ("utf-8", "utf-8-sig")
# The bit of a zip member that says so.
_ENCRYPTED = 1
_UNPACK: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}
# What cp1252 makes of Cyrillic, Greek, Asian or old Macintosh and DOS texts: three letters with accents in a row, a
# large one behind a small one, a sign between two letters, a florin sign before one.
_HIGH = "À-ÖØ-öø-ÿŠŽŒšžœŸƒ"
_MISREAD = re.compile(
    rf"[{_HIGH}]{{3}}|[a-zß-öø-ÿšžœ][À-ÖØ-ÞŠŽŒŸ]"
    rf"|[A-Za-z{_HIGH}][^\x00-\x7f{_HIGH}’‘´·–—\u00a0\u00ad][A-Za-z{_HIGH}]|ƒ[A-Za-z]"
)


def unpacked(file: Path) -> bytes:
    """Return a file's bytes, those inside where it is packed by its name's ending; StepError X100 for another packing.

    One of DAMAGED where it is broken.
    """
    suffix, raw = file.suffix.lower(), file.read_bytes()
    if suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = [member for member in archive.namelist() if not member.endswith("/")]
            if len(members) != 1:
                message = f"{file.name} cannot be read as csv: it holds {len(members)} files"
                raise StepError(Diagnostic("X100", message, help="pack one file alone, or unpack it"))
            if archive.getinfo(members[0]).flag_bits & _ENCRYPTED:
                message = f"{file.name} cannot be read as csv: it is locked by a password"
                raise StepError(Diagnostic("X100", message, help="unpack it"))
            return archive.read(members[0])
    if suffix in (".zst", ".tar", ".tgz", ".7z"):
        message = f"{file.name} cannot be read as csv: titrant unpacks {', '.join(_UNPACK)} and .zip"
        raise StepError(Diagnostic("X100", message, help="unpack it"))
    return _UNPACK[suffix](raw) if suffix in _UNPACK else raw


def decode(raw: bytes, name: str, stated: str | None) -> tuple[str, str]:
    """Return the text and its encoding: the `stated` one, else that of its mark, UTF-8, or Windows' for the West.

    Raises StepError X234 where it has another one, X235 where it is not what is stated.
    """
    if stated is not None:
        return _as_stated(raw, name, stated), stated
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return _marked(raw, name, encoding), encoding
    if b"\0" in raw:
        raise StepError(_with_zeros(raw, name))
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        place = error.start
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError:
        text = ""
    if not text or _MISREAD.search(text):
        advice = "write the encoding it was saved in, such as `csv: {path: …, encoding: cp1250}`, or save it as UTF-8"
        message = f"{name} is not UTF-8 text at byte {place:,}, and does not look like cp1252 (Western Windows) either"
        raise StepError(Diagnostic("X234", message, help=advice))
    return text, "cp1252"


def _as_stated(raw: bytes, name: str, stated: str) -> str:
    try:
        text = raw.decode(stated)
    except UnicodeDecodeError as error:
        message = f"{name} is not {stated} text at byte {error.start:,}"
        raise StepError(
            Diagnostic("X235", message, help="take `encoding` out, to have it found, or write another one")
        ) from None
    if "\0" in text:
        message = f"{name}, read as {stated}, holds null characters, the first as character {text.index(chr(0)) + 1:,}"
        raise StepError(Diagnostic("X235", message, help="take `encoding` out, to have it found, or write another one"))
    return text.removeprefix("\ufeff")


def _marked(raw: bytes, name: str, encoding: str) -> str:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        message = f"{name} begins as {encoding} text does, and is none at byte {error.start:,}"
        raise StepError(Diagnostic("X100", message, help="copy or save it again")) from None
    if "\0" in text:
        message = f"{name} holds null characters, the first as character {text.index(chr(0)) + 1:,}"
        raise StepError(Diagnostic("X100", message, help="save it again as text"))
    return text


def _with_zeros(raw: bytes, name: str) -> Diagnostic:
    """Tell UTF-16 without a mark, where every other byte of plain letters is 0, from what is no text."""
    sample = raw[: 1 << 16]
    low, high = (sample[start::2].count(0) / max(1, len(sample[start::2])) for start in (0, 1))
    for share, other, encoding in ((high, low, "utf-16-le"), (low, high, "utf-16-be")):
        if share > 0.4 and other < 0.1:
            message = f"{name} seems to be UTF-16 text without the mark that says so"
            return Diagnostic("X234", message, help=f"write `csv: {{path: …, encoding: {encoding}}}`")
    message = f"{name} holds bytes of value 0, the first at byte {raw.index(0):,}: it is no text, or a damaged one"
    return Diagnostic("X100", message, help="check that it is a csv file, and save it again as UTF-8")
