"""Data factories over the real data sets, as a user would write them."""

from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - data factories give data frames

HEART = [
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal",
    "num",
]  # fmt: skip
ADULT = [
    "age", "workclass", "fnlwgt", "education", "education_num", "marital", "occupation", "relationship", "race", "sex",
    "gain", "loss", "hours", "country", "income",
]  # fmt: skip


def nhanes(folder: str) -> pd.DataFrame:
    """Join features with follow-up, and label death within ten years; people censored before are left out."""
    features = pd.read_csv(Path(folder, "NHANESI_subset_X.csv"), index_col=0)
    years = pd.read_csv(Path(folder, "NHANESI_subset_y.csv"), index_col=0)["y"]
    known = (years > 0) | (years <= -10)
    frame = features.assign(died=((years > 0) & (years <= 10)).astype(int))
    return frame[known.to_numpy()]


def heart(file: str) -> pd.DataFrame:
    """Name the columns of the header-less Cleveland file; any grade of disease is ill."""
    frame = pd.read_csv(file, header=None, names=HEART, na_values="?")
    return frame.assign(ill=(frame.pop("num") > 0).map({True: "ill", False: "well"}))


def adult(folder: str) -> dict[str, pd.DataFrame]:
    """Read both parts of the census, whose test labels end in a full stop."""
    return {
        part: pd.read_csv(
            Path(folder, f"adult.{part}"), header=None, names=ADULT, skipinitialspace=True, na_values="?", comment="|"
        ).assign(income=lambda frame: frame["income"].str.rstrip("."))
        for part in ("data", "test")
    }


def fashion(file: str) -> dict[str, dict[str, np.ndarray]]:
    """Give the images a channel."""
    with np.load(file) as arrays:
        return {
            part: {"image": arrays[f"{part}_x"][:, None], "label": arrays[f"{part}_y"]} for part in ("train", "test")
        }
