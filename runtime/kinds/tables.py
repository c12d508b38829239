"""The loaded data: numbers of every source in one safetensors file, text and images of several sizes beside it."""

import json
from pathlib import Path

import numpy as np

from titrant.runtime.data.columns import is_ragged, is_text
from titrant.runtime.values import Table, Tables

ABOUT, NUMBERS, TEXTS = "tables.json", "numbers.safetensors", "texts.json"


def save(value: Tables, folder: Path) -> None:
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
        about.append(
            {
                "name": name,
                "columns": list(table.columns),
                "label_names": dict(table.label_names),
                "notes": list(table.notes),
            }
        )
    save_file(numbers, folder / NUMBERS)
    (folder / TEXTS).write_text(json.dumps(texts, ensure_ascii=False, sort_keys=True), encoding="utf-8")
    (folder / ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def load(folder: Path) -> Tables:
    """Read the sources."""
    from safetensors.numpy import load_file

    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    numbers = load_file(folder / NUMBERS)
    texts = json.loads((folder / TEXTS).read_text(encoding="utf-8"))
    sources = {}
    for place, table in enumerate(about):
        columns = {name: _column(f"{place}.{number}", numbers, texts) for number, name in enumerate(table["columns"])}
        sources[table["name"]] = Table(columns, table["label_names"], tuple(table["notes"]))
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
