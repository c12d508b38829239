"""Reports: a folder of report.html, report.md and report.json."""

import shutil
from pathlib import Path

from titrant.runtime.values import ReportFiles

NAMES = ("report.html", "report.md", "report.json")


def save(value: ReportFiles, folder: Path) -> None:
    """Copy the report's files."""
    for name in NAMES:
        shutil.copyfile(value.folder / name, folder / name)


def load(folder: Path) -> ReportFiles:
    """Refer to the files."""
    return ReportFiles(folder)
