"""One role's model-ready rows: all arrays in one safetensors file, names beside it."""

import json
from pathlib import Path

import numpy as np

from titrant.runtime.values import Rows

ABOUT, ARRAYS = "rows.json", "rows.safetensors"


def save(value: Rows, folder: Path) -> None:
    """Write inputs, labels, units, ids and subgroups."""
    from safetensors.numpy import save_file

    arrays = {"units": value.units, "ids": value.ids}
    if value.labels is not None:
        arrays["labels"] = value.labels
    arrays |= {f"input.{place}": array for place, array in enumerate(value.inputs.values())}
    arrays |= {f"subgroup.{place}": array for place, array in enumerate(value.subgroups.values())}
    about = {
        "role": value.role,
        "inputs": list(value.inputs),
        "classes": list(value.classes),
        "positive": value.positive,
        "subgroups": [[name, list(value.subgroup_values[name])] for name in value.subgroups],
    }
    save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, folder / ARRAYS)
    (folder / ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def load(folder: Path) -> Rows:
    """Read the rows."""
    from safetensors.numpy import load_file

    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    arrays = load_file(folder / ARRAYS)
    return Rows(
        role=about["role"],
        inputs={name: arrays[f"input.{place}"] for place, name in enumerate(about["inputs"])},
        labels=arrays.get("labels"),
        units=arrays["units"],
        ids=arrays["ids"],
        classes=tuple(about["classes"]),
        positive=about["positive"],
        subgroups={name: arrays[f"subgroup.{place}"] for place, (name, _) in enumerate(about["subgroups"])},
        subgroup_values={name: tuple(values) for name, values in about["subgroups"]},
    )
