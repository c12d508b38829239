"""The page on labels: its recipe and its commands, with rows that it speaks of and a labeler who knows the truth."""

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from .conftest import called_here

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "label-only-what-differs.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.S)


def write_rows(folder):
    """Write labeled rows and an archive without labels; returns the findings by examination."""
    generator = np.random.default_rng(3)
    values = generator.normal(size=(21500, 5)).round(4)
    ill = values[:, 0] + values[:, 1] * values[:, 2] + generator.normal(size=len(values)) / 4 > 0
    names = ["age", "pressure", "rate", "sugar", "weight"]
    for name, part, label in (("labeled", range(1500), "finding"), ("archive", range(1500, 21500), "")):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*names, "examination", *([label] if label else [])])
            for place in part:
                finding = ["ill" if ill[place] else "well"] if label else []
                writer.writerow([*values[place], f"E{place}", *finding])
    return {f"E{place}": "ill" if ill[place] else "well" for place in range(len(values))}


@pytest.mark.slow
@pytest.mark.usefixtures("warm_workers")
def test_goes_the_way_that_the_page_shows(tmp_path):
    recipe, beside = blocks("yaml")
    labels = f"  {re.search(r'labels: [a-z.]+', beside)[0]}\n"
    findings = write_rows(tmp_path)
    (tmp_path / "reading.yaml").write_text(recipe)
    for block in blocks("bash"):
        if (tmp_path / "rows.csv").exists():
            fill_in(tmp_path, findings)
            (tmp_path / "reading.yaml").write_text(recipe.replace("train: {epochs", labels + "train: {epochs", 1))
        for line in block.splitlines():
            command, _, comment = line.partition("  #")
            code = int(re.search(r"exit (\d+)", comment)[1]) if comment else 0
            assert command.startswith("titrant "), command
            ended, out, err = called_here(tmp_path, tmp_path / "home", *shlex.split(command)[1:])
            assert ended == code, f"{command}\n{out}{err}"
    said = " ".join(out.split())
    assert "without a label" not in said
    assert "reading: PASS" in said


def fill_in(folder, findings):
    """Label every row that was written, by the examination that names it."""
    with (folder / "rows.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert lines
    assert "examination" not in lines[0]
    with (folder / "done.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows({**line, "titrant_label": findings[line["titrant_row"]]} for line in lines)
