"""The rooms: who may import whom, no circles, no crowds and no crumbs, and what may not be imported at start-up."""

import ast
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import titrant
from titrant.cli.options import VERBS

from .sources import sources

ROOT = Path(__file__).parent.parent
ROOMS = ("schema", "compiler", "runtime", "recipes", "src/titrant")
# Top-level folder → what its files may import.
ALLOWED = {
    "schema": ("titrant.schema",),
    "compiler": (
        "titrant.schema", "titrant.compiler", "titrant.runtime.catalog", "titrant.runtime.method",
        "titrant.runtime.backends.backend", "titrant.runtime.backends.model_kind",
    ),
    "runtime": ("titrant.schema", "titrant.runtime"),
    "recipes": ("titrant.recipes",),
}  # fmt: skip
# The compiler's folders from the ground up: each may import those before it. `compile.py` stands above them all.
COMPILER = ("machine", "bind", "facts", "decide", "given", "lower", "passes", "predict")
HEAVY = {
    "torch", "onnx", "onnxruntime", "openvino", "transformers", "bitsandbytes", "wandb", "matplotlib", "sklearn",
    "scipy", "pandas", "pyarrow", "numpy",
}  # fmt: skip
MOST_FILES, MOST_LINES, FEWEST_LINES, MANY_IMPORTERS = 16, 400, 60, 5
# Who names a module of ours in a text, which no import shows, and what for.
BY_NAME = {
    "compiler/predict/price.py": "what loading it takes, in a table",
    "runtime/backends/backend.py": "engines, which stand above what they share",
    "runtime/backends/kinds.py": "the table of which module keeps which kind",
    "runtime/backends/openvino/__init__.py": "the modules that load its native code, which nothing else may do first",
    "runtime/machine/bench.py": "times how long the worker takes to load",
    "runtime/trackers/followers.py": "the process of each tracker",
    "runtime/worker/parent.py": "the worker, a process of its own",
    "runtime/worker/tasks.py": "the inspection, which only a planning worker loads",
    "src/titrant/__init__.py": "public names, loaded when they are first used",
    "src/titrant/api/doctor_machine.py": "the probe of engines, a process of its own",
    "src/titrant/api/hardware.py": "the bench, a process of its own",
}
# Short on purpose: the pipeline on one page, and what `python -m titrant` looks for.
SHORT = ("compiler/compile.py", "src/titrant/__main__.py")


@cache
def files() -> dict[str, Path]:
    """Map every module of titrant to its file."""
    found = {}
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            if not any(parent.is_symlink() for parent in file.parents):
                parts = file.relative_to(ROOT / "src").parts if room == "src/titrant" else ("titrant", *room_path(file))
                name = ".".join(parts).removesuffix(".py").removesuffix(".__init__")
                found[name] = file
    return found


def room_path(file: Path) -> tuple[str, ...]:
    return file.relative_to(ROOT).parts


def place(file: Path) -> str:
    return str(file.relative_to(ROOT))


def folder(file: Path) -> str:
    return place(file.parent)


def imported(file: Path) -> tuple[tuple[int, str], ...]:
    return sources()[place(file)].imports


@cache
def arrows() -> dict[Path, set[Path]]:
    """Map every file to the files of titrant that it imports."""
    drawn = defaultdict(set)
    for file in files().values():
        for _, name in imported(file):
            target = files().get(name) or files().get(name.rpartition(".")[0])
            if target is not None and target != file:
                drawn[file].add(target)
    return drawn


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the first circle of a graph, as the names that it goes through; [] where there is none."""
    done: set[str] = set()

    def follow(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph.get(name, ())):
            if found := follow(target, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := follow(name, []))), [])


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


def test_has_no_circle_of_files():
    graph = {place(file): {place(target) for target in targets} for file, targets in arrows().items()}
    assert circle(graph) == []


def test_has_no_circle_of_folders():
    graph = defaultdict(set)
    for file, targets in arrows().items():
        graph[folder(file)] |= {folder(target) for target in targets} - {folder(file)}
    assert circle(graph) == []


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({"a": {"b"}, "b": {"c"}}, []),
        ({"a": {"b", "c"}, "b": {"c"}, "c": {"d"}}, []),
        ({"a": {"b"}, "b": {"a"}}, ["a", "b", "a"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}, ["b", "c", "d", "b"]),
    ],
)
def test_sees_a_circle(graph, found):
    assert circle(graph) == found


def test_compiles_one_way():
    wrong = []
    for file, targets in arrows().items():
        parts = room_path(file)
        if parts[0] != "compiler" or len(parts) < 3:
            continue
        for target in targets:
            below = room_path(target)
            if below[0] == "compiler" and below[1:2] != parts[1:2]:
                allowed = COMPILER[: COMPILER.index(parts[1])]
                wrong += [f"{place(file)} -> {place(target)}"] if below[1] not in allowed else []
    assert wrong == []


def is_a_file_each(file: Path) -> bool:
    """Tell whether a file is one of those of which there is one a verb, a public function or an operator.

    However many there are, and however short.
    """
    parts = room_path(file)
    public = parts[2:3] == ("api",) and file.stem in titrant.__all__
    verb = parts[2:3] in (("api",), ("cli",)) and file.stem in VERBS
    return parts[:2] == ("runtime", "operators") or public or verb


@pytest.mark.parametrize("verb", VERBS)
def test_has_two_files_a_verb(verb):
    command = ast.parse((ROOT / "src" / "titrant" / "cli" / f"{verb}.py").read_text("utf-8"))
    assert {"arguments", "call"} <= {node.name for node in command.body if isinstance(node, ast.FunctionDef)}
    assert (ROOT / "src" / "titrant" / "api" / f"{verb}.py").is_file()


def test_names_a_module_in_a_text_only_where_that_is_said():
    wrong = []
    for file in files().values():
        for text in sources()[place(file)].texts:
            target = files().get(text)
            # An operator says in `loads` what it is going to import.
            loads = place(file).startswith("runtime/operators/") and target in arrows()[file]
            if target not in (None, file) and target.name != "__init__.py" and place(file) not in BY_NAME and not loads:
                wrong.append(f"{place(file)}: {text}")
    assert wrong == []


def test_crowds_no_folder():
    counts = defaultdict(int)
    for file in files().values():
        if file.name != "__init__.py" and not is_a_file_each(file):
            counts[folder(file)] += 1
    assert {name: count for name, count in counts.items() if count > MOST_FILES} == {}


def test_keeps_what_is_read_together_together():
    importers = defaultdict(set)
    for file, targets in arrows().items():
        for target in targets:
            importers[target].add(file)
    wrong = []
    for file in files().values():
        lines = len(file.read_text("utf-8").splitlines())
        short = lines < FEWEST_LINES and len(importers[file]) < MANY_IMPORTERS
        exempt = file.name == "__init__.py" or is_a_file_each(file) or place(file) in SHORT
        if lines > MOST_LINES or (short and not exempt):
            wrong.append(f"{place(file)}: {lines} lines, {len(importers[file])} importers")
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


def test_looks_at_arrays_without_the_readers_of_recipes_and_images():
    """What a worker loads before it knows more than that a recipe has a factory."""
    looking = "titrant.runtime.worker.child, titrant.runtime.inspect.data, titrant.runtime.inspect.inputs"
    unneeded = (HEAVY | {"yaml", "ruamel", "PIL", "sympy"}) - {"numpy"}
    code = f"import sys, {looking}\nprint(sorted({unneeded!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_links_every_room_into_the_package():
    for room in ("schema", "compiler", "runtime", "recipes"):
        link = ROOT / "src" / "titrant" / room
        assert link.is_symlink()
        assert link.readlink() == Path("../..") / room
