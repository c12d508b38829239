"""The rooms: who may import whom, no circles, no crowds and no crumbs, and what may not be imported at start-up."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Top-level folder → what its files may import.
ALLOWED = {
    "schema": ("titrant.schema",),
    "compiler": ("titrant.schema", "titrant.compiler", "titrant.runtime.catalog"),
    "runtime": ("titrant.schema", "titrant.runtime"),
    "recipes": ("titrant.recipes",),
}
# The compiler's folders in the order in which a recipe passes them, most basic first: each may import those before it.
COMPILER = ("machine", "facts", "bind", "decide", "lower", "passes", "predict", "")
HEAVY = {
    "torch", "onnx", "onnxruntime", "openvino", "transformers", "bitsandbytes", "wandb", "matplotlib", "sklearn",
    "scipy", "pandas", "pyarrow", "numpy",
}  # fmt: skip
MOST_FILES, MOST_LINES, FEWEST_LINES, MANY_IMPORTERS = 16, 400, 60, 5


@cache
def modules() -> dict[str, Path]:
    """Map every module of titrant to its file."""
    found = {}
    for room in ("schema", "compiler", "runtime", "recipes", "src/titrant"):
        top = ROOT / room
        for folder in [top, *(entry for entry in sorted(top.rglob("*")) if entry.is_dir())]:
            if any(part.is_symlink() for part in (folder, *folder.parents)) or folder.name == "__pycache__":
                continue
            for file in sorted(folder.glob("*.py")):
                parts = [
                    "titrant",
                    *file.with_suffix("").relative_to(ROOT / "src/titrant" if room[0:3] == "src" else ROOT).parts,
                ]
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def imported(file: Path) -> tuple[tuple[int, str], ...]:
    """List every module that a file imports, at any depth and for type checkers too, with its line."""
    found = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return tuple(found)
