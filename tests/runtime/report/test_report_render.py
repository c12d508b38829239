"""The report operator."""

from titrant.runtime.api import apply
from titrant.runtime.values import ReportFiles


def test_writes_three_files(records, tmp_path):
    applied = apply("report.render", {"record": records.not_proven()}, scratch=tmp_path)
    report = applied.outputs["report"]
    assert isinstance(report, ReportFiles)
    assert sorted(path.name for path in report.folder.iterdir()) == ["report.html", "report.json", "report.md"]
    assert "not proven" in (report.folder / "report.md").read_text(encoding="utf-8")
