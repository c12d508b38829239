"""Save and load fitted transforms: what they are and learned text in JSON, learned numbers in safetensors."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.schema.values.canonical import plain, read_back
from titrant.schema.values.text import printable

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.values import Fitted, Transforms

ABOUT, ARRAYS = "transforms.json", "transforms.safetensors"


def save_transforms(value: "Transforms", folder: Path) -> None:
    """Write the transforms in order; the JSON is indented, since it is shipped and read by people."""
    import numpy as np
    from safetensors.numpy import save_file

    numbers: dict[str, np.ndarray] = {}
    steps = []
    for place, fitted in enumerate(value.steps):
        texts = {key: array.tolist() for key, array in fitted.arrays.items() if array.dtype.kind == "U"}
        own = {key: array for key, array in fitted.arrays.items() if key not in texts}
        numbers |= {f"{place}/{key}": np.ascontiguousarray(array) for key, array in own.items()}
        steps.append(
            {
                "name": fitted.name,
                "columns": list(fitted.columns),
                "params": dict(fitted.params),
                "numbers": sorted(own),
                "texts": texts,
            }
        )
    about = {
        "steps": steps,
        "inputs": [[name, _parts(value, name), value.dtypes[name]] for name in value.inputs],
        "classes": list(value.classes),
        "positive": value.positive,
        **({"ordered": True} if value.ordered else {}),
        **({"class_kind": value.class_kind} if value.class_kind != "text" else {}),
        **({"constants": dict(value.constants)} if value.constants else {}),
        **({"images": {name: plain(reading) for name, reading in value.images.items()}} if value.images else {}),
    }
    save_file(numbers, folder / ARRAYS)
    (folder / ABOUT).write_text(printable(json.dumps(about, ensure_ascii=False, indent=1)) + "\n", encoding="utf-8")


def load_transforms(folder: Path) -> "Transforms":
    """Read the transforms."""
    from safetensors.numpy import load_file

    from titrant.runtime.values import ImageReading, Transforms

    about = _about(folder)
    numbers = load_file(folder / ARRAYS)
    return Transforms(
        steps=tuple(_fitted(place, step, numbers) for place, step in enumerate(about["steps"])),
        inputs={name: tuple(_columns(parts)) for name, parts, _ in about["inputs"]},
        dtypes={name: dtype for name, _, dtype in about["inputs"]},
        classes=tuple(about["classes"]),
        positive=about["positive"],
        unstacked=frozenset(name for name, parts, _ in about["inputs"] if isinstance(parts, str)),
        class_kind=about.get("class_kind", "text"),
        constants=about.get("constants", {}),
        images={name: read_back(ImageReading, reading) for name, reading in about.get("images", {}).items()},
        ordered=about.get("ordered", False),
    )


def ends(folder: Path) -> dict[str, Any]:
    """Return what the transforms take and what their classes are, in JSON, without loading what they learned."""
    about = _about(folder)
    return {
        "inputs": {name: {"columns": _columns(parts), "dtype": dtype} for name, parts, dtype in about["inputs"]},
        "classes": about["classes"],
        "positive": about["positive"],
    }


def _parts(value: "Transforms", name: str) -> str | list[str]:
    """Write what an input is made of: one column by its name where it is not stacked, else a list."""
    return value.inputs[name][0] if name in value.unstacked else list(value.inputs[name])


def _columns(parts: str | list[str]) -> list[str]:
    return [parts] if isinstance(parts, str) else parts


def _about(folder: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return about


def _fitted(place: int, step: dict[str, Any], numbers: "dict[str, np.ndarray]") -> "Fitted":
    import numpy as np

    from titrant.runtime.values import Fitted

    arrays = {key: numbers[f"{place}/{key}"] for key in step["numbers"]}
    arrays |= {key: np.array(values, dtype=str) for key, values in step["texts"].items()}
    return Fitted(step["name"], tuple(step["columns"]), step["params"], arrays)
