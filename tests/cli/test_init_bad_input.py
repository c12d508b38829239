"""`init`, `inspect` and `optimize` on what is no model and no data: a line, what mends it, never a traceback."""

import contextlib
import io
import json
import unicodedata
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx  # noqa: TID253 - the tests damage tiny graphs
import pytest
import torch  # noqa: TID253 - the tests damage tiny weights
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253
from PIL import Image
from safetensors.numpy import save_file

from titrant.cli.main import main


def graph(broken=False):
    weight = np.arange(6, dtype=np.float32).reshape(3, 2)
    weight[0, 0] = np.nan if broken else 1
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 3), ("y", 2)))
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    made = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weight, "w")])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def table(rows=60):
    values = np.random.default_rng(0).normal(size=(rows, 3))
    lines = [f"{a:.4f},{b:.4f},{c:.4f},{int(a > 0)}" for a, b, c in values]
    return "\n".join(["one,two,three,sick", *lines]) + "\n"


@cache
def whole() -> dict[str, bytes]:
    """Make one sound file of each kind, by suffix."""
    import pandas as pd

    with TemporaryDirectory() as folder:
        place = Path(folder)
        onnx.save(graph(), place / "a.onnx")
        values = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
        np.savez(place / "a.npz", x=values, sick=(values[:, 0] > 0).astype(int))
        (place / "a.csv").write_text(table(), "utf-8")
        pd.read_csv(io.StringIO(table())).to_parquet(place / "a.parquet")
        torch.save({"first.weight": torch.zeros(2, 3)}, place / "a.pt")
        save_file({"w": np.zeros((2, 3), np.float32)}, place / "a.safetensors")
        Image.new("RGB", (4, 4)).save(place / "a.png")
        (place / "a.yaml").write_text("titrant: 1\n", "utf-8")
        (place / "a.json").write_text("{}", "utf-8")
        return {file.suffix: file.read_bytes() for file in place.iterdir()}


SUFFIXES = (".onnx", ".npz", ".csv", ".parquet", ".pt", ".safetensors", ".png", ".yaml", ".json")
NAMES = (
    "model",
    "Ünï cödé",
    unicodedata.normalize("NFD", "é"),
    "a b",
    "it's",
    "日本",
    "a\nb",
    "#x",
    "net:Net",
    "a=b",
    "%s{}",
)


def damaged(content: bytes, how: str, at: float) -> bytes:
    place = int(at * max(1, len(content) - 1))
    return {
        "whole": content,
        "half": content[:place],
        "empty": b"",
        "flipped": content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :],
        "text": b"hello, world\n",
        "zeros": bytes(64),
    }[how]


@st.composite
def files(draw):
    """Draw a name, its content, or that there is a folder or nothing."""
    kind = draw(st.sampled_from(SUFFIXES))
    suffix = draw(st.sampled_from([kind, kind, *SUFFIXES, kind.upper(), "", ".bin"]))
    how = draw(st.sampled_from(("whole", "half", "empty", "flipped", "text", "zeros", "folder", "gone")))
    return draw(st.sampled_from(NAMES)) + suffix, kind, how, draw(st.floats(0, 1))


def make(folder: Path, drawn) -> str:
    name, kind, how, at = drawn
    place = folder / name
    if how == "folder":
        place.mkdir(exist_ok=True)
        (place / f"inner{kind}").write_bytes(whole()[kind])
    elif how != "gone":
        place.write_bytes(damaged(whole()[kind], how, at))
    return str(place)


def said(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    return code, out.getvalue(), err.getvalue()


def check(code: int, err: str) -> None:
    assert code in {0, 2}, err
    assert "Traceback" not in err
    assert "defect" not in err
    if code == 2:
        lines = err.splitlines()
        assert lines[0].startswith("error["), err
        assert any(line.startswith(("  help: ", "      --")) for line in lines), err


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(model=files(), data=st.none() | files(), weights=st.none() | files())
def test_answers_any_file_with_a_recipe_or_a_line(home, model, data, weights):
    with TemporaryDirectory() as folder:
        place = Path(folder)
        arguments = [make(place, model)]
        for option, drawn in (("--data", data), ("--weights", weights)):
            if drawn is not None:
                (place / option).mkdir()
                arguments += [option, make(place / option, drawn)]
        code, _, err = said("init", *arguments, "--out", str(place / "made" / "new.yaml"))
        check(code, err)
        assert (place / "made" / "new.yaml").exists() is (code == 0)
        check(*inspected(arguments[0]))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=files(), label=st.sampled_from([None, "sick", "Sick", "one", "none", "gone", ""]))
def test_answers_any_data_beside_a_sound_model(home, data, label):
    with TemporaryDirectory() as folder:
        onnx.save(graph(), Path(folder) / "net.onnx")
        arguments = [f"{folder}/net.onnx", "--data", make(Path(folder), data), "--set", "data.transform=[]"]
        code, _, err = said("init", *arguments, *(() if label is None else ("--label", label)))
        check(code, err)


def inspected(subject: str) -> tuple[int, str]:
    code, _, err = said("inspect", subject)
    return code, err


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CI", "true")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sound(folder: Path) -> None:
    onnx.save(graph(), folder / "net.onnx")
    (folder / "rows.csv").write_text(table(), "utf-8")


def nan_graph(folder):
    onnx.save(graph(broken=True), folder / "net.onnx")


def program(folder):
    torch.jit.script(torch.nn.Linear(3, 2)).save(folder / "net.pt")


def column(name, values):
    def add(folder):
        lines = (folder / "rows.csv").read_text("utf-8").splitlines()
        added = [name, *(str(values[place % len(values)]) for place in range(len(lines) - 1))]
        text = "\n".join(f"{line},{more}" for line, more in zip(lines, added, strict=True))
        (folder / "rows.csv").write_text(text + "\n", "utf-8")

    return add


def two_forms(folder):
    for form in ("NFC", "NFD"):
        column(unicodedata.normalize(form, "größe"), [1.5, 2.5])(folder)


CASES = {
    "half a file": (lambda folder: (folder / "net.onnx").write_bytes(b"\x08\x08\x12"), [], "net.onnx cannot be read"),
    "no kind": (lambda folder: (folder / "net.blob").write_bytes(b"x"), ["net.blob"], "of no kind that titrant knows"),
    "a program": (program, ["net.pt"], "is a TorchScript program"),
    "a recipe": (lambda folder: (folder / "a.yaml").write_text(""), ["a.yaml"], "is a recipe already"),
    "a folder of nothing": (lambda folder: (folder / "in").mkdir(), ["in"], "has no .onnx file"),
    "two models": (lambda folder: onnx.save(graph(), folder / "b.onnx"), ["."], "has 2 .onnx files"),
    "two labels": (column("label", [0, 1]), ["--label", "none", "--set", "data.inputs=[one, two, three]"], None),
    "names alike": (two_forms, [], "rows.csv: two columns look the same"),
    "another case": (lambda folder: None, ["--label", "Sick"], "rows.csv has no column `Sick`"),
    "label as input": (lambda folder: None, ["--set", "data.inputs=[one, sick]"], "it would give the model the answer"),
    "more classes": (column("many", [0, 1, 2]), ["--label", "many", "--set", "data.inputs=[one, two, three]"],
                     "and 3 classes need (batch, 3)"),
    "NaN in weights": (nan_graph, [], "1 of the 6 numbers of its weight `w` are NaN"),
    "no level": (lambda folder: None, ["--set", "level=best"], "best"),
    "no path": (lambda folder: None, ["--set", "level"], "an override is a path, `=` and a value"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_says_what_is_wrong_in_one_line(home, case):
    sound(home)
    prepare, more, message = CASES[case]
    prepare(home)
    model = [] if more and not more[0].startswith("--") else ["net.onnx"]
    code, out, err = said(
        "init", *model, *more, "--data", "rows.csv", "--set", "data.transform=[]", "--out", "new.yaml"
    )
    if message is None:
        assert (code, out) == (0, "new.yaml\n"), err
        return
    assert code == 2, err
    assert message in " ".join(err.split()), err
    assert err.count("error[") == 1
    assert not (home / "new.yaml").exists()


def test_asks_which_of_two_labels_is_meant(home):
    sound(home)
    column("label", [0, 1])(home)
    column("target", [0, 1, 2])(home)
    code, _, err = said("init", "net.onnx", "--data", "rows.csv")
    assert code == 2
    assert "which column holds the answer? rows.csv has 2 that could: `label`, `target`." in err
    assert "      --label label\n      --label target\n      --label none    there is none\n" in err


def test_lists_all_questions_as_json_too(home):
    sound(home)
    code, out, _ = said("optimize", "net.onnx", "--data", "rows.csv", "--json")
    assert code == 2
    assert [(item["code"], "data.transform" in item["message"]) for item in json.loads(out)] == [("R166", True)]


def test_says_of_a_file_that_is_looked_at_which_weights_are_nan(home):
    onnx.save(graph(broken=True), home / "net.onnx")
    code, out, _ = said("inspect", "net.onnx")
    assert (code, "1 of the 6 numbers of its weight `w` are NaN" in out) == (0, True)
