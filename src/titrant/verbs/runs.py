"""Find a run by folder, id, unique prefix or `latest`."""

from pathlib import Path

from titrant.schema.diagnostics import Diagnostic, RecipeError


def find_run(name: str, home: Path) -> Path:
    """Return a run's folder; RecipeError when there is none or more than one of that name."""
    direct = Path(name)
    if (direct / "plan.json").is_file():
        return direct
    folders = sorted(folder for folder in (home / "runs").glob("*/") if (folder / "plan.json").is_file())
    if name == "latest":
        found = folders[-1:]
    else:
        found = [folder for folder in folders if folder.name == name] or [
            folder for folder in folders if folder.name.startswith(name) or folder.name.endswith(name)
        ]
    if len(found) == 1:
        return found[0]
    if found:
        raise RecipeError(
            Diagnostic(
                "P007",
                f"'{name}' fits {len(found)} runs",
                help="one of: " + ", ".join(folder.name for folder in found[:8]),
            )
        )
    known = ", ".join(folder.name for folder in folders[-3:])
    raise RecipeError(
        Diagnostic("P007", f"there is no run '{name}' in {home / 'runs'}",
                   help=f"the last runs are: {known}" if known else "make one with: titrant run RECIPE")
    )  # fmt: skip
