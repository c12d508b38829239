"""Check the types of the Python that pages show, as a user's own type checker would: strictly, without our settings."""

import re
import sys
import tempfile
from pathlib import Path

from mypy import api

PAGES = ("without-a-recipe.md",)


def main() -> int:
    """Type-check each page's blocks as one file; returns mypy's exit status."""
    status = 0
    for page in PAGES:
        text = (Path(__file__).parent / "how-to" / page).read_text("utf-8")
        blocks = re.findall(r"```python\n(.*?)```", text, re.S)
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / f"{Path(page).stem.replace('-', '_')}.py"
            script.write_text("\n".join(blocks), "utf-8")
            said, wrong, code = api.run(["--strict", "--follow-imports=silent", str(script)])
        sys.stdout.write(said)
        sys.stderr.write(wrong)
        status = max(status, code)
    return status


if __name__ == "__main__":
    sys.exit(main())
