"""What a run ran in: for the record, never with secrets."""

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from titrant.schema.canonical import plain
from titrant.schema.frozen import dataclass
from titrant.schema.installed_versions import installed_version
from titrant.schema.plan import Plan

_GIT_SECONDS = 2
# Where files lie changes nothing, and is another place on another machine.
_PLACES = ("TITRANT_HOME", "TITRANT_RECIPE_FOLDER")
# Variables that a user may have set, and that change kernels, threads, or which code is imported.
_FLAGS = (
    "ATEN_", "BLIS_", "CUBLAS_", "CUDA_", "CUDNN_", "DNNL_", "GOMP_", "HF_", "KMP_", "LD_PRELOAD", "MALLOC_", "MKL_",
    "NCCL_", "NPY_", "NUMEXPR_", "NVIDIA_", "OMP_", "ONEDNN_", "OPENBLAS_", "OPENVINO_", "ORT_", "PYTHONHASHSEED",
    "PYTHONOPTIMIZE", "PYTHONPATH", "PYTORCH_", "TOKENIZERS_", "TORCH", "TRANSFORMERS_", "XLA_",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """The recipe of a run as it stands: its text, the file as the user wrote it, and its absolute folder.

    `written` is what the author wrote, where it is known: text, the base that it extends, overrides.
    """

    text: str
    file: str
    folder: Path
    written: Mapping[str, Any] = field(default_factory=dict)


def capture(plan: Plan, folder: Path) -> dict[str, str]:
    """Return versions, threads and flags as a flat mapping; of environment variables only what titrant itself sets."""
    return {
        "titrant": str(installed_version("titrant")),
        "python": platform.python_version(),
        "system": platform.platform(),
        "threads": str(plan.threads),
        "timing_threads": str(plan.timing_threads),
        "deterministic": str(plan.deterministic).lower(),
        **_git(folder),
    }


def packages() -> dict[str, str]:
    """Return every installed distribution with its version."""
    from importlib import metadata

    found = dict(_name_and_version(item.read_text("METADATA") or "") for item in metadata.distributions())
    return {name: found[name] for name in sorted(found, key=str.lower) if name}


def _name_and_version(text: str) -> tuple[str, str]:
    """Read the head of a METADATA: parsing it whole as an e-mail takes milliseconds a library."""
    head = dict(line.split(": ", 1) for line in text.partition("\n\n")[0].splitlines() if ": " in line[:20])
    return head.get("Name", ""), head.get("Version", "")


def describe(plan: Plan, recipe: Recipe, variables: dict[str, str]) -> dict[str, Any]:
    """Return what environment.json holds: no secrets, neither by the names of variables and keys nor by their shape.

    `variables` are those that the worker is given before it starts; `flags` are the user's that can change a result.
    """
    return {
        **capture(plan, recipe.folder),
        "recipe_file": str(Path(recipe.file).absolute()),
        "recipe_folder": str(recipe.folder),
        "recipe": written(recipe),
        "machine": machine(plan),
        "variables": {name: value for name, value in variables.items() if name not in _PLACES},
        "flags": flags(variables),
        "packages": packages(),
    }


def written(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as its author wrote it, with its base and overrides, secrets taken out."""
    from titrant.schema.config.secret_lines import without_secret_lines

    told = dict(recipe.written) or {"text": recipe.text}
    if isinstance(told.get("base"), Mapping):
        told["base"] = {**told["base"], "text": without_secret_lines(str(told["base"]["text"]))}
    if "overrides" in told:
        told["overrides"] = [without_secret_lines(str(override)) for override in told["overrides"]]
    return {**told, "text": without_secret_lines(str(told["text"]))}


def machine(plan: Plan) -> dict[str, Any]:
    """Return what the results hold for: the processor's instruction set, and accelerators with their drivers."""
    found = plan.hardware
    return {
        "machine": found.machine,
        "cpu": found.cpu,
        "cores": found.cores,
        "instructions": list(found.instructions),
        "accelerators": [{"name": gpu.name, "capability": gpu.capability, "driver": gpu.driver} for gpu in found.gpus],
    }


def flags(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the interpreter's flags and the user's variables that can change a result, but for those `given` anew."""
    from titrant.schema.config.secrets import redact

    found = {name: value for name, value in sorted(os.environ.items()) if name.startswith(_FLAGS) and name not in given}
    python: dict[str, Any] = plain({name: getattr(sys.flags, name) for name in ("optimize", "utf8_mode", "isolated")})
    return {"python": python, "variables": redact(found)[0]}


def _git(folder: Path) -> dict[str, str]:
    """Return the commit of the recipe's folder and whether it has changes; nothing outside a repository."""
    commit = _ask_git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changes = _ask_git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return {"git_commit": commit, "git_dirty": "unknown" if changes is None else str(bool(changes)).lower()}


def _ask_git(folder: Path, *arguments: str) -> str | None:
    import subprocess

    try:
        command = ["git", "-C", str(folder), "--no-optional-locks", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
