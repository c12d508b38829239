"""The real data sets: files as they are, through load, split and transform."""

import os
from pathlib import Path

import numpy as np
import pytest

from titrant.runtime.operators.data.load import DataLoadParams, load
from titrant.runtime.operators.data.split import DataSplitParams, split
from titrant.runtime.operators.data.transform import DataTransformParams, transform
from titrant.schema.diagnostics.diagnostics import PreconditionError

REAL = os.environ.get("TITRANT_DATA", "")
pytestmark = [pytest.mark.real, pytest.mark.skipif(not REAL, reason="TITRANT_DATA does not name the real data")]
USUAL = {
    "train": {"source": 0.5},
    "tuning": {"source": 0.1},
    "calibration": {"source": 0.1},
    "evaluation": {"source": 0.3},
}


@pytest.fixture(autouse=True)
def factories(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "models")


def prepared(sources, label, roles=USUAL, overlap="error", **params):
    shared = {"label": label}
    tables = load(DataLoadParams(sources=sources, **shared), seed=42)
    parts = split(DataSplitParams(roles=roles, overlap=overlap, **shared), tables, seed=42)
    rows, transforms = transform(DataTransformParams(task="binary_classification", **shared, **params), tables, parts)
    return parts, rows, transforms


def test_joins_the_two_files_of_nhanes():
    _, rows, transforms = prepared(
        {"source": {"factory": "real_data:nhanes", "args": {"folder": f"{REAL}/nhanes1"}}},
        "died",
        positive=1,
        transforms=[{"name": "impute"}, {"name": "standardize"}],
        subgroups={"sex": {"column": "Sex"}},
    )
    assert transforms.classes == ("0", "1")
    evaluation = rows["evaluation"]
    assert evaluation.inputs["features"].shape[1] == 18
    assert np.isfinite(evaluation.inputs["features"]).all()
    assert len(evaluation) > 2500
    assert evaluation.subgroup_values["sex"] == ("1", "2")


def test_reads_the_header_less_heart_file():
    source = {
        "source": {
            "factory": "real_data:heart",
            "args": {"file": f"{REAL}/uci_heart_cleveland/processed.cleveland.data"},
        }
    }
    with pytest.raises(PreconditionError, match="ca has missing values"):
        prepared(source, "ill", positive="ill")
    _, rows, _ = prepared(source, "ill", positive="ill", transforms=[{"name": "impute"}, {"name": "standardize"}])
    assert sum(len(part) for part in rows.values()) == 303
    assert rows["train"].positive == 0


def test_encodes_the_text_columns_of_adult_and_finds_people_in_both_files():
    sources = {
        part: {"factory": "real_data:adult", "args": {"folder": f"{REAL}/adult"}, "part": part}
        for part in ("data", "test")
    }
    roles = {"train": {"data": 0.8}, "tuning": {"data": 0.1}, "calibration": {"data": 0.1}, "evaluation": {"test": 1.0}}
    with pytest.raises(PreconditionError, match="have the same inputs as rows of evaluation"):
        prepared(sources, "income", roles)
    parts, rows, transforms = prepared(
        sources, "income", roles, "drop",
        positive=">50K",
        transforms=[{"name": "impute"}, {"name": "one_hot"}, {"name": "standardize"}],
        subgroups={"sex": {"column": "sex", "values": ["Female", "Male"]}},
    )  # fmt: skip
    assert parts.dropped > 0
    assert len(rows["evaluation"]) == 16281
    assert sum(len(part) for part in rows.values()) == 32561 + 16281 - parts.dropped
    assert transforms.classes == ("<=50K", ">50K")
    assert rows["train"].inputs["features"].shape[1] > 90


def test_gives_the_three_parts_of_pneumoniamnist_their_roles():
    arrays = {"path": f"{REAL}/pneumoniamnist/pneumoniamnist.npz", "digest": "0"}
    sources = {
        part: {"npz": arrays, "inputs": [f"{part}_images"], "label": f"{part}_labels"}
        for part in ("train", "val", "test")
    }
    tables = load(DataLoadParams(sources=sources, inputs=["train_images"], label="train_labels"), seed=42)
    shared = {"inputs": ["train_images"], "label": "train_labels"}
    roles = {"train": {"train": 1.0}, "tuning": {"val": 0.5}, "calibration": {"val": 0.5}, "evaluation": {"test": 1.0}}
    parts = split(DataSplitParams(roles=roles, overlap="drop", **shared), tables, seed=42)
    steps = [{"name": "normalize", "mean": [0.5], "std": [0.5]}]
    params = DataTransformParams(task="binary_classification", positive=1, transforms=steps, **shared)
    rows, _ = transform(params, tables, parts)
    assert np.bincount(rows["evaluation"].labels).tolist() == [234, 390]
    image = rows["train"].inputs["train_images"]
    assert image.shape[1:] == (28, 28)
    assert (image.min(), image.max()) == (-1, 1)
