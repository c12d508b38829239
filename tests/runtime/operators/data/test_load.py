"""Loading: every kind of source becomes columns of equal length, and what cannot be read says why."""

import sys

import numpy as np
import pandas as pd  # noqa: TID253 - data factories give data frames
import pytest

from titrant.runtime.operators.data.load import DataLoadParams, load
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError


def file(path):
    return {"path": str(path), "digest": "0" * 64}


def loaded(source, **params):
    return load(DataLoadParams(sources={"source": source}, **params), seed=42).sources["source"]


def refused(source, code, **params):
    with pytest.raises((RecipeError, StepError)) as caught:
        loaded(source, **params)
    finding = caught.value.diagnostics[0]
    assert finding.code == code
    assert finding.help
    assert "\n" not in finding.message
    return finding


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text("age,sex,dose,ill\n50,f,1.5,1\n61,m,,0\n70,,2,1\n")
    return file(path)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a user's module; a new name each time, since modules are imported once."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


@pytest.mark.parametrize(
    ("name", "features", "classes"), [("breast_cancer", 30, 2), ("digits", 64, 10), ("iris", 4, 3)]
)
def test_loads_sets_that_come_inside_scikit_learn(name, features, classes):
    table = loaded({"sklearn": name}, label="target")
    assert len(table.columns) == features + 1
    assert len(table.label_names) == classes
    assert set(np.unique(table.columns["target"])) == set(range(classes))


def test_gives_breast_cancer_its_column_and_class_names():
    table = loaded({"sklearn": "breast_cancer"}, label="target")
    assert table.rows == 569
    assert "mean radius" in table.columns
    assert table.label_names == {"0": "malignant", "1": "benign"}


def test_gives_digits_as_images_to_whoever_names_them():
    table = loaded({"sklearn": "digits"}, inputs=["image"], label="target")
    assert set(table.columns) == {"image", "target"}
    assert table.columns["image"].shape == (1797, 1, 8, 8)
    assert (table.columns["image"].min(), table.columns["image"].max()) == (0, 1)


def test_names_the_nearest_bundled_set():
    assert "breast_cancer" in refused({"sklearn": "brest_cancer"}, "X105").help


def test_reads_csv_columns_as_numbers_and_text_with_gaps(csv):
    columns = loaded({"csv": csv}, label="ill").columns
    assert columns["age"].dtype == np.int64
    assert columns["dose"].tolist()[0] == 1.5
    assert np.isnan(columns["dose"][1])
    assert columns["sex"].tolist() == ["f", "m", ""]


def test_leaves_out_an_index_column_and_says_so(tmp_path):
    pd.DataFrame({"a": [1, 2]}).to_csv(tmp_path / "i.csv")
    table = loaded({"csv": file(tmp_path / "i.csv")})
    assert list(table.columns) == ["a"]
    assert "left out as an index" in table.notes[0]


def test_reads_parquet_with_truth_values_and_categories(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [True, False], "c": pd.Categorical(["x", "y"])})
    frame.to_parquet(tmp_path / "d.parquet")
    columns = loaded({"parquet": file(tmp_path / "d.parquet")}).columns
    assert columns["b"].dtype == bool
    assert columns["c"].tolist() == ["x", "y"]


def test_brings_arrays_of_several_names_under_one(tmp_path):
    np.savez(tmp_path / "d.npz", a_x=np.ones((3, 2)), a_y=np.zeros(3), b_x=np.ones((5, 2)), b_y=np.ones((5, 1)))
    both = file(tmp_path / "d.npz")
    sources = {
        "a": {"npz": both, "inputs": ["a_x"], "label": "a_y"},
        "b": {"npz": both, "inputs": ["b_x"], "label": "b_y"},
    }
    tables = load(DataLoadParams(sources=sources, inputs=["a_x"], label="a_y"), seed=0).sources
    assert {name: set(table.columns) for name, table in tables.items()} == {"a": {"a_x", "a_y"}, "b": {"a_x", "a_y"}}
    assert tables["b"].columns["a_y"].shape == (5,)


def test_refuses_arrays_of_python_objects(tmp_path):
    np.savez(tmp_path / "d.npz", a=np.array([{"x": 1}, None], dtype=object))
    assert "Python objects" in refused({"npz": file(tmp_path / "d.npz")}, "X100").message


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_says_that_a_file_is_missing_or_unreadable(tmp_path, kind):
    assert "there is no file" in refused({kind: file(tmp_path / "gone")}, "X100").message
    broken = tmp_path / f"broken.{kind}"
    broken.write_bytes(b"\x00\xff\xfe" if kind != "csv" else "a,b\n1\xe9,2,3\n".encode("latin-1"))
    assert "cannot be read" in refused({kind: file(broken)}, "X100").message


def test_names_the_nearest_column(csv):
    assert refused({"csv": csv}, "X101", label="il").help == "did you mean `ill`?"
    refused({"csv": csv}, "X101", inputs=["age", "sx"], label="ill")
    refused({"csv": csv}, "X101", keep=["hospital"], label="ill")


def test_refuses_lengths_that_differ(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.ones(3), y=np.ones(4))
    assert "x has 3 rows and y has 4" in refused({"npz": file(tmp_path / "d.npz")}, "X102").message


def test_refuses_a_table_without_rows(tmp_path):
    (tmp_path / "e.csv").write_text("a,b\n")
    refused({"csv": file(tmp_path / "e.csv")}, "X103")


def test_counts_missing_labels(csv):
    assert "1 of 3 rows have no label" in refused({"csv": csv}, "X104", label="sex").message
    assert "1 of 3 rows have no label" in refused({"csv": csv}, "X104", label="dose").message


def test_calls_a_factory_that_gives_a_frame_or_arrays(module):
    name = module(
        "factory_good",
        "import numpy as np, pandas as pd\n"
        "def frame(n): return pd.DataFrame({'a': range(n), 'y': [0, 1] * (n // 2)})\n"
        "def arrays(): return {'image': np.zeros((4, 2, 2)), 'y': [0, 1, 0, 1]}\n"
        "def several(): return {'old': arrays(), 'new': frame(6)}\n",
    )
    assert loaded({"factory": f"{name}:frame", "args": {"n": 4}}, label="y").rows == 4
    assert loaded({"factory": f"{name}:arrays"}, label="y").columns["image"].shape == (4, 2, 2)
    assert loaded({"factory": f"{name}:several", "part": "new"}).rows == 6
    assert "old, new" in refused({"factory": f"{name}:several"}, "X110").message


def test_calls_a_factory_without_the_readers_of_files(module, monkeypatch):
    for reader in ("delimited.read", "images.read"):
        monkeypatch.setitem(sys.modules, f"titrant.runtime.data.{reader}", None)
    name = module("factory_of_arrays", "def f(): return {'x': [[1.0], [2.0]], 'y': [0, 1]}\n")
    assert loaded({"factory": f"{name}:f"}, label="y").rows == 2


def test_tells_a_factorys_own_error_in_one_line(module):
    name = module("factory_bad", "def f():\n    raise ValueError('no such ward\\nsecond line')\ndef g(): return [1]\n")
    finding = refused({"factory": f"{name}:f"}, "X108")
    assert finding.message == "factory_bad:f() raised ValueError (factory_bad.py:2)"
    refused({"factory": f"{name}:g"}, "X106")
    assert refused({"factory": f"{name}:ff"}, "X150").help
    refused({"factory": "not_there_at_all:f"}, "X150")
    refused({"factory": module("factory_broken", "1 / 0\n") + ":f"}, "X108")


def test_refuses_objects_and_mixed_columns(module):
    name = module(
        "factory_mixed",
        "import pandas as pd\ndef f(): return pd.DataFrame({'a': ['x', 1]})\ndef g(): return {'z': [1 + 2j, 2]}\n",
    )
    assert "mixed int, str" in refused({"factory": f"{name}:f"}, "X109").message
    refused({"factory": f"{name}:g"}, "X109")


def test_draws_seeded_random_inputs_where_there_is_no_data():
    random = [
        {"name": "x", "shape": ["batch", 3, 4], "dtype": "float32"},
        {"name": "n", "shape": ["batch", 5], "dtype": "int64"},
    ]
    first, again, other = (load(DataLoadParams(random=random), seed=seed).sources["source"] for seed in (1, 1, 2))
    assert first.columns["x"].shape == (256, 3, 4)
    assert first.columns["x"].dtype == np.float32
    assert set(np.unique(first.columns["n"])) == {0, 1}
    assert np.array_equal(first.columns["x"], again.columns["x"])
    assert not np.array_equal(first.columns["x"], other.columns["x"])


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("a,b,a\n1,2,3\n", "X109", "has the column a twice"),
        ("a,b\n1,2,3\n4,5,6\n", "X100", "more values than its header has names"),
    ],
)
def test_refuses_a_csv_header_that_would_be_mended_unseen(tmp_path, text, code, words):
    (tmp_path / "odd.csv").write_text(text)
    assert words in refused({"csv": file(tmp_path / "odd.csv")}, code).message


def test_takes_csv_columns_without_names(tmp_path):
    (tmp_path / "odd.csv").write_text(",a,,\n1,2,3,4\n")
    assert list(loaded({"csv": file(tmp_path / "odd.csv")}).columns) == ["a", "Unnamed: 2", "Unnamed: 3"]
