"""Speeds that vendors publish, for the accelerators of a machine that were not measured."""

from dataclasses import replace
from functools import cache

from titrant.compiler.profile import profile_text, profiles, shipped_profile
from titrant.schema.facts import Bench, Gpu, GpuSpeed


def with_published(bench: Bench | None, gpus: tuple[Gpu, ...]) -> Bench | None:
    """Add the published figures of every accelerator that was not measured and that a shipped profile describes.

    The name must be exactly the same: a variant of a card has other figures, and so has a MIG slice of one.
    """
    found = {} if bench is None else dict(bench.gpus)
    for gpu in gpus:
        device = f"{gpu.kind}:{gpu.index}"
        speed = None if gpu.mig or device in found else published(gpu.kind, gpu.name)
        if speed is not None:
            found[device] = speed
    return replace(bench or Bench(), gpus=found) if found else bench


@cache
def published(kind: str, name: str) -> GpuSpeed | None:
    """Return what a shipped profile states of an accelerator of this name; None where none does."""
    for profile in (one for one in profiles() if name in profile_text(one)):  # reading YAML takes its time
        hardware = shipped_profile(profile).hardware
        for gpu in hardware.identity.gpus:
            if (gpu.kind, gpu.name) == (kind, name) and hardware.bench is not None:
                return hardware.bench.gpus.get(f"{kind}:{gpu.index}")
    return None
