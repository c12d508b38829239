"""Names: one word, one thing; a file is a noun or a verb; a local says what it holds."""

from collections import defaultdict
from pathlib import Path

from .sources import sources

# What is written out: a column of `doctor --json`.
WRITTEN = {"src/titrant/api/doctor_machine.py": {"found"}, "src/titrant/cli/doctor.py": {"found"}}
LEFTOVERS = {"utils", "helpers", "base", "common", "manager", "misc"}


def test_calls_no_two_types_the_same():
    places = defaultdict(list)
    for file, source in sources().items():
        for name, line in source.types:
            places[name].append(f"{file}:{line}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_says_of_everything_what_it_holds():
    wrong = [
        f"{file}:{line}: {name}"
        for file, source in sources().items()
        for name, line in source.empty
        if name not in WRITTEN.get(file, set())
    ]
    assert wrong == []


def test_names_every_file_by_what_it_holds():
    wrong = [
        file
        for file in sources()
        if Path(file).stem in LEFTOVERS or ("_text" in Path(file).stem and not file.startswith("src/titrant/cli/"))
    ]
    assert wrong == []
