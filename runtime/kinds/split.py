"""Who has which row: row indices and units in one safetensors file, names beside it."""

import json
from pathlib import Path

import numpy as np

from titrant.runtime.values import Split

ABOUT, INDICES = "split.json", "indices.safetensors"


def save(value: Split, folder: Path) -> None:
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
    (folder / ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def load(folder: Path) -> Split:
    """Read roles and units."""
    from safetensors.numpy import load_file

    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    arrays = load_file(folder / INDICES)
    place = {name: number for number, name in enumerate(about["sources"])}
    return Split(
        roles={
            role: {name: arrays[f"{role}.{place[name]}"] for name in sources}
            for role, sources in about["roles"].items()
        },
        units={name: arrays[f"units.{number}"] for name, number in place.items()},
        notes=tuple(about["notes"]),
        dropped=about["dropped"],
    )
