"""Read the index of weights that are split into several files, without reading a weight.

`model.safetensors.index.json` and `pytorch_model.bin.index.json` hold {"weight_map": {tensor: file beside it}}.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# How the index of a split file ends, the file's own ending in front.
INDEX = ".index.json"
_MOST_BYTES = 64 << 20


class ShardIndexError(Exception):
    """An index that cannot be used; its text says why, and follows the file's name."""


def is_index(file: Path) -> bool:
    """Whether a file of this name lists shards."""
    return file.name.lower().endswith(INDEX)


def read_index(file: Path) -> Mapping[str, str]:
    """Return, for every tensor, the name of the file beside the index that holds it.

    Raises ShardIndexError for a file that is no index, or that names a file in another folder.
    """
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ShardIndexError(f"is larger than {_MOST_BYTES >> 20} MiB")
        index: Any = json.loads(file.read_bytes())
    except OSError as error:
        raise ShardIndexError(f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ShardIndexError("is not JSON, or is cut short") from None
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(place, str) for place in places.values()):
        raise ShardIndexError("holds no `weight_map` of tensor to file")
    outside = [place for place in places.values() if Path(place).name != place or place in ("", ".", "..")]
    if outside:
        raise ShardIndexError(f"names {outside[0]!r}, and a shard stands beside its index")
    return places


def shards_of(file: Path) -> tuple[Path, ...]:
    """Return the files that an index names, sorted; () for a file that is no index. Raises as `read_index`."""
    if not is_index(file):
        return ()
    return tuple(file.parent / name for name in sorted(set(read_index(file).values())))


def index_beside(file: Path) -> Path | None:
    """Return the index of which a file is one shard by its name, such as model-00001-of-00003.safetensors."""
    stem, of, rest = file.name.rpartition("-of-")
    first, dash, number = stem.rpartition("-")
    total, dot, suffix = rest.partition(".")
    if not (of and dash and dot and number.isdigit() and total.isdigit()):
        return None
    index = file.with_name(f"{first}.{suffix}{INDEX}")
    return index if index.is_file() else None
