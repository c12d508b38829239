"""Read the description of a machine that is not at hand: a shipped profile, or a file of the same form."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from titrant.compiler.processor import ARM, X86
from titrant.schema.facts import Gpu, Hardware, HardwareIdentity
from titrant.schema.units import parse_size

_DEFAULTS = "packages"
_KNOWN = frozenset({*X86.values(), *ARM.values()})


@dataclass(frozen=True)
class Profile:
    """A machine to plan for, where its figures were published, and what to know about them."""

    name: str
    description: str
    published: tuple[str, ...]
    notes: tuple[str, ...]
    hardware: Hardware


def profiles() -> tuple[str, ...]:
    """List the shipped profiles, sorted."""
    files = resources.files("titrant.compiler.profiles").iterdir()
    names = (file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))
    return tuple(sorted(name for name in names if name != _DEFAULTS))


def shipped_profile(name: str) -> Profile:
    """Read a shipped profile, one of `profiles()`."""
    return read_profile(_text(name), name)


def read_profile(text: str, name: str) -> Profile:
    """Read a profile's YAML; ValueError, whose text is for a person, when it is none.

    Packages and Python are those that titrant is tested with where the file states none. What moves (free memory and
    disk) is not known, and nothing is measured.
    """
    value = _yaml(text)
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
        packages=dict(sorted((defaults["packages"] if file.packages is None else file.packages).items())),
    )
    return Profile(name, file.description, file.published, file.notes, Hardware(identity, source=name))


def _size(text: str) -> str:
    parse_size(text)
    return text


def _instruction(name: str) -> str:
    if name not in _KNOWN:
        raise ValueError(f"unknown instruction set {name!r}; there are: {', '.join(sorted(_KNOWN))}")
    return name


Size = Annotated[str, AfterValidator(_size)]
Instruction = Annotated[str, AfterValidator(_instruction)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Gpus(_Strict):
    """One or more accelerators of a kind."""

    name: str
    kind: Literal["cuda", "mps"]
    memory: Size | None = None
    capability: str | None = None
    driver: str | None = None
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
    memory: Size | None = None
    gpus: tuple[_Gpus, ...] = ()
    python: str | None = None
    packages: Mapping[str, str] | None = None


def _gpus(groups: tuple[_Gpus, ...]) -> tuple[Gpu, ...]:
    each = [group for group in groups for _ in range(group.count)]
    return tuple(
        Gpu(index, one.name, one.kind, parse_size(one.memory) if one.memory else None, one.capability, one.driver)
        for index, one in enumerate(each)
    )


@cache
def _defaults() -> Mapping[str, Any]:
    found: Mapping[str, Any] = _yaml(_text(_DEFAULTS))
    return found


def _text(name: str) -> str:
    return resources.files("titrant.compiler.profiles").joinpath(f"{name}.yaml").read_text("utf-8")


def _yaml(text: str) -> Any:
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
