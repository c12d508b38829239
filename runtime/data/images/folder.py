"""Find the images of a folder and their classes, and count by kind what is passed over."""

import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from titrant.runtime.data.images.dicom import SUFFIXES as DICOM_SUFFIXES
from titrant.runtime.data.images.dicom import is_dicom
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.files import files_below
from titrant.schema.values.frozen import dataclass

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")

# What archives, desktops and scanners leave beside images.
_SYSTEM_FOLDERS = ("__macosx",)
_SYSTEM_FILES = ("thumbs.db", "desktop.ini", "ehthumbs.db", "dicomdir")
# Suffixes that are named, since they say what a file is; any other could be part of a patient's name.
_NAMED = (
    ".avif", ".csv", ".db", ".gz", ".h5", ".heic", ".html", ".ini", ".jp2", ".json", ".jxl", ".log", ".md", ".mha",
    ".mhd",
    ".mp4", ".nii", ".nii.gz", ".npy", ".npz", ".nrrd", ".parquet", ".pdf", ".psd", ".py", ".rar", ".svg", ".tar",
    ".tfrecord",
    ".tsv", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".zip",
)  # fmt: skip
HIDDEN, SYSTEM, BROKEN, OTHER = "hidden", "system", "broken", "other"
_WORDS: Mapping[str, str] = {
    HIDDEN: "{} hidden", SYSTEM: "{} of the system", BROKEN: "{} linked to nothing", OTHER: "{} of another kind",
}  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """The images of a folder in the order of their names, the class of each, and what is passed over.

    `classes` are () for a flat folder. `passed` counts files by kind: hidden, system, broken, other, or a suffix.
    `empty` is how many class folders hold no image, `deeper` how many images lie in a subfolder of theirs.
    """

    files: tuple[Path, ...]
    classes: tuple[str, ...]
    passed: Mapping[str, int]
    empty: int = 0
    deeper: int = 0

    def name(self, place: int, *, by_class: bool) -> str:
        """Name an image by its place among those of its class, by file name: the name of a file may be a patient's."""
        if not by_class or not self.classes:
            return f"image {place + 1:,}"
        name = self.classes[place]
        return f"image {place - self.classes.index(name) + 1:,} of class {name}"


def list_images(folder: Path) -> Listing:
    """List a folder whose subfolders are classes, or a flat one; StepError X107 where it has no images, or is both."""
    if not folder.is_dir():
        raise StepError(Diagnostic("X107", f"there is no folder {folder}", help="check `image_folder`"))
    passed: Counter[str] = Counter()
    flat: list[Path] = []
    by_class: dict[str, list[Path]] = {}
    for file in files_below(folder):
        kind = _kind(file, file.relative_to(folder).parts)
        if kind:
            passed[kind] += 1
        elif file.parent == folder:
            flat.append(file)
        else:
            by_class.setdefault(file.relative_to(folder).parts[0], []).append(file)
    named = _normalized(by_class)
    _refuse_mixed(folder, len(flat), bool(by_class))
    if not flat and not by_class:
        raise _no_images(folder, passed)
    files = sorted(flat) or [file for files in named.values() for file in sorted(files)]
    classes = tuple(name for name, files in named.items() for _ in files)
    empty = _without(folder, by_class) if by_class else 0
    deeper = sum(len(file.relative_to(folder).parts) > _IN_CLASS for file in files)
    return Listing(tuple(files), classes, dict(sorted(passed.items())), empty, deeper)


# class/file
_IN_CLASS = 2
_SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation")


def refuse_other_levels(folder: Path, listing: Listing) -> None:
    """Raise StepError X107 where class folders lie deeper: below the splits of a data set, or below a lone folder."""
    names = tuple(dict.fromkeys(listing.classes))
    if not names or listing.deeper < len(listing.files):
        return
    if all(name.casefold() in _SPLITS for name in names):
        message = f"the subfolders of {folder.name} are {', '.join(names)}, which are splits and no classes"
        sources = ", ".join(f"{name}: {{image_folder: …/{name}}}" for name in names)
        help = f"write `data: {{sources: {{{sources}}}}}`, and in `split` what each is for"
        raise StepError(Diagnostic("X107", message, help=help))
    if len(names) == 1:
        message = f"the only subfolder of {folder.name} is {names[0]}, and all images lie in subfolders of that"
        help = f"name the folder whose subfolders are the classes, such as {folder.name}/{names[0]}"
        raise StepError(Diagnostic("X107", message, help=help))


def image_names(path: str) -> list[str]:
    """Name the images of a folder by their paths within it, in the order in which they are read."""
    return [file.relative_to(path).as_posix() for file in list_images(Path(path)).files]


def passed_over(listing: Listing) -> tuple[str, ...]:
    """Say what is no image, counted by kind."""
    notes = []
    if total := sum(listing.passed.values()):
        files = "1 file is" if total == 1 else f"{total:,} files are"
        notes.append(f"{files} passed over as no image: {kinds_in_words(listing.passed)}")
    if listing.empty:
        folders = "1 subfolder has" if listing.empty == 1 else f"{listing.empty:,} subfolders have"
        notes.append(f"{folders} no image and so no class")
    if listing.deeper:
        images = "1 image lies" if listing.deeper == 1 else f"{listing.deeper:,} images lie"
        notes.append(f"{images} in subfolders of class folders, and the outer folder is the class")
    return tuple(notes)


def kinds_in_words(passed: Mapping[str, int]) -> str:
    """List what was passed over, as `20 hidden, 1 of the system, 3 .txt`."""
    return ", ".join(_WORDS.get(kind, f"{{}} {kind}").format(f"{count:,}") for kind, count in passed.items())


def _kind(file: Path, parts: tuple[str, ...]) -> str:
    """Return why a file is no image, "" for one that is."""
    if any(part.lower() in _SYSTEM_FOLDERS for part in parts) or file.name.lower() in _SYSTEM_FILES:
        return SYSTEM
    if any(part.startswith(".") for part in parts):
        return HIDDEN
    if not file.exists():
        return BROKEN
    if not file.is_file():
        return OTHER
    name = file.name.lower()
    if file.suffix.lower() in (*SUFFIXES, *DICOM_SUFFIXES):
        return ""
    suffix = next((suffix for suffix in sorted(_NAMED, key=len, reverse=True) if name.endswith(suffix)), "")
    if suffix:
        return suffix
    return "" if is_dicom(file) else OTHER


def _normalized(by_class: Mapping[str, list[Path]]) -> dict[str, list[Path]]:
    """Write the names of classes in Unicode's form NFC, as macOS does not; StepError X107 where two become one."""
    named: dict[str, list[Path]] = {}
    for name in sorted(by_class):
        normal = unicodedata.normalize("NFC", name)
        if normal in named:
            message = f"two class folders are both called {normal}, in two forms of Unicode"
            raise StepError(Diagnostic("X107", message, help="move their images into one of them"))
        named[normal] = by_class[name]
    return named


def _refuse_mixed(folder: Path, flat: int, has_classes: bool) -> None:
    if flat and has_classes:
        message = f"{folder.name} has {flat} images beside its class folders"
        raise StepError(Diagnostic("X107", message, help="move them into a class folder, or out of the folder"))


def _no_images(folder: Path, passed: Mapping[str, int]) -> StepError:
    there = f": there are {kinds_in_words(passed)}" if passed else ""
    help = f"titrant reads {', '.join(SUFFIXES)} and DICOM"
    if any(kind in passed for kind in (".nii", ".nii.gz")):
        help = "NIfTI is read by a data factory of ten lines: the how-to on medical images has it"
    return StepError(Diagnostic("X107", f"{folder.name} has no images{there}", help=help))


def _without(folder: Path, by_class: Mapping[str, list[Path]]) -> int:
    def counts(name: str) -> bool:
        return not name.startswith(".") and name.lower() not in _SYSTEM_FOLDERS and name not in by_class

    return sum(child.is_dir() and counts(child.name) for child in folder.iterdir())
