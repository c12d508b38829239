"""`titrant hardware`: this machine and others, in text and JSON, measured and followed."""

import json
import os
import signal
import subprocess
import sys

import pytest

from titrant.compiler.machine.profile import profiles


def widths(text):
    return max(len(line) for line in text.splitlines())


def test_describes_this_machine(place):
    text, value = place.titrant("hardware"), place.titrant("hardware", "--json")
    assert "usable core" in text.out
    assert "measure with: titrant hardware --bench" in text.out
    assert widths(text.out) <= 100
    found = json.loads(value.out)
    assert found["source"] == "detected"
    assert found["bench"] is None or found["bench"]["fp32_flops_per_second"] is None
    assert set(found["volatile"]) == {"memory_available_bytes", "disk_free_bytes", "gpus"}


def test_describes_a_shipped_profile_and_saves_it_to_change(place):
    answer = place.here("hardware", "nvidia-t4")
    assert "another machine, not measured here: nvidia-t4" in answer.out
    assert "Tesla T4" in answer.out
    assert widths(answer.out) <= 100
    assert place.here("hardware", "nvidia-t4", "--save", "mine.json").code == 0
    again = json.loads(place.here("hardware", "mine.json", "--json").out)
    assert again["source"] == "mine.json"
    assert again["identity"]["gpus"][0]["name"] == "Tesla T4"


@pytest.mark.parametrize("name", ["m.json", "m.yaml", "m.yml", "m.YAML", "machine"])
@pytest.mark.parametrize("profile", [None, "nvidia-t4", "x86-vnni"])
def test_reads_what_it_saved_whatever_the_file_is_called(finished, name, profile):
    place, _ = finished
    told = ["hardware"] if profile is None else ["hardware", profile]
    file = place.folder / name
    try:
        assert place.here(*told, "--save", name).code == 0
        saved = json.loads(place.here("hardware", f"./{name}", "--json").out)
        described = json.loads(place.here(*told, "--json").out)
        assert saved["identity"] == described["identity"]
        assert saved["bench"] == described["bench"]
        assert place.here("plan", "recipe.yaml", "--hardware", f"./{name}").code == 0
    finally:
        file.unlink(missing_ok=True)


def test_reads_json_that_an_earlier_version_saved_as_yaml(place):
    place.here("hardware", "nvidia-t4", "--save", "m.json")
    (place.folder / "m.json").rename(place.folder / "m.yaml")
    assert json.loads(place.here("hardware", "m.yaml", "--json").out)["source"] == "m.yaml"


def test_lists_the_profiles(place):
    answer = place.here("hardware", "--profiles")
    assert widths(answer.out) <= 100
    assert tuple(json.loads(place.here("hardware", "--profiles", "--json").out)) == profiles()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nvidia-t5"], "P002", "did you mean 'nvidia-t4'?"),
        (["nowhere.json"], "P002", "there is no file nowhere.json"),
        (["recipe.yaml"], "P002", "does not describe a machine (description is missing)"),
        (["nothing-like-it"], "P002", "the shipped profiles are: apple-m2"),
        (["apple-m2", "--bench"], "P014", "apple-m2 is another"),
        (["--watch", "--save", "x.json"], "P014", "cannot be done at once"),
        (["--watch", "0"], "P014", "above 0"),
        (["--save", "recipe.yaml/x.json"], "P003", "cannot be written"),
    ],
)
def test_refuses_what_has_no_answer(place, arguments, code, says):
    place.recipe()
    answer = place.here("hardware", *arguments)
    assert answer.code == 2
    assert f"error[{code}]" in answer.err
    assert says in " ".join(answer.err.split())


def test_plans_for_another_machine_and_says_so(finished):
    place, _ = finished
    text = (place.folder / "recipe.yaml").read_text("utf-8")
    static = text.replace("quantization: {method: none}", "quantization: {method: ort.static, bits: 8}")
    recipe = place.write("static.yaml", static)
    plans = {name: place.here("plan", recipe, "--hardware", name).out for name in ("x86-avx2", "x86-vnni")}
    assert all(f"planned for another machine, not measured here: {name}" in plan for name, plan in plans.items())
    assert "weights in 7 bits (reduce_range: true)" in plans["x86-avx2"].partition("not int8")[0]
    assert "weights in 8 bits (reduce_range: false)" in plans["x86-vnni"].partition("not int8")[0]
    assert widths(plans["x86-vnni"].partition("\ndecisions")[0]) <= 100
    value = json.loads(place.here("plan", recipe, "--hardware", "x86-vnni", "--json").out)
    assert value["planned_for"] == {"here": False, "source": "x86-vnni"}
    review = place.here("plan", recipe, "--hardware", "x86-vnni", "--md").out
    assert "\n> planned for another machine, not measured here: x86-vnni, x86 server" in review
    assert "another machine" not in place.here("plan", recipe, "--md").out
    without = place.here("plan", recipe, "--hardware", "x86-vnni", "--set", "target.device=cuda")
    assert without.code == 3
    there = place.here("plan", recipe, "--hardware", "nvidia-t4", "--set", "target.device=cuda")
    assert there.code == 3
    assert "its kernels run on the CPU, and target.device is cuda" in there.err


def test_follows_the_machine_for_a_while(place):
    answer = place.titrant("hardware", "--watch", "1", "--json")
    samples = [json.loads(line) for line in answer.out.splitlines()]
    assert len(samples) == 1
    assert all(0 <= share <= 1 for share in samples[0]["cores"])
    assert samples[0]["volatile"]["memory_available_bytes"] > 0


def test_ends_a_watch_well_when_the_user_does(place):
    command = [sys.executable, "-m", "titrant", "hardware", "--watch"]
    environment = {**os.environ, "TITRANT_HOME": str(place.home)}
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert "memory" in watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    _, err = watch.communicate(timeout=120)
    assert (watch.returncode, err) == (0, "")


MEASURES = """
import titrant
from titrant.api.hardware import measure_machine

bench = measure_machine(starts=0)
assert bench.fp32_flops_per_second > 1e8
assert bench.int8_flops_per_second > 1e8
assert bench.import_seconds > 0
assert titrant.detect().bench == bench
"""


@pytest.mark.slow
def test_measures_this_machine_and_keeps_the_figures(tmp_path, warm):
    done = warm("-c", MEASURES, cwd=tmp_path, env={"TITRANT_HOME": str(tmp_path)}, starts=1)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "unfinished").iterdir()) == []
