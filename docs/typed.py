"""Check the types of the Python that pages show, as a user's own type checker would: strictly, without our settings."""

import re
import sys
import tempfile
from pathlib import Path

from mypy import api

# Every page whose Python uses an instrument, or builds a recipe.
PAGES = (
    "advice.md",
    "attention.md",
    "compare-two-models.md",
    "debug.md",
    "export-formats.md",
    "health.md",
    "inspect-a-model.md",
    "inspect.md",
    "layers.md",
    "measure.md",
    "plots.md",
    "time-and-memory.md",
    "watch-gradients.md",
    "watch.md",
    "without-a-recipe.md",
)


def main() -> int:
    """Type-check each page's blocks as one file, but for files of a recipe's own code; returns mypy's exit status."""
    pages = Path(__file__).parent / "how-to"
    with tempfile.TemporaryDirectory() as folder:
        scripts = []
        for page in PAGES:
            blocks = re.findall(r"```python\n(?!# file:)(.*?)```", (pages / page).read_text("utf-8"), re.S)
            scripts.append(Path(folder) / f"{Path(page).stem.replace('-', '_')}.py")
            scripts[-1].write_text("\n".join(blocks), "utf-8")
        # `backward` is untyped in torch itself.
        options = ["--strict", "--follow-imports=silent", "--untyped-calls-exclude=torch"]
        said, wrong, status = api.run([*options, *map(str, scripts)])
    sys.stdout.write(said)
    sys.stderr.write(wrong)
    return status


if __name__ == "__main__":
    sys.exit(main())
