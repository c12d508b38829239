"""Read the description of a machine that is not at hand: a shipped profile, or a file of the same form."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from titrant.compiler.machine.processor import ARM, X86
from titrant.runtime.backends.backend import added_packages
from titrant.schema.facts import Bench, Gpu, GpuSpeed, Hardware, HardwareIdentity
from titrant.schema.values.units import parse_size

_DEFAULTS = "packages"
_KNOWN = frozenset({*X86.values(), *ARM.values()})


@dataclass(frozen=True)
class MachineProfile:
    """A machine to plan for, where its figures were published, and what to know about them."""

    name: str
    description: str
    published: tuple[str, ...]
    notes: tuple[str, ...]
    hardware: Hardware


def profiles() -> tuple[str, ...]:
    """List the shipped profiles, sorted."""
    files = resources.files("titrant.compiler.machine.profiles").iterdir()
    names = (file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))
    return tuple(sorted(name for name in names if name != _DEFAULTS))


def shipped_profile(name: str) -> MachineProfile:
    """Read a shipped profile, one of `profiles()`."""
    return read_profile(profile_text(name), name)


def profile_text(name: str) -> str:
    """Return the YAML of a shipped profile."""
    return resources.files("titrant.compiler.machine.profiles").joinpath(f"{name}.yaml").read_text("utf-8")


def read_profile(text: str, name: str) -> MachineProfile:
    """Read a profile's YAML; ValueError, whose text is for a person, when it is none.

    Packages and Python are those that titrant is tested with where the file states none. What moves (free memory and
    disk) is not known, and nothing is measured: of accelerators it may state what their vendor publishes.
    """
    value = yaml_value(text)
    if not isinstance(value, dict):
        raise ValueError("it holds no keys such as `system` and `cores`")
    file = TypeAdapter(_File).validate_python(value)
    defaults = _defaults()
    identity = HardwareIdentity(
        system=file.system,
        machine=file.machine,
        cpu=file.cpu,
        instructions=tuple(sorted(file.instructions)),
        cores=file.cores,
        memory_bytes=parse_size(file.memory) if file.memory else None,
        gpus=_gpus(file.gpus),
        python=file.python or str(defaults["python"]),
        # What is added to titrant here is taken to be there too: nothing could be planned with it otherwise.
        packages=dict(
            sorted({**(defaults["packages"] if file.packages is None else file.packages), **added_packages()}.items())
        ),
    )
    hardware = Hardware(identity, source=name, bench=_bench(file.gpus))
    return MachineProfile(name, file.description, file.published, file.notes, hardware)


def _size(text: str) -> str:
    parse_size(text)
    return text


def _instruction(name: str) -> str:
    if name not in _KNOWN:
        raise ValueError(f"unknown instruction set {name!r}; there are: {', '.join(sorted(_KNOWN))}")
    return name


ProfileSize = Annotated[str, AfterValidator(_size)]
Instruction = Annotated[str, AfterValidator(_instruction)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Gpus(_Strict):
    """One or more accelerators of a kind; their speeds are the vendor's figures, 16-bit ones without sparsity."""

    name: str
    kind: Literal["cuda", "mps"]
    memory: ProfileSize | None = None
    capability: str | None = None
    driver: str | None = None
    fp32_tflops: PositiveFloat | None = None
    half_tflops: PositiveFloat | None = None
    memory_gb_per_second: PositiveFloat | None = None
    count: int = Field(1, ge=1, le=64, strict=True)


class _File(_Strict):
    """A profile's file."""

    description: str
    published: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    system: Literal["linux", "darwin", "windows"]
    machine: Literal["x86_64", "aarch64", "arm64"]
    cpu: str
    instructions: tuple[Instruction, ...]
    cores: int = Field(ge=1, strict=True)
    memory: ProfileSize | None = None
    gpus: tuple[_Gpus, ...] = ()
    python: str | None = None
    packages: Mapping[str, str] | None = None


def _gpus(groups: tuple[_Gpus, ...]) -> tuple[Gpu, ...]:
    return tuple(
        Gpu(index, gpu.name, gpu.kind, parse_size(gpu.memory) if gpu.memory else None, gpu.capability, gpu.driver)
        for index, gpu in enumerate(_each(groups))
    )


def _each(groups: tuple[_Gpus, ...]) -> list[_Gpus]:
    return [group for group in groups for _ in range(group.count)]


def _bench(groups: tuple[_Gpus, ...]) -> Bench | None:
    """Return the published figures of each accelerator; they are apart from what identifies it."""
    speeds = {
        f"{gpu.kind}:{index}": GpuSpeed(
            fp32_flops_per_second=_scaled(gpu.fp32_tflops, 1e12),
            half_flops_per_second=_scaled(gpu.half_tflops, 1e12),
            memory_bytes_per_second=_scaled(gpu.memory_gb_per_second, 1e9),
        )
        for index, gpu in enumerate(_each(groups))
    }
    stated = {device: speed for device, speed in speeds.items() if speed != GpuSpeed()}
    return Bench(gpus=stated) if stated else None


def _scaled(figure: float | None, unit: float) -> float | None:
    return None if figure is None else figure * unit


@cache
def _defaults() -> Mapping[str, Any]:
    defaults: Mapping[str, Any] = yaml_value(profile_text(_DEFAULTS))
    return defaults


def yaml_value(text: str) -> Any:
    """Read YAML in which no key stands twice; ValueError, whose text is for a person, for anything else."""
    import yaml

    try:
        _refuse_doubled(yaml.compose(text, yaml.SafeLoader))
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _refuse_doubled(node: Any) -> None:
    """Raise ValueError for a key that stands twice, of which YAML would silently take the last."""
    seen: set[str] = set()
    for key, _ in node.value if node is not None and node.id == "mapping" else ():
        if key.value in seen:
            raise ValueError(f"line {key.start_mark.line + 1}: `{key.value}` stands twice")
        seen.add(key.value)
