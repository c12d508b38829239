"""`titrant doctor`: what lacks, what would change it, and what suits this machine."""

import json
import shutil

import pytest

from titrant.api import doctor as doctor_module
from titrant.api.doctor import asked_trackers, trackers, wandb_login
from titrant.api.doctor_machine import Engine, _capacity_row, _engine, _home


@pytest.mark.slow
def test_looks_at_the_machine_and_at_what_a_recipe_needs(place, shipped_doctor):
    """One test, because data and model are inspected once for a recipe; that engines load, another home has seen."""
    (kept,) = (shipped_doctor / "home" / "facts").glob("engines-*.json")
    (place.home / "facts").mkdir(parents=True)
    shutil.copy(kept, place.home / "facts")
    alone = place.titrant("doctor")
    assert alone.code == 0, alone.all
    for title in ("environment", "what this machine can do", "levels for this machine", "quantization methods"):
        assert f"\n{title}" in alone.out
    assert "→ titrant hardware --bench" in alone.out
    assert alone.out.rstrip().endswith("able to work here")
    # A path stays whole, however long it is.
    assert max(len(line) for line in alone.out.splitlines() if str(place.home) not in line) <= 100

    found = json.loads(place.titrant("doctor", place.recipe(), "--json").out)
    assert found["able"] is True
    needs = {finding["subject"]: finding for finding in found["needs"]}
    assert {"recipe", "data and model", "libraries", "disk", "memory", "time"} <= set(needs)
    assert "torch" in needs["libraries"]["found"]
    assert {method["name"] for method in found["methods"]} >= {"ort.static", "torch.dynamic"}
    assert found["levels"][0]["suits"] is True

    elsewhere = place.titrant("doctor", place.recipe(), "--set", "target.device=cuda:7")
    assert elsewhere.code == 3
    assert "lack  P060" in elsewhere.out

    place.write("net.py", "import no_such_library\n\n\nclass Net:\n    pass\n")
    broken = place.titrant("doctor", place.recipe())
    assert broken.code == 3
    assert "no_such_library" in broken.out
    assert "not able to run" in broken.out


def test_leaves_a_bad_recipe_to_its_error(place):
    answer = place.titrant("doctor", place.recipe(("level: balanced", "level: balance")))
    assert answer.code == 2
    assert "did you mean `balanced`?" in answer.err


def test_says_that_the_home_is_in_the_way(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    finding = _home(file)
    assert finding.state == "lack"
    assert finding.remedy.startswith("export TITRANT_HOME=")
    assert _home(file / "below").state == "lack"
    assert _home(tmp_path / "not" / "yet").state == "ok"


def test_refuses_options_of_a_recipe_without_one(place):
    answer = place.titrant("doctor", "--set", "seed=1")
    assert answer.code == 2
    assert "error[P014]" in answer.err


def test_tells_an_engine_that_is_needed_from_one_that_is_not():
    broken = {"problem": "OSError: no libfast.so"}
    assert _engine(Engine("torch", "2.13.0+cpu", **broken)).state == "lack"
    finding = _engine(Engine("openvino", "2026.4", **broken))
    assert (finding.state, finding.remedy) == ("note", "pip install --force-reinstall openvino==2026.4")


def test_holds_room_against_what_work_needs():
    states = [_capacity_row("disk", free, (100, 1000), "free", "make room").state for free in (None, 50, 500, 5000)]
    assert states == ["note", "lack", "note", "ok"]


def test_sees_that_nobody_is_logged_in_to_a_tracker(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("NETRC", raising=False)
    (finding,) = wandb_login(needed=True)
    assert finding.state == "lack"
    monkeypatch.setenv("WANDB_API_KEY", "set")
    (finding,) = wandb_login(needed=True)
    assert finding.state == "ok"
    assert "set" not in finding.found


@pytest.fixture
def _nobody_logged_in(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DISABLED", "WANDB_DIR", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.usefixtures("_nobody_logged_in")
@pytest.mark.parametrize(
    ("asked", "variables", "state", "said"),
    [
        ({"wandb": {"mode": "offline"}}, {}, "ok", "offline"),
        ({"wandb": {"mode": "online"}}, {}, "lack", "a run would be kept offline"),
        ({"wandb": {"mode": "online"}}, {"WANDB_API_KEY": "k"}, "ok", "online"),
        ({"wandb": {"mode": "online"}}, {"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, "note", "WANDB_MODE is"),
        ({"wandb": {"mode": "offline"}}, {"WANDB_DISABLED": "true"}, "note", "WANDB_DISABLED is set"),
        ({"wandb": {"mode": "offline"}}, {"WANDB_DIR": "FILE/below"}, "lack", "a run goes on without it"),
        ({"tensorboard": {"folder": ""}}, {}, "ok", "in the run folder"),
        ({"tensorboard": {"folder": "FILE"}}, {}, "lack", "a run goes on without it"),
        ({"mlflow": {"uri": ""}}, {}, "ok", "in a database of the home"),
        ({"mlflow": {"uri": "sqlite:////srv/x.db"}}, {}, "ok", "not tried"),
        ({"mlflow": {"uri": "http://127.0.0.1:1"}}, {}, "lack", "cannot be reached"),
    ],
)  # fmt: skip
def test_says_of_each_tracker_what_is_true(monkeypatch, tmp_path, asked, *, variables, state, said):
    (tmp_path / "file").write_text("in the way")
    file = str(tmp_path / "file")
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("FILE", file))
    asked = {name: {key: value.replace("FILE", file) for key, value in each.items()} for name, each in asked.items()}
    *_, row = asked_trackers(asked)
    assert (row.state, said in row.found) == (state, True), row
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_says_which_trackers_are_installed(monkeypatch):
    assert {row.subject: row.state for row in trackers()} == {"wandb": "ok", "tensorboard": "ok", "mlflow": "ok"}
    monkeypatch.setattr(doctor_module, "is_installed", lambda name: False)
    assert {row.subject: row.remedy for row in trackers()} == {
        "tensorboard": "pip install 'titrant[tensorboard]'", "mlflow": "pip install 'titrant[mlflow]'"
    }  # fmt: skip
    (row,) = asked_trackers({"tensorboard": {"folder": ""}})
    assert (row.state, row.remedy) == ("lack", "pip install 'titrant[tensorboard]'")
