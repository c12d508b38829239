"""data.unlabeled and data.labels: rows without labels have no role elsewhere, and are told apart by name."""

import numpy as np
import pandas as pd  # noqa: TID253 - what is read are tables
import pytest
from PIL import Image

from titrant.runtime.data.row_labels import LABEL, ROW, names_of
from titrant.runtime.operators.data.load import DataLoadParams, load
from titrant.runtime.operators.data.split import DataSplitParams, split
from titrant.runtime.operators.data.transform import DataTransformParams, transform
from titrant.runtime.operators.data.unlabeled import DataUnlabeledParams, unlabeled
from titrant.schema.diagnostics.diagnostics import RecipeError, TitrantError

ROLES = {role: {"source": 0.25} for role in ("train", "tuning", "calibration", "evaluation")}


@pytest.fixture
def data(tmp_path):
    """Write labeled rows, and read further ones beside them."""
    generator = np.random.default_rng(0)

    def table(count):
        frame = pd.DataFrame(generator.normal(size=(count, 2)).round(5), columns=["a", "b"])
        frame["person"] = [f"p{place // 2}" for place in generator.permutation(count) + 1000 * count]
        frame["sex"] = generator.choice(["f", "m"], count)
        return frame

    labeled = table(80).assign(y=lambda frame: np.where(frame["a"] > 0, "ill", "well"))

    class Data:
        frame = labeled

        def fresh(self, count):
            return table(count)

        def read(self, further, **params):
            labeled.to_csv(tmp_path / "rows.csv", index=False)
            further.to_csv(tmp_path / "more.csv", index=False)
            by = params.get("by")
            groups = {"sex": {"column": "sex", "values": ["f", "m"]}}
            loading = DataLoadParams(
                sources={"source": {"csv": {"path": str(tmp_path / "rows.csv"), "digest": ""}}},
                inputs=("a", "b"), label="y", keep=("sex", "person"),
            )  # fmt: skip
            tables = load(loading, seed=1)
            parts = split(DataSplitParams(roles=ROLES, label="y", inputs=("a", "b"), by=by or "row"), tables, seed=1)
            how = DataTransformParams(
                task="binary_classification", inputs=("a", "b"), label="y", by=by, positive="ill", subgroups=groups,
                transforms=({"name": "standardize"},),
            )  # fmt: skip
            self.rows, fitted = transform(how, tables, parts)
            source = {"csv": {"path": str(tmp_path / "more.csv"), "digest": ""}}
            asked = DataUnlabeledParams(source=source, subgroups=groups, **params)
            ready, named, self.raw = unlabeled(asked, tables, parts, fitted, self.rows["tuning"], seed=1)
            return ready, named

    return Data()


def test_prepares_them_as_the_other_rows_and_without_labels(data):
    further = data.frame.sample(5, random_state=1).assign(a=lambda frame: frame["a"] + 9)
    ready, tables = data.read(further)
    assert (len(ready), ready.labels, ready.classes, ready.positive) == (5, None, ("ill", "well"), 0)
    mean, spread = 9 / data.frame["a"].std(), ready.inputs["features"][:, 0].min()
    assert spread > mean / 2
    assert ready.subgroups["sex"].tolist() == [["f", "m"].index(value) for value in further["sex"]]
    # The label's column is none of theirs, even where the file has one.
    assert set(tables.sources["unlabeled"].columns) == {"a", "b", "sex"}


def test_knows_a_person_whose_number_is_text_in_the_other_file(data):
    data.frame["person"] = np.arange(len(data.frame)) // 2
    further = data.fresh(6).assign(person=["1001", "1002", "x7", "1003", "3", "1004"])
    with pytest.raises(RecipeError) as caught:
        data.read(further, by="person")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message.count("1 in ")) == ("X225", 1)
    ready, _ = data.read(further, by="person", overlap="drop")
    assert len(ready) == 5


def test_says_in_which_source_a_number_is_text(data):
    with pytest.raises(TitrantError) as caught:
        data.read(data.fresh(4).assign(a=["1", "2", "high", "4"]))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.key) == ("X122", "data.unlabeled")


def test_gives_raw_columns_of_the_same_rows_to_files_that_hold_their_transforms(data):
    further = data.fresh(7)
    ready, _ = data.read(further, raw=True)
    assert {name: values.tolist() for name, values in data.raw.inputs.items()} == further[["a", "b"]].to_dict("list")
    assert data.raw.ids.tolist() == ready.ids.tolist()
    assert ready.inputs["features"].shape == (7, 2)


def test_refuses_rows_that_have_a_role(data):
    further = pd.concat([data.fresh(6), data.frame.iloc[:3].drop(columns="y")])
    with pytest.raises(RecipeError) as caught:
        data.read(further)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "X225"
    assert "of 9 unlabeled rows" in diagnostic.message
    assert "overlap: drop" in diagnostic.help


@pytest.mark.parametrize("by", [None, "person"])
def test_leaves_them_out_where_the_recipe_says_so(data, by):
    fresh = data.fresh(6)
    copies = data.frame.iloc[:3].drop(columns="y")
    ready, tables = data.read(pd.concat([copies, fresh]), overlap="drop", **({"by": by} if by else {}))
    assert len(ready) == 6
    assert tables.sources["names"].columns["place"].tolist() == [3, 4, 5, 6, 7, 8]


def test_names_the_source_in_which_a_column_is_missing(data):
    with pytest.raises(RecipeError) as caught:
        data.read(data.fresh(5).drop(columns="b"))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.key) == ("X101", "data.unlabeled")


def test_refuses_other_rows_of_a_person_who_has_a_role(data):
    further = data.fresh(6).assign(person=[data.frame["person"].iloc[0], *"abcde"])
    with pytest.raises(RecipeError, match="the same inputs or person") as caught:
        data.read(further, by="person")
    assert caught.value.diagnostics[0].code == "X225"
    ready, _ = data.read(further, by="person", overlap="drop")
    assert len(ready) == 5


def test_keeps_nothing_where_all_have_a_role(data):
    with pytest.raises(RecipeError) as caught:
        data.read(data.frame.drop(columns="y"), overlap="drop")
    assert caught.value.diagnostics[0].code == "X225"


def test_counts_rows_of_one_person_or_content_as_one_unit(data):
    fresh = data.fresh(4)
    ready, _ = data.read(pd.concat([fresh, fresh.iloc[:1]]))
    assert len(set(ready.units.tolist())) == 4
    ready, _ = data.read(fresh.assign(person=["u", "u", "v", "w"]), by="person")
    assert len(set(ready.units.tolist())) == 3


@pytest.mark.parametrize("names", [["k1", "k1", "k2"], ["k1", None, "k2"]])
def test_refuses_names_that_do_not_tell_rows_apart(data, names):
    with pytest.raises(RecipeError) as caught:
        data.read(data.fresh(3).assign(key=names), id="key")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.key) == ("X226", "data.id")
    assert "k1" not in diagnostic.message


def test_finds_the_rows_that_labels_are_about(data, apply, tmp_path):
    _, tables = data.read(data.fresh(5))
    names = names_of(tables.sources["names"].columns["content"], bytes(32))
    file = tmp_path / "labels.csv"
    file.write_text(f"{ROW},{LABEL}\n{names[3]},ill\n{names[1]},\n{names[0]},well\n")
    params = {"file": {"path": str(file), "digest": "x"}}
    answer = apply("data.labels", {"tables": tables, "rows": data.rows["tuning"]}, params).outputs["labels"]
    assert answer == {"rows": 5, "labels": [[0, 1], [3, 0]]}


def test_finds_them_by_their_own_names(data, apply, tmp_path):
    _, tables = data.read(data.fresh(3).assign(key=[11, 12, 13]), id="key")
    file = tmp_path / "labels.csv"
    file.write_text(f"{ROW},{LABEL}\n13,well\n")
    params = {"file": {"path": str(file), "digest": "x"}, "id": "key"}
    answer = apply("data.labels", {"tables": tables, "rows": data.rows["tuning"]}, params).outputs["labels"]
    assert answer == {"rows": 3, "labels": [[2, 1]]}
    assert "key" not in tables.sources["unlabeled"].columns


def test_names_the_files_of_images_in_the_order_in_which_they_are_read(tmp_path):
    from titrant.runtime.data.images.folder import image_names
    from titrant.runtime.data.images.read import read_images

    for place, name in enumerate(["b.png", "a.png", "c.txt"]):
        if name.endswith("png"):
            Image.new("RGB", (2, 2), (place, 0, 0)).save(tmp_path / name)
        else:
            (tmp_path / name).write_text("")
    assert image_names(str(tmp_path)) == ["a.png", "b.png"]
    reds = read_images(str(tmp_path), label=None, resize=False).columns["image"][:, 0, 0, 0] * 255
    assert reds.tolist() == [1, 0]
