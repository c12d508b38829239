"""`latest` is the run that answered last, also where an up-to-date run needed no folder of its own."""

import json

from titrant.runtime.store.home import Home, latest_first, note_answer


def report_title(place):
    answer = place.here("report", "latest")
    assert answer.code == 0, answer.all
    return answer.out.splitlines()[0]


def test_shows_the_run_that_an_up_to_date_run_rests_on(finished):
    place, _ = finished
    recipe = place.recipe()
    other = place.write("other.yaml", recipe.read_text().replace("name: small", "name: other"))
    assert place.titrant("run", "-q", other).code == 0
    assert "other" in report_title(place)
    again = place.titrant("run", "-q", recipe)
    assert "up to date" in again.out
    assert "small" in report_title(place)
    listed = place.here("show", "runs").out.splitlines()
    assert "-small-" in listed[1]
    # Another run that begins is the latest, and a home that cannot be written answers as well.
    assert place.titrant("run", "-q", "--set", "validation.retention=0.8", other).code == 0
    assert "other" in report_title(place)


def test_passes_over_a_note_that_is_damaged_or_about_a_run_that_is_gone(tmp_path):
    home = Home(tmp_path)
    for name in ("20260101T000000Z-a-11111111", "20260102T000000Z-b-22222222"):
        (home.runs / name).mkdir(parents=True)
    older, newer = (home.runs / name for name in sorted(folder.name for folder in home.runs.iterdir()))
    note_answer(home, older.name)
    assert latest_first(home.runs) == [older, newer]
    for text in ("", "{", "[]", json.dumps({"run": "gone", "time": "2099"}), json.dumps({"run": older.name})):
        (tmp_path / "answered.json").write_text(text)
        assert latest_first(home.runs) == [newer, older]
    note_answer(Home(tmp_path / "not-there"), older.name)
