"""What a run ran in: for the record, never with secrets."""

import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from titrant.schema.plan import Plan

_GIT_SECONDS = 2


@dataclass(frozen=True)
class Recipe:
    """The recipe of a run as it stands: its text, the file as the user wrote it, and its absolute folder."""

    text: str
    file: str
    folder: Path


def capture(plan: Plan, folder: Path) -> dict[str, str]:
    """Return versions, threads and flags as a flat mapping; of environment variables only what titrant itself sets."""
    return {
        "titrant": metadata.version("titrant"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "threads": str(plan.threads),
        "timing_threads": str(plan.timing_threads),
        "deterministic": str(plan.deterministic).lower(),
        **_git(folder),
    }


def packages() -> dict[str, str]:
    """Return every installed distribution with its version."""
    found = dict(_name_and_version(item.read_text("METADATA") or "") for item in metadata.distributions())
    return {name: found[name] for name in sorted(found, key=str.lower) if name}


def _name_and_version(text: str) -> tuple[str, str]:
    """Read the head of a METADATA: parsing it whole as an e-mail takes milliseconds a library."""
    head = dict(line.split(": ", 1) for line in text.partition("\n\n")[0].splitlines() if ": " in line[:20])
    return head.get("Name", ""), head.get("Version", "")


def describe(plan: Plan, recipe: Recipe, variables: dict[str, str]) -> dict[str, Any]:
    """Return what environment.json holds."""
    return {
        **capture(plan, recipe.folder),
        "recipe_file": str(Path(recipe.file).absolute()),
        "recipe_folder": str(recipe.folder),
        "variables": variables,
        "packages": packages(),
    }


def _git(folder: Path) -> dict[str, str]:
    """Return the commit of the recipe's folder and whether it has changes; nothing outside a repository."""
    commit = _ask_git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changes = _ask_git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return {"git_commit": commit, "git_dirty": "unknown" if changes is None else str(bool(changes)).lower()}


def _ask_git(folder: Path, *arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(folder), "--no-optional-locks", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
