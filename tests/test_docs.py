"""The docs: every command shown runs, every link leads somewhere, generated pages are up to date."""

import re
import shlex
from pathlib import Path

import pytest

from .conftest import called_here

ROOT = Path(__file__).parent.parent
# Verbs that look at this process or load engines into it; the others start workers for what they run.
APART = {"bench": 1, "doctor": 2, "hardware": 0}  # with the workers that each starts
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def prepare(page: Path, folder: Path, warm) -> None:
    """Make what a page speaks of: the files that its blocks begin with the name of, and its synthetic data."""
    script = ROOT / "tests" / "docs" / f"{page.stem}.py"
    if not script.exists():
        return
    for name, text in re.findall(r"```(?:yaml|python)\n# ([\w.-]+)\n(.*?)```", page.read_text("utf-8"), re.S):
        (folder / name).write_text(text, "utf-8")
    done = warm(script, cwd=folder, env={}, starts=0)
    assert done.returncode == 0, done.stderr


def commands(page: Path) -> list[tuple[list[str], int]]:
    """Read the commands of a page's console blocks, and the exit code that a comment `# exit N` announces."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text("utf-8"), re.S):
        for line in block.splitlines():
            command, _, comment = line.removeprefix("$ ").partition("  #")
            code = re.search(r"exit (\d+)", comment)
            found.append((shlex.split(command), int(code[1]) if code else 0))
    return found


def write_files(page: Path, folder: Path) -> None:
    """Write the blocks of a page that begin with `# file: NAME`."""
    for name, text in re.findall(r"```\w+\n# file: (\S+)\n(.*?)```", page.read_text("utf-8"), re.S):
        (folder / name).write_text(text, "utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("warm_workers")
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_runs_every_command_shown(page, place_of_page, warm):
    place = place_of_page(page.stem)  # what a page runs is the latest for itself alone
    prepare(page, place, warm)
    write_files(page, place)
    for command, code in commands(page):
        assert command[0] in ("titrant", "python"), command
        if command[0] == "titrant" and command[1] not in APART:
            answer = called_here(place, place / "home", *command[1:])
        else:
            arguments = ["-m", *command] if command[0] == "titrant" else command[1:]
            starts = APART[command[1]] if command[0] == "titrant" else 0
            done = warm(*arguments, cwd=place, env={"TITRANT_HOME": str(place / "home")}, starts=starts)
            answer = (done.returncode, done.stdout, done.stderr)
        assert answer[0] == code, f"{shlex.join(command)}\n{answer[1]}{answer[2]}"


def test_shows_commands_on_many_pages():
    assert sum(len(commands(page)) for page in PAGES) > 10


def test_links_lead_somewhere():
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


@pytest.mark.parametrize("folder", ["how-to", "decisions"])
def test_has_every_page_of_a_folder_once_in_its_index(folder):
    place = ROOT / "docs" / folder
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (place / "README.md").read_text("utf-8"))
    assert sorted(listed) == sorted(page.name for page in place.glob("*.md") if page.name != "README.md")


def test_has_the_generated_pages_up_to_date(warm):
    done = warm(ROOT / "docs" / "generate.py", "--check", cwd=ROOT, env={}, starts=0)
    assert done.returncode == 0, done.stderr


def test_names_files_that_are_there():
    paths = re.compile(r"`((?:schema|compiler|runtime|recipes|src/titrant|tests|benchmarks|docs)/[\w./-]*)`")
    gone = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in PAGES
        for path in paths.findall(page.read_text("utf-8"))
        if not (ROOT / path).exists() and not path.endswith(".lock.yaml")  # a run makes it
    ]
    assert gone == []


def test_maps_old_files_to_files_that_are_there():
    lines = (ROOT / "docs" / "decisions" / "rooms-map.txt").read_text("utf-8").splitlines()[2:]
    places = [line.partition(" <- ")[0] for line in lines]
    assert len(places) > 200
    assert [place for place in places if not (ROOT / place).exists() and not (ROOT / f"{place}.py").exists()] == []


def test_lists_every_method_beside_its_engine_in_the_readme():
    from titrant.runtime import catalog
    from titrant.runtime.backends import backend

    rows = re.findall(r"^\| (\w+) \| (`.*) \|$", (ROOT / "README.md").read_text("utf-8"), re.M)
    listed = {engine: set(re.findall(r"`([\w.]+)`", methods)) for engine, methods in rows if engine in backend.names()}
    methods = (catalog.get(catalog.method_operator(name)).method for name in catalog.quantization_methods())
    brought: dict[str, set[str]] = {}
    for method in methods:
        brought.setdefault(method.engine, set()).add(method.name)
    assert listed == brought
