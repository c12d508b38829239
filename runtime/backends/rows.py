"""Save and load tables, model-ready rows, splits and outputs: arrays in safetensors, names and text in JSON.

Outputs are one file, with their role and order in its metadata.
"""

import json
from pathlib import Path

import numpy as np

from titrant.runtime.data.columns import is_ragged, is_text
from titrant.runtime.values import Outputs, Rows, RowSplit, Table, Tables
from titrant.schema.values.canonical import encodable

TABLES_ABOUT, NUMBERS, TEXTS = "tables.json", "numbers.safetensors", "texts.json"
_ROW_NAMES = "names"
ROWS_ABOUT, ARRAYS = "rows.json", "rows.safetensors"
SPLIT_ABOUT, INDICES = "split.json", "indices.safetensors"
FILE = "outputs.safetensors"


def save_tables(value: Tables, folder: Path) -> None:
    """Write the sources; columns are numbered, since their names may hold anything."""
    from safetensors.numpy import save_file

    numbers: dict[str, np.ndarray] = {}
    texts: dict[str, list[str]] = {}
    about = []
    for place, (name, table) in enumerate(value.sources.items()):
        for number, column in enumerate(table.columns.values()):
            key = f"{place}.{number}"
            if is_text(column):
                texts[key] = column.tolist()
            elif is_ragged(column):
                numbers[f"{key}.values"] = np.concatenate(
                    [np.empty(0, np.float32), *(image.ravel() for image in column)]
                )
                numbers[f"{key}.shapes"] = np.array([image.shape for image in column], dtype=np.int64)
            else:
                numbers[key] = np.ascontiguousarray(column)
        if table.row_names is not None:
            texts[f"{place}.{_ROW_NAMES}"] = table.row_names.tolist()
        about.append(
            {
                "name": name,
                "columns": list(table.columns),
                "label_names": dict(table.label_names),
                "notes": list(table.notes),
                **({"deep_whites": list(table.deep_whites)} if table.deep_whites else {}),
            }
        )
    save_file(numbers, folder / NUMBERS)
    (folder / TEXTS).write_text(encodable(json.dumps(texts, ensure_ascii=False, sort_keys=True)), encoding="utf-8")
    (folder / TABLES_ABOUT).write_text(encodable(json.dumps(about, ensure_ascii=False)), encoding="utf-8")


def load_tables(folder: Path) -> Tables:
    """Read the sources."""
    from safetensors.numpy import load_file

    about = json.loads((folder / TABLES_ABOUT).read_text(encoding="utf-8"))
    numbers = load_file(folder / NUMBERS)
    texts = json.loads((folder / TEXTS).read_text(encoding="utf-8"))
    sources = {}
    for place, table in enumerate(about):
        columns = {name: _column(f"{place}.{number}", numbers, texts) for number, name in enumerate(table["columns"])}
        sources[table["name"]] = Table(
            columns, table["label_names"], tuple(table["notes"]), tuple(table.get("deep_whites", ())),
            row_names=np.array(texts[named], dtype=str) if (named := f"{place}.{_ROW_NAMES}") in texts else None,
        )  # fmt: skip
    return Tables(sources)


def _column(key: str, numbers: dict[str, np.ndarray], texts: dict[str, list[str]]) -> np.ndarray:
    if key in texts:
        return np.array(texts[key], dtype=str)
    if key in numbers:
        return numbers[key]
    values, shapes = numbers[f"{key}.values"], numbers[f"{key}.shapes"]
    cuts = np.cumsum(shapes.prod(axis=1))[:-1]
    images = np.empty(len(shapes), dtype=object)
    for place, (pixels, shape) in enumerate(zip(np.split(values, cuts), shapes, strict=True)):
        images[place] = pixels.reshape(shape)
    return images


def save_rows(value: Rows, folder: Path) -> None:
    """Write inputs, labels, units, ids and subgroups; text, of raw columns, stands in a file of its own."""
    from safetensors.numpy import save_file

    arrays = {"units": value.units, "ids": value.ids}
    if value.labels is not None:
        arrays["labels"] = value.labels
    if value.targets is not None:
        arrays["targets"] = value.targets
    if value.numbers is not None:
        arrays["numbers"] = value.numbers
    texts = {place: array.tolist() for place, array in enumerate(value.inputs.values()) if array.dtype == object}
    arrays |= {f"input.{place}": array for place, array in enumerate(value.inputs.values()) if place not in texts}
    arrays |= {f"subgroup.{place}": array for place, array in enumerate(value.subgroups.values())}
    about = {
        "role": value.role,
        "inputs": list(value.inputs),
        "classes": list(value.classes),
        "positive": value.positive,
        **({"ordered": True} if value.ordered else {}),
        "subgroups": [[name, list(value.subgroup_values[name])] for name in value.subgroups],
    }
    save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, folder / ARRAYS)
    if texts:
        (folder / TEXTS).write_text(encodable(json.dumps(texts, ensure_ascii=False)), encoding="utf-8")
    (folder / ROWS_ABOUT).write_text(encodable(json.dumps(about, ensure_ascii=False)), encoding="utf-8")


def load_rows(folder: Path) -> Rows:
    """Read the rows."""
    from safetensors.numpy import load_file

    about = json.loads((folder / ROWS_ABOUT).read_text(encoding="utf-8"))
    arrays = load_file(folder / ARRAYS)
    texts = json.loads((folder / TEXTS).read_text(encoding="utf-8")) if (folder / TEXTS).is_file() else {}
    written = {f"input.{place}": np.array(values, dtype=object) for place, values in texts.items()}
    return Rows(
        role=about["role"],
        inputs={name: {**arrays, **written}[f"input.{place}"] for place, name in enumerate(about["inputs"])},
        labels=arrays.get("labels"),
        targets=arrays.get("targets"),
        units=arrays["units"],
        ids=arrays["ids"],
        numbers=arrays.get("numbers"),
        classes=tuple(about["classes"]),
        positive=about["positive"],
        ordered=about.get("ordered", False),
        subgroups={name: arrays[f"subgroup.{place}"] for place, (name, _) in enumerate(about["subgroups"])},
        subgroup_values={name: tuple(values) for name, values in about["subgroups"]},
    )


def save_split(value: RowSplit, folder: Path) -> None:
    """Write roles and units; sources are numbered, since their names may hold anything."""
    from safetensors.numpy import save_file

    names = list(value.units)
    arrays = {f"units.{names.index(name)}": units for name, units in value.units.items()}
    for role, sources in value.roles.items():
        arrays |= {f"{role}.{names.index(name)}": rows for name, rows in sources.items()}
    about = {
        "sources": names,
        "roles": {role: list(sources) for role, sources in value.roles.items()},
        "notes": list(value.notes),
        "dropped": value.dropped,
    }
    save_file({key: np.ascontiguousarray(array, dtype=np.int64) for key, array in arrays.items()}, folder / INDICES)
    (folder / SPLIT_ABOUT).write_text(encodable(json.dumps(about, ensure_ascii=False)), encoding="utf-8")


def load_split(folder: Path) -> RowSplit:
    """Read roles and units."""
    from safetensors.numpy import load_file

    about = json.loads((folder / SPLIT_ABOUT).read_text(encoding="utf-8"))
    arrays = load_file(folder / INDICES)
    place = {name: number for number, name in enumerate(about["sources"])}
    return RowSplit(
        roles={
            role: {name: arrays[f"{role}.{place[name]}"] for name in sources}
            for role, sources in about["roles"].items()
        },
        units={name: arrays[f"units.{number}"] for name, number in place.items()},
        notes=tuple(about["notes"]),
        dropped=about["dropped"],
    )


def save_outputs(value: Outputs, folder: Path) -> None:
    """Write the arrays, sorted by name by the format itself, under one metadata key."""
    from safetensors.numpy import save_file

    # One JSON-valued key: several metadata keys come out in random order.
    about = json.dumps({"role": value.role, "outputs": list(value.arrays)}, separators=(",", ":"))
    arrays = {name: np.ascontiguousarray(array) for name, array in value.arrays.items()}
    save_file(arrays, folder / FILE, metadata={"titrant": about})


def load_outputs(folder: Path) -> Outputs:
    """Read the arrays in the model's order of outputs."""
    from safetensors import safe_open

    with safe_open(folder / FILE, framework="numpy") as file:
        about = json.loads(file.metadata()["titrant"])
        return Outputs(about["role"], {name: file.get_tensor(name) for name in about["outputs"]})
