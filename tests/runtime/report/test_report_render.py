"""The report operator."""

import json

from titrant.runtime.api import apply
from titrant.runtime.values import ReportFiles


def test_writes_three_files(records, tmp_path):
    applied = apply("report.render", {"record": records.not_proven()}, scratch=tmp_path)
    report = applied.outputs["report"]
    assert isinstance(report, ReportFiles)
    assert sorted(path.name for path in report.folder.iterdir()) == ["report.html", "report.json", "report.md"]
    assert "not proven" in (report.folder / "report.md").read_text(encoding="utf-8")


def test_writes_no_name_of_the_data_that_a_terminal_obeys(records, tmp_path):
    text = json.dumps(records.not_proven(), ensure_ascii=False)
    assert "malignant" in text
    record = json.loads(text.replace("malignant", "\\u001b[31mred\\u0007\\u009b\\u202e"))
    report = apply("report.render", {"record": record}, scratch=tmp_path).outputs["report"]
    for file in report.folder.iterdir():
        written = file.read_text("utf-8")
        assert not set(written) & set("\x1b\x07\x9b\u202e"), file.name
        # Markdown, which is for a pull request, names no class.
        assert ("u001b" in written) == (file.suffix != ".md")
