"""Tables and arrays of TITRANT_DATA as data factories, for recipes whose folder holds a copy of this file."""

import numpy as np
import pandas as pd  # noqa: TID253 - its very subject


def nhanes(folder: str) -> dict[str, pd.DataFrame]:
    """Return 18 numbers of each person, and whether he or she died within ten years."""
    table = pd.read_csv(f"{folder}/NHANESI_subset_X.csv", index_col=0)
    years = pd.read_csv(f"{folder}/NHANESI_subset_y.csv", index_col=0)["y"]
    known = (years > 0) | (years < -10)
    table = table.fillna(table.median())[known].copy()
    table["died"] = ((years > 0) & (years <= 10))[known].map({True: "yes", False: "no"})
    return {"source": table}


def adult(file: str) -> dict[str, pd.DataFrame]:
    """Return the six numeric columns of the census, sex, and income."""
    names = {0: "age", 2: "weight", 4: "education", 10: "gain", 11: "loss", 12: "hours", 9: "sex", 14: "income"}
    table = pd.read_csv(file, header=None, skipinitialspace=True)
    return {"source": table[list(names)].rename(columns=names)}


def fashion(file: str, rows: int) -> dict[str, np.ndarray]:
    """Return `image` (rows, 1, 28, 28) uint8 and `label`."""
    arrays = np.load(file)
    return {"image": arrays["train_x"][:rows, None], "label": arrays["train_y"][:rows]}


def heart(file: str) -> dict[str, pd.DataFrame]:
    """Return 13 numbers of each patient, and whether the heart is ill."""
    table = pd.read_csv(file, header=None, na_values="?").dropna()
    table.columns = [f"x{place}" for place in range(13)] + ["ill"]
    table["ill"] = (table["ill"] > 0).map({True: "yes", False: "no"})
    return {"source": table}
