"""The rooms: who may import whom, and what may not be imported at start-up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "schema": ("titrant.schema",),
    "compiler": ("titrant.schema", "titrant.compiler", "titrant.runtime.catalog"),
    "runtime": ("titrant.schema", "titrant.runtime"),
    "recipes": ("titrant.recipes",),
}
HEAVY = {
    "torch", "onnx", "onnxruntime", "openvino", "transformers", "bitsandbytes", "wandb", "matplotlib", "sklearn",
    "scipy", "pandas", "pyarrow", "numpy",
}  # fmt: skip


def imported(file: Path) -> list[tuple[int, str]]:
    """List every module that a file imports, at any depth, with its line."""
    found = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_only_the_rooms_that_it_may(room):
    wrong = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in sorted((ROOT / room).rglob("*.py"))
        for line, name in imported(file)
        if name.split(".")[0] == "titrant"
        and not any(f"{name}.".startswith(f"{allowed}.") for allowed in ALLOWED[room])
    ]
    assert wrong == []


def test_never_imports_its_own_rooms_by_their_bare_folder_names():
    bare = {"schema", "compiler", "runtime", "recipes"}
    wrong = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for room in bare
        for file in sorted((ROOT / room).rglob("*.py"))
        for line, name in imported(file)
        if name.split(".")[0] in bare
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "statement",
    [
        "import titrant",
        "import titrant.cli.main",
        "from titrant.runtime import catalog; [catalog.get(name) for name in catalog.names()]",
    ],
)
def test_imports_nothing_heavy_at_start_up(statement):
    code = f"{statement}\nimport sys\nprint(' '.join(sorted({HEAVY!r} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_links_every_room_into_the_package():
    for room in ("schema", "compiler", "runtime", "recipes"):
        link = ROOT / "src" / "titrant" / room
        assert link.is_symlink()
        assert link.readlink() == Path("../..") / room
