"""Write the three files of a report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.report.html import html_text
from titrant.runtime.report.machine import json_text
from titrant.runtime.report.markdown import markdown_text
from titrant.runtime.report.page import page
from titrant.runtime.report.record_view import read_record


def write_report(record: Mapping[str, Any], folder: Path) -> None:
    """Write report.html, report.md and report.json of a record into a folder that exists.

    The same record always gives the same bytes. Raises StepError X500 when it is not a run record.
    """
    shown = page(read_record(record))
    files = {
        "report.html": html_text(shown),
        "report.md": markdown_text(shown),
        "report.json": json_text(shown, record),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
