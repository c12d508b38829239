"""`titrant inspect --out`: a drawing or a page, and what is refused before any work is done."""

import json

import pytest

SHAPE = json.dumps([{"name": "image", "shape": ["batch", 1, 28, 28]}])
CNN = "titrant.recipes.models:SmallCnn"


def test_writes_a_page_and_prints_a_table_by_block(place):
    done = place.titrant("inspect", CNN, "--inputs", SHAPE, "--out", "cnn.html")
    assert done.code == 0, done.err
    assert done.out.endswith("drawn in cnn.html\n")
    page = (place.folder / "cnn.html").read_text("utf-8")
    assert all(
        f'<section id="{name}"' in page for name in ("facts", "architecture", "complexity", "layers", "parameters")
    )
    assert "Conv2d" in page


@pytest.mark.parametrize(
    ("out", "error"),
    [
        ("net.pdf", "error[X662]: an architecture cannot be saved as net.pdf\n"),
        ("no/net.svg", "error[X721]: no/net.svg cannot be written: there is no folder no\n"),
    ],
)
def test_refuses_a_file_that_it_cannot_write_before_it_looks(place, out, error):
    done = place.titrant("inspect", "missing.onnx", "--out", out)
    assert done.code == 2
    assert done.err.startswith(error)


def test_refuses_to_draw_a_run(place):
    (place.folder / "run").mkdir()
    (place.folder / "run" / "plan.json").write_text("{}")
    done = place.titrant("inspect", "run", "--out", "run.svg")
    assert "error[P014]: --out has nothing to act on in a run" in done.err
