"""`titrant hardware`: describe this machine or another, measure it, follow it; and its facts as text for people."""

import argparse
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.cli import console
from titrant.cli.console import TIED, table, wrapped
from titrant.cli.options import json_option
from titrant.schema.diagnostics.diagnostics import OK, Diagnostic, RecipeError
from titrant.schema.facts import Bench, Gpu, GpuSpeed, GpuState, Hardware, HardwareVolatile
from titrant.schema.values.units import counted, format_size, format_time

if TYPE_CHECKING:
    from titrant.api.doctor_machine import Engine
    from titrant.api.hardware import Sample

DETECTED = "detected"
_FOREVER = float("inf")
_COLUMN = 14


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "profile", nargs="?", metavar="PROFILE", help="another machine: a shipped profile or a saved file"
    )
    parser.add_argument("--profiles", action="store_true", help="list the shipped profiles")
    parser.add_argument("--bench", action="store_true", help="measure arithmetic, memory and disk; keep the figures")
    parser.add_argument(
        "--watch", nargs="?", type=float, const=_FOREVER, metavar="SECONDS",
        help="follow cores, memory, disk and GPUs once a second, until Ctrl-C or for this many seconds",
    )  # fmt: skip
    parser.add_argument("--save", type=Path, metavar="FILE", help="save the description to plan with elsewhere")
    json_option(parser, "the description, or a sample a line")


def call(options: argparse.Namespace) -> int:
    """Describe, measure, follow or save a machine."""
    from titrant.api.hardware import find_hardware, save_hardware

    _refuse_together(options)
    if options.profiles:
        _list_profiles(options)
        return OK
    if options.watch is not None:
        _watch(options)
        return OK
    hardware = find_hardware(options.profile) if options.profile else _detected(measure=options.bench)
    if options.save:
        save_hardware(hardware, options.save)
        if not options.quiet:
            console.note(f"saved {options.save}; plan for it with: titrant plan RECIPE --hardware {options.save}")
    if options.json or not options.save:
        _show(hardware, options)
    return OK


def _detected(measure: bool) -> Hardware:
    from titrant.api.hardware import measure_machine
    from titrant.compiler.machine.detect import detect
    from titrant.runtime.store.home import home_folder

    if measure:
        console.note("measuring arithmetic, memory, disk and the start of a worker: up to 20 s")
        measure_machine()
    return detect(home_folder())


def _show(hardware: Hardware, options: argparse.Namespace) -> None:
    from titrant.api.doctor_machine import engines
    from titrant.runtime.store.home import home_folder
    from titrant.schema.values.canonical import plain

    tried = engines(hardware.identity, home_folder()) if options.verbose and not options.profile else None
    if options.json:
        console.answer_json({**plain(hardware), **({} if tried is None else {"engines": plain(tried)})})
        return
    elsewhere = elsewhere_text(hardware, "another machine")
    console.answer("\n".join(filter(None, (elsewhere, hardware_text(hardware, tried)))))


def _list_profiles(options: argparse.Namespace) -> None:
    from titrant.compiler.machine.profile import profiles, shipped_profile

    listed = {name: shipped_profile(name).description for name in profiles()}
    if options.json:
        console.answer_json(listed)
    else:
        console.answer(table(list(listed.items())))


def _watch(options: argparse.Namespace) -> None:
    from titrant.api.hardware import watch_machine
    from titrant.compiler.machine.limits import memory_total
    from titrant.runtime.store.home import home_folder

    total = memory_total()
    # Ctrl-C is how one ends a watch.
    with suppress(KeyboardInterrupt):
        if options.json:
            for sample in watch_machine(home_folder(), options.watch):
                if not console.answer_json(sample, lines=True):
                    return
            return
        with console.InPlace() as shown:
            for sample in watch_machine(home_folder(), options.watch):
                if not shown(sample_text(sample, total), bars(sample)):
                    return


def _refuse_together(options: argparse.Namespace) -> None:
    """Refuse options that would have nothing to act on, rather than ignore them."""
    asked = [name for name in ("--profiles", "--watch", "--bench", "--save") if _given(options, name)]
    alone = [name for name in asked if name in ("--profiles", "--watch")]
    problem, advice = "", "leave one of them out: titrant hardware --help"
    if options.profile and (wrong := [name for name in asked if name != "--save"]):
        problem = f"{wrong[0]} is about this machine, and {options.profile} is another"
    elif alone and len(asked) > 1:
        problem = f"{alone[0]} and {next(name for name in asked if name != alone[0])} cannot be done at once"
    elif options.watch is not None and not options.watch > 0:
        problem, advice = f"{options.watch:g} s is not a time to watch for", "give a number of seconds above 0"
    if problem:
        raise RecipeError(Diagnostic("P014", problem, help=advice))


def _given(options: argparse.Namespace, name: str) -> bool:
    return getattr(options, name.removeprefix("--")) not in (None, False)


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
    from titrant.compiler.machine.profile import profiles, shipped_profile

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
    rates = ", ".join(f"{name} {write(value)}" for name, value, write in figures if value is not None)
    return f"{'measured' if speed.measured else 'published'}: {rates}"


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
    for each in sample.accelerators:
        if each.utilization is None and each.memory_bytes is None:
            parts.append(f"{each.name} does not answer")
            continue
        use = "" if each.utilization is None else f" {each.utilization:.0%},"
        parts.append(f"{each.name}{use} {_size(each.memory_bytes)} used")
    return "  ".join(parts)


def bars(sample: "Sample") -> str:
    """Write a bar for each core and each accelerator, with its share in numbers."""
    rows = [
        f"  core {index:<3} {'█' * round(share * 40):<40} {share:>4.0%}" for index, share in enumerate(sample.cores)
    ]
    for each in sample.accelerators:
        busy = each.utilization
        share = "unknown" if busy is None else f"{'█' * round(busy * 40):<40} {busy:>4.0%}"
        whole = "" if each.total_bytes is None else f" of {format_size(each.total_bytes)}"
        rows += [f"  {each.name}: {_size(each.memory_bytes)}{whole}", f"           {share}"]
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
