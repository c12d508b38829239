"""A machine's facts as text for people."""

from typing import TYPE_CHECKING

from titrant.layout import TIED, wrapped
from titrant.schema.facts import Bench, Gpu, GpuSpeed, GpuState, Hardware, HardwareVolatile
from titrant.schema.units import counted, format_size, format_time

if TYPE_CHECKING:
    from titrant.verbs.engines import Engine
    from titrant.verbs.watch_machine import Sample

_COLUMN = 14
DETECTED = "detected"


def hardware_text(hardware: Hardware, engines: "tuple[Engine, ...] | None" = None) -> str:
    """Write a machine in a dozen lines; what is not known is said to be unknown.

    `engines` are those that were tried whether they load, where they were.
    """
    identity = hardware.identity
    here = hardware.source == DETECTED
    rows = [
        ("cpu", f"{identity.cpu or 'unknown'} ({identity.machine}, {cores_text(identity.cores)})"),
        ("instructions", ", ".join(identity.instructions) or "unknown"),
        ("memory", _memory(identity.memory_bytes, hardware.volatile, here)),
        *([("disk", f"{_size(hardware.volatile.disk_free_bytes)} free where the store lives")] if here else []),
        ("system", f"{identity.system}, Python {identity.python}"),
        *_gpu_rows(identity.gpus, hardware),
        ("packages", ", ".join(f"{name}{TIED}{version}" for name, version in identity.packages.items()) or "unknown"),
        ("measured", bench_text(hardware.bench, here)),
    ]
    if engines is not None:
        rows += [("engines" if not index else "", text) for index, text in enumerate(map(engine_text, engines))]
    return "\n".join(laid_out(name, text) for name, text in rows)


def laid_out(name: str, text: str) -> str:
    """Write a name in its column and the text beside it, filled to the console's width."""
    indent = " " * _COLUMN
    return wrapped(text, f"{name:<{_COLUMN}}", indent)


def elsewhere_text(hardware: Hardware, what: str = "planned for another machine") -> str:
    """Say that `what` is about a machine that is not at hand, and where its facts come from; "" for this one."""
    if hardware.source == DETECTED:
        return ""
    from titrant.compiler.profile import profiles, shipped_profile

    lines = [f"{what}, not measured here: {hardware.source}"]
    if hardware.source in profiles():
        profile = shipped_profile(hardware.source)
        lines[0] += f", {profile.description}"
        lines.append("its facts are public specifications; its packages are those that titrant is tested with")
        lines += profile.notes
    return "\n".join(wrapped(line, rest="  ") for line in lines)


def engine_text(engine: "Engine") -> str:
    """Write one engine, whether it loads, and what it says of itself."""
    if engine.problem:
        return f"{engine.name} {engine.version} does not load: {engine.problem}"
    details = "; ".join(f"{name}: {text}" for name, text in engine.details.items())
    text = f"{engine.name} {engine.version} loads in {format_time(engine.seconds)}"
    return f"{text} ({details})" if details else text


def bench_text(bench: Bench | None, here: bool = True) -> str:
    """Write what was measured, or how to measure it."""
    if bench is None or not bench.measured:
        return "not yet; measure with: titrant hardware --bench" if here else "not known of this machine"
    figures = (
        ("fp32", bench.fp32_flops_per_second, _flops),
        ("int8", bench.int8_flops_per_second, _flops),
        ("memory", bench.memory_bytes_per_second, _rate),
        ("disk write", bench.disk_write_bytes_per_second, _rate),
        ("disk read", bench.disk_read_bytes_per_second, _rate),
        ("worker start", bench.import_seconds, format_time),
    )
    return ", ".join(f"{name} {'unknown' if value is None else write(value)}" for name, value, write in figures) + (
        " (one thread)"
    )


def gpu_speed_text(speed: GpuSpeed | None, here: bool = True) -> str:
    """Write what is known of an accelerator's speed, and whether it was measured or its vendor states it."""
    if speed is None:
        return "speed unknown" + ("; measure with: titrant hardware --bench" if here else "")
    figures = (
        ("fp32", speed.fp32_flops_per_second, _flops),
        ("16 bits", speed.half_flops_per_second, _flops),
        ("its memory", speed.memory_bytes_per_second, _rate),
        ("to it", speed.transfer_bytes_per_second, _rate),
        ("an operation", speed.launch_seconds, format_time),
        ("there and back", speed.call_seconds, format_time),
    )
    known = ", ".join(f"{name} {write(value)}" for name, value, write in figures if value is not None)
    return f"{'measured' if speed.measured else 'published'}: {known}"


def cores_text(cores: int) -> str:
    """Write how many cores can be used."""
    return counted(cores, "usable core")


def sample_text(sample: "Sample", total_bytes: int | None) -> str:
    """Write what was seen at one moment in a line: how busy the cores are, free memory and disk, accelerators."""
    busy = sum(sample.cores) / max(1, len(sample.cores))
    volatile = sample.volatile
    parts = [
        f"{sample.seconds:>6.1f} s",
        f"cpu {busy:>4.0%} of {len(sample.cores)}",
        f"memory {_size(volatile.memory_available_bytes)} of {_size(total_bytes)} free",
        f"disk {_size(volatile.disk_free_bytes)} free",
    ]
    for state in volatile.gpus:
        use = "" if state.utilization is None else f" {state.utilization:.0%}"
        parts.append(f"gpu {state.index}{use}, {_size(state.memory_free_bytes)} free")
    return "  ".join(parts)


def cores_bars(sample: "Sample") -> str:
    """Write one bar a core, with its share in numbers."""
    rows = (
        f"  core {index:<3} {'█' * round(share * 40):<40} {share:>4.0%}" for index, share in enumerate(sample.cores)
    )
    return "\n".join(rows)


def _gpu_rows(gpus: tuple[Gpu, ...], hardware: Hardware) -> list[tuple[str, str]]:
    now = {state.index: state for state in hardware.volatile.gpus}
    speeds = {} if hardware.bench is None else hardware.bench.gpus
    alike: dict[str, list[int]] = {}
    for gpu in gpus:
        text = _gpu(gpu, now.get(gpu.index, GpuState(gpu.index)))
        speed = gpu_speed_text(speeds.get(f"{gpu.kind}:{gpu.index}"), hardware.source == DETECTED)
        alike.setdefault(f"{text}; {speed}", []).append(gpu.index)
    rows = [
        (f"gpu {each[0]}-{each[-1]}", f"{len(each)} × {text}") if len(each) > 1 else (f"gpu {each[0]}", text)
        for text, each in alike.items()
    ]
    return rows or [("gpu", "none found")]


def _gpu(gpu: Gpu, state: GpuState) -> str:
    if gpu.kind == "mps":
        return f"{gpu.name} through Metal (mps), shares the machine's memory"
    parts = [gpu.name, _size(gpu.memory_bytes)]
    if state.memory_free_bytes is not None:
        parts[-1] += f" ({_size(state.memory_free_bytes)} free)"
    parts.append(f"compute capability {gpu.capability or 'unknown'}")
    parts += [f"driver {gpu.driver}"] if gpu.driver else []
    parts += ["a slice of a divided GPU (MIG)"] if gpu.mig else []
    parts += [f"{state.utilization:.0%} busy"] if state.utilization is not None else []
    return ", ".join(parts)


def _memory(total: int | None, volatile: HardwareVolatile, here: bool) -> str:
    return _size(total) + (f", {_size(volatile.memory_available_bytes)} available" if here else "")


def _size(size: int | None) -> str:
    return "unknown" if size is None else format_size(size)


def _flops(rate: float) -> str:
    return f"{rate / 1e12:.3g} TFLOP/s" if rate >= 1e12 else f"{rate / 1e9:.3g} GFLOP/s"


def _rate(rate: float) -> str:
    return f"{rate / 1e9:.3g} GB/s" if rate < 1e12 else f"{rate / 1e12:.3g} TB/s"
