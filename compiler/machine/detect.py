"""Detect the machine at hand: what identifies it, libraries and variables included, apart from what moves."""

import os
import platform
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path

from titrant.compiler.machine.accelerators import accelerators
from titrant.compiler.machine.limits import disk_free, memory_available, memory_total, usable_cores
from titrant.compiler.machine.processor import UNKNOWN, processor
from titrant.compiler.machine.speeds import read_bench, with_published
from titrant.runtime.backends import backend
from titrant.schema.facts import GpuState, Hardware, HardwareIdentity, HardwareVolatile
from titrant.schema.values.distributions import installed_version
from titrant.schema.values.files import home_path

_MACHINES = {"amd64": "x86_64", "x64": "x86_64"}

# Of a program: where the linker writes what names the build.
_HEAD_BYTES = 4096

# Libraries whose version can change bytes, numbers or what is possible here.
LIBRARIES = (
    "accelerate",
    "bitsandbytes",
    "datasets",
    "jinja2",
    "matplotlib",
    "mlx",
    "nncf",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxscript",
    "openvino",
    "optuna",
    "pandas",
    "pillow",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "scipy",
    "tensorrt",
    "tokenizers",
    "torch",
    "torch-pruning",
    "torchao",
    "torchvision",
    "transformers",
)

# Of PyTorch, oneDNN, MKL, OpenBLAS, BLIS, NumPy, the C library and NVIDIA's: each chooses among instruction sets, or
# how exactly is computed. What titrant itself gives a worker, such as the number of threads, is none of them.
KERNEL_VARIABLES = (
    "ATEN_CPU_CAPABILITY", "BLIS_ARCH_TYPE", "DNNL_DEFAULT_FPMATH_MODE", "DNNL_MAX_CPU_ISA", "GLIBC_TUNABLES",
    "MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "MKL_ENABLE_INSTRUCTIONS", "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES", "NVIDIA_TF32_OVERRIDE", "ONEDNN_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)  # fmt: skip


def detect(home: Path | str | None = None) -> Hardware:
    """Describe this machine; `home` is where the store lives and what was measured is kept.

    Without one it is the folder that every verb takes: $TITRANT_HOME, or .titrant in the current folder. Reads the
    kernel's files, the GPU driver's library and package metadata; imports no engine, writes nothing and never raises.
    What cannot be found out is None, or "unknown" where text is due; `bench` holds nothing measured until
    `titrant hardware --bench` has run here, at most the published figures of accelerators that a shipped profile names.
    """
    home = Path(home) if home is not None else home_path()
    identity, gpus = _identity()
    volatile = HardwareVolatile(memory_available(), disk_free(home), gpus)
    bench = read_bench(home, identity)
    if identity.gpus:
        bench = with_published(bench, identity.gpus)
    return Hardware(identity=identity, volatile=volatile, bench=bench)


def detect_identity() -> HardwareIdentity:
    """Describe what stays the same from one moment to the next."""
    return _identity()[0]


def detect_volatile(home: Path) -> HardwareVolatile:
    """Describe what moves while one looks: free memory, free disk where `home` is, and what accelerators do."""
    _, states = accelerators(*_system(), UNKNOWN)
    return HardwareVolatile(memory_available(), disk_free(home), states)


def _identity() -> tuple[HardwareIdentity, tuple[GpuState, ...]]:
    """Describe what stays, and the accelerators' state: the driver answers both at once."""
    system, machine = _system()
    cpu, instructions = processor(system)
    gpus, states = accelerators(system, machine, cpu)
    identity = HardwareIdentity(
        system=system,
        machine=machine,
        cpu=cpu,
        instructions=(*instructions, *kernel_variables()),
        cores=usable_cores(),
        memory_bytes=memory_total(),
        gpus=gpus,
        python=platform.python_version(),
        packages={**installed(), **backend.added_packages(), **cpp_compiler()},
    )
    return identity, states


def _system() -> tuple[str, str]:
    """Return the names of the operating system and of the machine's architecture."""
    machine = platform.machine().lower() or UNKNOWN
    return platform.system().lower() or UNKNOWN, _MACHINES.get(machine, machine)


def installed(names: tuple[str, ...] = LIBRARIES) -> dict[str, str]:
    """Return the version of every named library that is installed, sorted by name; nothing is imported."""
    return {name: version for name in sorted(names) if (version := installed_version(name)) is not None}


def cpp_compiler() -> dict[str, str]:
    """Return the C++ compiler that torch would take, as its file's name and a sum of its head; {} where there is none.

    The head holds the identity of the build, and a process for the version would take longer than all else here.
    """
    path = shutil.which(os.environ.get("CXX") or "g++")
    if path is None:
        return {}
    file = Path(path).resolve()
    try:
        with file.open("rb") as opened:
            return {"c++": f"{file.name} {zlib.crc32(opened.read(_HEAD_BYTES)):08x}"}
    except OSError:
        return {}


def kernel_variables(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the variables that choose kernels and are set, as NAME=value, sorted."""
    given = os.environ if environment is None else environment
    return tuple(f"{name}={given[name]}" for name in KERNEL_VARIABLES if given.get(name))
