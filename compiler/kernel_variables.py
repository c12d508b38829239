"""Which variables of the environment make libraries compute with other kernels, and so give other bytes."""

import os
from collections.abc import Mapping

# Of PyTorch, oneDNN, MKL, OpenBLAS, BLIS, NumPy, the C library and NVIDIA's: each chooses among instruction sets, or
# how exactly is computed. What titrant itself gives a worker, such as the number of threads, is none of them.
NAMES = (
    "ATEN_CPU_CAPABILITY", "BLIS_ARCH_TYPE", "DNNL_DEFAULT_FPMATH_MODE", "DNNL_MAX_CPU_ISA", "GLIBC_TUNABLES",
    "MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "MKL_ENABLE_INSTRUCTIONS", "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES", "NVIDIA_TF32_OVERRIDE", "ONEDNN_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)  # fmt: skip


def kernel_variables(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return those that are set, as NAME=value, sorted."""
    given = os.environ if environment is None else environment
    return tuple(f"{name}={given[name]}" for name in NAMES if given.get(name))
