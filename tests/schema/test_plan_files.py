"""Files in parameters."""

from titrant.schema.plan import files_in, is_file

FILE = {"path": "/a", "digest": "1"}


def test_finds_every_file_with_its_place():
    params = {"sources": {"a": {"csv": FILE}}, "list": [1, ({**FILE, "digest": "2"},)], "path": "/a"}
    found = {place: file["digest"] for place, file in files_in(params, ("load",))}
    assert found == {"load.sources.a.csv": "1", "load.list[1][0]": "2"}


def test_takes_nothing_else_for_a_file():
    assert not any(map(is_file, ({"path": "/a"}, {**FILE, "more": 1}, "path", None, [FILE])))
