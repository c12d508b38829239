"""What the processor is called and which instruction sets it offers."""

from collections.abc import Mapping
from pathlib import Path

UNKNOWN = "unknown"

# The kernel's or sysctl's name of a feature → ours, for the features that change speed or numerics of inference.
X86: Mapping[str, str] = {
    "avx": "avx",
    "avx2": "avx2",
    "fma": "fma",
    "f16c": "f16c",
    "avx_vnni": "avx_vnni",
    "avx_vnni_int8": "avx_vnni_int8",
    "avx512f": "avx512f",
    "avx512bw": "avx512bw",
    "avx512vl": "avx512vl",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "avx512_fp16": "avx512_fp16",
    "amx_tile": "amx_tile",
    "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
}
ARM: Mapping[str, str] = {
    "neon": "neon",
    "asimd": "neon",
    "asimddp": "dotprod",
    "asimdhp": "fp16",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
    "svei8mm": "svei8mm",
    "svebf16": "svebf16",
    "sme": "sme",
}
DARWIN: Mapping[str, str] = {
    "hw.optional.avx1_0": "avx",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.avx512bw": "avx512bw",
    "hw.optional.avx512vl": "avx512vl",
    "hw.optional.AdvSIMD": "neon",
    "hw.optional.neon": "neon",
    "hw.optional.arm.FEAT_DotProd": "dotprod",
    "hw.optional.arm.FEAT_FP16": "fp16",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_SME": "sme",
}
# Arm's own servers print no name: (implementer, part) → core design, as the Linux kernel's and lscpu's tables have it.
ARM_CORES: Mapping[tuple[str, str], str] = {
    ("0x41", "0xd03"): "Arm Cortex-A53",
    ("0x41", "0xd08"): "Arm Cortex-A72",
    ("0x41", "0xd0b"): "Arm Cortex-A76",
    ("0x41", "0xd0c"): "Arm Neoverse-N1",
    ("0x41", "0xd40"): "Arm Neoverse-V1",
    ("0x41", "0xd42"): "Arm Cortex-A78AE",
    ("0x41", "0xd49"): "Arm Neoverse-N2",
    ("0x41", "0xd4f"): "Arm Neoverse-V2",
    ("0x41", "0xd83"): "Arm Neoverse-V3",
    ("0x41", "0xd8e"): "Arm Neoverse-N3",
    ("0x46", "0x001"): "Fujitsu A64FX",
    ("0x48", "0xd01"): "HiSilicon TaiShan v110",
    ("0x4e", "0x004"): "NVIDIA Carmel",
    ("0xc0", "0xac3"): "Ampere-1",
    ("0xc0", "0xac4"): "Ampere-1A",
}


def processor(system: str, root: Path = Path("/")) -> tuple[str, tuple[str, ...]]:
    """Return the processor's name and its instruction sets, sorted; ("unknown", ()) where the system does not say.

    `root` is where `proc/cpuinfo` is looked for.
    """
    if system == "linux":
        try:
            return parse_cpuinfo((root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return UNKNOWN, ()
    if system == "darwin":
        return parse_sysctl(_sysctl())
    import platform

    return platform.processor() or UNKNOWN, ()


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """Read the text of Linux's `/proc/cpuinfo`; a feature counts only if every processor has it."""
    name = ""
    parts: dict[str, str] = {}
    feature_lines: set[str] = set()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if key in ("flags", "Features"):
            feature_lines.add(value)
        elif key in ("model name", "Model", "Hardware") and not name:
            name = value
        elif key.startswith("CPU "):
            parts.setdefault(key, value)
    if not name and "CPU part" in parts:
        design = (parts.get("CPU implementer", "?"), parts["CPU part"])
        name = ARM_CORES.get(design, "implementer {} part {}".format(*design))
    features = set.intersection(*(set(line.split()) for line in feature_lines)) if feature_lines else set()
    return name or UNKNOWN, _named(features, {**X86, **ARM})


def parse_sysctl(text: str) -> tuple[str, tuple[str, ...]]:
    """Read what macOS's `sysctl machdep.cpu hw.optional` prints."""
    values = {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    features = {key for key, value in values.items() if value == "1"}
    return values.get("machdep.cpu.brand_string") or UNKNOWN, _named(features, DARWIN)


def _sysctl() -> str:
    import subprocess

    command = ["/usr/sbin/sysctl", "machdep.cpu", "hw.optional"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _named(features: set[str], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted({ours for theirs, ours in names.items() if theirs in features}))
