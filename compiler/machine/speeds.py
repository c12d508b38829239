"""How fast a machine computes: what was measured here, kept while it is the same machine, or what vendors publish."""

import math
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from titrant.schema.facts import Bench, Gpu, GpuSpeed, HardwareIdentity
from titrant.schema.values.canonical import plain, sha256
from titrant.schema.values.files import remember, remembered

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


def write_bench(home: Path, identity: HardwareIdentity, bench: Bench) -> None:
    """Keep figures for the machine that they were measured on; the file is whole at every moment."""
    remember(bench_file(home), {"key": bench_key(identity), "bench": plain(bench)})


def read_figures(figures: Mapping[str, Any]) -> Bench:
    """Read figures from plain data; ValueError for what is none of them, or is no positive number."""
    own = {name: value for name, value in figures.items() if name != "gpus"}
    gpus = {device: _gpu(device, speed) for device, speed in figures.get("gpus", {}).items()}
    return Bench(**_figures(Bench, own), gpus=gpus)


def _gpu(device: str, figures: Mapping[str, Any]) -> GpuSpeed:
    """Read the figures of an accelerator, which are all measured here."""
    if _DEVICE.fullmatch(device) is None:
        raise ValueError(f"no device: {device!r}")
    own = {name: value for name, value in figures.items() if name != "measured"}
    return GpuSpeed(**_figures(GpuSpeed, own), measured=True)


def _figures(kind: type[Bench] | type[GpuSpeed], figures: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    if not set(figures) <= names:
        raise ValueError(f"no figures: {sorted(set(figures) - names)}")
    return {name: _figure(name, value) for name, value in figures.items()}


def _figure(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} is not a positive number: {value!r}")
    return float(value)


def with_published(bench: Bench | None, gpus: tuple[Gpu, ...]) -> Bench | None:
    """Add the published figures of every accelerator that was not measured and that a shipped profile describes.

    The name must be exactly the same: a variant of a card has other figures, and so has a MIG slice of one.
    """
    speeds = {} if bench is None else dict(bench.gpus)
    for gpu in gpus:
        device = f"{gpu.kind}:{gpu.index}"
        speed = None if gpu.mig or device in speeds else published(gpu.kind, gpu.name)
        if speed is not None:
            speeds[device] = speed
    return replace(bench or Bench(), gpus=speeds) if speeds else bench


@cache
def published(kind: str, name: str) -> GpuSpeed | None:
    """Return what a shipped profile states of an accelerator of this name; None where none does."""
    from titrant.compiler.machine.profile import profile_text, profiles, shipped_profile

    for profile in (shipped for shipped in profiles() if name in profile_text(shipped)):  # reading YAML takes its time
        hardware = shipped_profile(profile).hardware
        for gpu in hardware.identity.gpus:
            if (gpu.kind, gpu.name) == (kind, name) and hardware.bench is not None:
                return hardware.bench.gpus.get(f"{kind}:{gpu.index}")
    return None
