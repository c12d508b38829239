"""`titrant optimize`, and what `init` writes, from nothing but a model and data: it runs, and says what comes next."""

import json

import numpy as np
import onnx  # noqa: TID253 - the tests build a tiny graph
import pytest
import torch  # noqa: TID253 - the tests save tiny weights
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

import titrant

RIGHT = np.array([2.0, -1.5, 1.0, 0.5], np.float32)  # what explains the label of `rows.csv`


@pytest.fixture
def trained(place):
    """A model that is right, as an .onnx file and as weights of `net:Net`, and its rows as .csv and .npz."""
    (place.folder / "model").mkdir()
    weight = np.stack([-RIGHT, RIGHT], axis=1)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 4), ("y", 2)))
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    made = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weight, "w")])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=8), place.folder / "model" / "Right.onnx")
    table = np.loadtxt(place.folder / "rows.csv", delimiter=",", skiprows=1)
    np.savez(place.folder / "model" / "rows.npz", x=table[:, :4].astype(np.float32), sick=table[:, 4].astype(int))
    first = torch.zeros(16, 4)
    first[0], first[1] = torch.tensor(RIGHT), -torch.tensor(RIGHT)
    second = torch.zeros(2, 16)
    second[1, 0] = second[0, 1] = 1
    state = {"first.weight": first, "first.bias": torch.zeros(16)}
    torch.save(state | {"second.weight": second, "second.bias": torch.zeros(2)}, place.folder / "net.pt")
    return place


def quick(*more, method="none"):
    """Say what is the same in every case: measure the least that is allowed, and make only what the case is about."""
    settings = ("profile={batches: [1], iterations: 60, warmup: 2}", f"quantization.method={method}")
    return (*more, *(part for setting in settings for part in ("--set", setting)))


@pytest.mark.slow
def test_optimizes_a_folder_of_a_file_and_arrays(trained):
    done = trained.titrant("optimize", *quick("model"))
    assert done.code == 0, done.all
    recipe = trained.folder / "model" / "right.yaml"
    text = recipe.read_text("utf-8")
    assert "level: balanced" in text
    assert "  source: {npz: rows.npz}  # 400 rows, 1 column beside the label\n" in text
    assert "  # numbers go in as they are\n" in text
    assert "  transform:" not in text
    assert "recipe: model/right.yaml" in done.err
    assert "decisions\n" in done.err
    assert done.out.endswith(
        "next: read model/right.yaml, edit it, commit it with its lock; then: titrant run model/right.yaml\n"
    )
    (line,) = [line for line in done.out.splitlines() if "titrant.load(" in line]
    model = titrant.load(line.partition("'")[2].partition("'")[0])
    decisions = model({"x": np.stack([RIGHT, -RIGHT])}).decisions
    assert [int(decision) for decision in decisions] == [1, 0]

    assert trained.titrant("optimize", *quick("model", "--level", "minimal", "--out", "model/other.yaml")).code == 0
    again = trained.titrant("optimize", *quick("model"))
    assert line.partition("'")[2].partition("'")[0] in trained.titrant("report", "latest", "--format", "html").out
    assert (again.code, "up to date, nothing executed" in again.out) == (0, True), again.all

    recipe.write_text(text.replace("level: balanced", "level: minimal"), "utf-8")
    refused = trained.titrant("optimize", *quick("model"))
    assert refused.code == 2
    assert "model/right.yaml is there already with another content" in refused.err
    assert "run it: titrant run model/right.yaml" in refused.err
    assert "level: minimal" in recipe.read_text("utf-8")
    forced = trained.titrant("optimize", *quick("model"), "--force")
    assert (forced.code, recipe.read_text("utf-8")) == (0, text), forced.all


def test_asks_what_was_done_to_a_table_and_writes_the_answer(trained):
    asked = ("model/Right.onnx", "--data", "raw.csv", "--out", "made.yaml")
    trained.write("rows.csv", (trained.folder / "rows.csv").read_text("utf-8").replace("one,", "age,", 1))
    lines = (trained.folder / "rows.csv").read_text("utf-8").splitlines()
    moved = [lines[0], *(",".join([str(float(line.split(",")[0]) + 50), *line.split(",")[1:]]) for line in lines[1:])]
    trained.write("raw.csv", "\n".join(moved) + "\n")
    refused = trained.titrant("optimize", "model/Right.onnx", "--data", "raw.csv", "--out", "made.yaml")
    assert refused.code == 2
    assert not (trained.folder / "made.yaml").exists()
    assert "data.transform: what was done to the columns when the model was trained?" in refused.err
    assert "      --set 'data.transform=[]'             as they are\n" in refused.err
    done = trained.titrant("optimize", *quick(*asked, "--set", "data.transform=[standardize]", "--target", "size"))
    assert done.code in {0, 5}, done.all
    text = (trained.folder / "made.yaml").read_text("utf-8")
    assert "  transform:\n    - standardize\n" in text
    assert "search: {objective: [size, latency]}\n" in text
    assert "  # ? subgroups: {age: {column: age, bins: [40, 65]}}" in text
    recipe = titrant.read(trained.folder / "made.yaml").recipe
    assert (recipe.profile.iterations, recipe.search.objective) == (60, ("size", "latency"))


def test_optimizes_weights_of_a_factory(trained):
    done = trained.titrant(
        "optimize", "net:Net", *quick("--weights", "net.pt", "--data", "model/rows.npz", method="ort.dynamic"), "--json"
    )
    assert done.code in {0, 5}, done.all
    answer = json.loads(done.out)
    assert answer["recipe"] == "net.yaml"
    assert answer["record"]["exit"] == done.code
    assert "  args: {features: auto, classes: auto}" in (trained.folder / "net.yaml").read_text("utf-8")


def test_wants_to_know_where_the_weights_are(trained):
    done = trained.titrant("optimize", "net:Net", "--data", "rows.csv")
    assert done.code == 2
    assert "model.weights: where are its trained weights?" in done.err
    assert "      --weights included  the factory loads its own\n" in done.err


def test_trains_a_small_network_for_a_table_alone(place):
    assert place.titrant("optimize", "rows.csv").code == 2
    done = place.titrant("init", "rows.csv", *quick("--set", "train.epochs=2"))
    assert (done.code, done.out) == (0, "rows.yaml\n"), done.all
    assert "  label: sick\n" in (place.folder / "rows.yaml").read_text("utf-8")
    ran = place.titrant("run", "rows.yaml", "-q")
    assert ran.code in {0, 5}, ran.all


def test_reads_a_data_factory(trained):
    trained.write("mine.py", "import numpy\n\ndef rows():\n    return dict(numpy.load('model/rows.npz'))\n")
    done = trained.titrant("init", "net:Net", "--weights", "net.pt", "--data", "mine:rows")
    assert done.code == 0, done.all
    text = (trained.folder / "net.yaml").read_text("utf-8")
    assert "  source: {factory: 'mine:rows'}" in text
    assert trained.titrant("plan", "net.yaml").code == 0
    trained.write("mine.py", "def rows():\n    raise ValueError('secret')\n")
    failed = trained.titrant("init", "net:Net", "--weights", "net.pt", "--data", "mine:rows", "--force")
    assert (failed.code, "secret" in failed.all) == (4, False)
    assert "mine:rows() raised ValueError (mine.py:2)" in failed.err


def test_asks_for_label_and_weights_at_once(trained):
    table = (trained.folder / "rows.csv").read_text("utf-8").splitlines()
    lines = [f"{line},{number % 2}" for number, line in enumerate(table[1:])]
    trained.write("two.csv", "\n".join([f"{table[0]},other", *lines]) + "\n")
    done = trained.titrant("optimize", "net:Net", "--data", "two.csv")
    assert done.code == 2
    assert "error[R166]: 2 questions that only you can answer" in done.err
    assert "      --weights included  the factory loads its own\n" in done.err
    assert "      --label sick\n      --label other\n" in done.err
