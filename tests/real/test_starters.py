"""Real data and models get starter recipes that can be planned at once."""

from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - the tests write tables
import pytest

from ..conftest import called_here  # noqa: TID252 - tests are no package that is installed

pytestmark = [pytest.mark.real, pytest.mark.slow]

ADULT = [
    "age", "workclass", "weight", "education", "years", "status", "work", "relation",
    "race", "sex", "gain", "loss", "hours", "country", "income",
]  # fmt: skip
HEART = [
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach",
    "exang", "oldpeak", "slope", "ca", "thal", "num",
]  # fmt: skip


def heart(data, folder):
    frame = pd.read_csv(data / "uci_heart_cleveland/processed.cleveland.data", names=HEART, na_values="?")
    frame["sick"] = (frame.pop("num") > 0).astype(int)
    frame.to_csv(folder / "rows.csv", index=False)
    return "rows.csv", "sick"


def nhanes(data, folder):
    frame = pd.read_csv(data / "nhanes1/NHANESI_subset_X.csv", index_col=0)
    years = pd.read_csv(data / "nhanes1/NHANESI_subset_y.csv", index_col=0).iloc[:, 0]
    frame["dead"] = np.where((years > 0) & (years < 10), "yes", "no")
    frame[::4].to_csv(folder / "rows.csv", index=False)
    return "rows.csv", "dead"


def adult(data, folder):
    frame = pd.read_csv(data / "adult/adult.data", names=ADULT, skipinitialspace=True, na_values="?", nrows=5000)
    frame.to_csv(folder / "rows.csv", index=False)
    return "rows.csv", "income"


def ecg(data, folder):
    rows = np.loadtxt(data / "ecg5000_train/ECG5000_TRAIN.txt")
    np.savez(folder / "rows.npz", beat=rows[:, 1:].astype(np.float32), kind=rows[:, 0].astype(int))
    return "rows.npz", "kind"


@pytest.fixture
def titrant(warm_workers):
    def run(folder, *arguments):
        code, out, err = called_here(folder, folder / "home", *arguments)
        assert code == 0, out + err
        return out

    return run


@pytest.mark.parametrize("prepare", [heart, nhanes, adult, ecg])
def test_plans_what_it_started_from_a_table(titrant, tmp_path, data, prepare):
    file, label = prepare(Path(data), tmp_path)
    asked = ("titrant.recipes.models:TabularNet", "--data", file, "--label", label, "--out", "started.yaml")
    titrant(tmp_path, "init", *asked)
    titrant(tmp_path, "check", "started.yaml")
    assert "steps" in titrant(tmp_path, "plan", "started.yaml")


def test_plans_what_it_started_from_a_detector(titrant, tmp_path, data):
    titrant(tmp_path, "init", Path(data) / "ultralight_face/version-slim-320.onnx", "--out", "started.yaml")
    titrant(tmp_path, "check", "started.yaml")
    assert "steps" in titrant(tmp_path, "plan", "started.yaml")
