"""What `titrant hardware --bench` measured here, kept for as long as it is the same machine."""

import math
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from titrant.compiler.remember import remember, remembered
from titrant.schema.canonical import plain, sha256
from titrant.schema.facts import Bench, GpuSpeed, HardwareIdentity

# Raised when a figure comes to mean something else, so that old ones are measured again.
_FORM = 1
# The libraries that the figures are measured with; another version of any other changes none of them.
_MEASURED_WITH = ("numpy", "onnxruntime", "onnxruntime-gpu", "torch")
_DEVICE = re.compile(r"(cuda|mps):\d{1,3}")


def bench_file(home: Path) -> Path:
    """Return where the figures of the machine that has this home are kept."""
    return home / "facts" / "bench.json"


def bench_key(identity: HardwareIdentity) -> str:
    """Digest what the figures rest on: the machine, Python, and the libraries that they are measured with."""
    packages = {name: version for name, version in identity.packages.items() if name in _MEASURED_WITH}
    return sha256({"form": _FORM, "machine": {**plain(identity), "packages": packages}})


def read_bench(home: Path, identity: HardwareIdentity) -> Bench | None:
    """Return the figures kept in a home; None where there are none, they are another machine's, or damaged."""
    try:
        kept = remembered(bench_file(home))
        if kept["key"] != bench_key(identity):
            return None
        return read_figures(kept["bench"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def read_figures(found: Mapping[str, Any]) -> Bench:
    """Read figures from plain data; ValueError for what is none of them, or is no positive number."""
    own = {name: value for name, value in found.items() if name != "gpus"}
    gpus = {device: _gpu(device, speed) for device, speed in found.get("gpus", {}).items()}
    return Bench(**_figures(Bench, own), gpus=gpus)


def write_bench(home: Path, identity: HardwareIdentity, bench: Bench) -> None:
    """Keep figures for the machine that they were measured on; the file is whole at every moment."""
    remember(bench_file(home), {"key": bench_key(identity), "bench": plain(bench)})


def _gpu(device: str, found: Mapping[str, Any]) -> GpuSpeed:
    """Read the figures of an accelerator, which are all measured here."""
    if _DEVICE.fullmatch(device) is None:
        raise ValueError(f"no device: {device!r}")
    own = {name: value for name, value in found.items() if name != "measured"}
    return GpuSpeed(**_figures(GpuSpeed, own), measured=True)


def _figures(kind: type[Bench] | type[GpuSpeed], found: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    if not set(found) <= names:
        raise ValueError(f"no figures: {sorted(set(found) - names)}")
    return {name: _figure(name, value) for name, value in found.items()}


def _figure(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} is not a positive number: {value!r}")
    return float(value)
