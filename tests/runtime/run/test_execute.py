"""Executing a plan: what runs, what is reused, what is released, and what happens when a step goes wrong."""

import json
import re
import sys
from dataclasses import replace

import pytest

from titrant.runtime.store.journal import read
from titrant.schema.diagnostics.diagnostics import StaleError, StepError
from titrant.schema.gate import Gate
from titrant.schema.plan import Step
from titrant.schema.values import files
from titrant.schema.values.files import digest_file


def folder_of(toy, record):
    return toy.home.runs / record.run


def test_runs_every_stage_and_releases_the_most_aggressive_that_keeps_the_contract(toy, here, make_plan):
    record = toy.run(make_plan())
    assert (record.verdict, record.exit, record.released) == ("PASS", 0, ("c2",))
    assert record.executed == 12
    assert record.reused == 0
    assert {c.candidate: c.status for c in record.candidates} == {"c1": "judged", "c2": "released"}
    folder = folder_of(toy, record)
    assert json.loads((folder / "outputs" / "toy.json").read_text())["level"] == 2
    assert json.loads((folder / "outputs" / "operating_point.json").read_text())["kind"] == "argmax"
    assert json.loads((folder / "outputs" / "titrant.json").read_text())["models"][0]["candidate"] == "c2"
    assert list((folder / "quarantine").iterdir()) == []
    assert (folder / "report.html").read_text() == "PASS"
    assert {"recipe.yaml", "plan.json", "hardware.json", "environment.json", "journal.jsonl", "record.json"} <= {
        path.name for path in folder.iterdir()
    }


def test_executes_nothing_the_second_time_and_names_the_earlier_run(toy, make_plan):
    first = toy.run(make_plan())
    toy.ran()
    before = set(sys.modules)
    second = toy.run(make_plan())
    assert toy.ran() == []
    assert (second.executed, second.reused, second.run) == (0, 12, first.run)
    assert len(list(toy.home.runs.iterdir())) == 1
    assert "torch" not in set(sys.modules) - before


def test_reuses_nothing_that_the_machine_rather_than_the_model_caused(toy, here, make_plan, change):
    plan = change(make_plan(), "latency", failed={"c2": "no memory left"}, passing="c2 failed: no memory left")
    first = toy.run(plan)
    assert first.released == ("c1",)
    assert any("counts for this run only" in event.get("text", "") for event in toy.events)
    toy.ran()
    again = toy.run(plan)
    assert toy.ran() == ["report", "time"]
    assert (again.executed, again.released) == (2, ("c1",))
    lasting = change(plan, "latency", passing="")
    toy.run(lasting)
    toy.ran()
    toy.run(lasting)
    assert toy.ran() == []


def test_says_that_latest_names_a_run_from_before_the_clock_was_set_back(toy, here, make_plan):
    toy.run(make_plan((1,)))
    assert not any("clock" in event.get("text", "") for event in toy.events)
    (toy.home.runs / "29990101T000000Z-toy-00000000").mkdir()
    toy.run(make_plan((2,)))
    told = [event["text"] for event in toy.events if "clock" in event.get("text", "")]
    assert told == [
        "the clock was set back since 29990101T000000Z-toy-00000000 began: `latest` goes on naming that run"
    ]


def test_judges_only_what_the_shortlist_asks_for_and_stops_at_the_first_that_fails(toy, here, make_plan):
    record = toy.run(make_plan((1, 2, 3), verdicts={2: "FAIL"}))
    statuses = {c.candidate: c.status for c in record.candidates}
    assert statuses == {"c1": "released", "c2": "judged", "c3": "shortlisted"}
    assert "judge c3" not in toy.ran()
    assert {s.step: s.status for s in record.steps}["c3.contract"] == "unused"


def test_releases_nothing_and_fills_quarantine_when_no_candidate_keeps_the_contract(toy, here, make_plan):
    record = toy.run(make_plan((1,), verdicts={1: "FAIL"}))
    folder = folder_of(toy, record)
    assert (record.exit, record.verdict, record.released) == (5, "FAIL", ())
    assert list((folder / "outputs").iterdir()) == []
    assert (folder / "quarantine" / "toy.json").exists()


def test_calls_nothing_proven_that_follows_a_candidate_released_without_proof(toy, here, make_plan):
    record = toy.run(make_plan((1, 2), verdicts={1: "INCONCLUSIVE"}))
    assert (record.exit, record.verdict, record.released) == (0, "NOT PROVEN", ("c2",))
    assert not record.candidates[1].judgement.proven


def test_reruns_exactly_the_steps_that_depend_on_a_changed_parameter(toy, ran, here, make_plan, change):
    plan = make_plan()
    ran(plan)
    toy.ran()
    record = toy.run(change(plan, "c2", padding=33))
    assert toy.ran() == ["answer 2", "judge c2", "make 2", "report", "time"]
    assert record.executed == 5


def test_rejects_a_candidate_whose_operator_refuses_and_does_not_ask_it_again(toy, here, make_plan):
    plan = make_plan((1, 2), make={2: {"do": "refuse"}})
    record = toy.run(plan)
    assert record.released == ("c1",)
    assert record.candidates[1].status == "rejected"
    assert record.candidates[1].because == "level is not for this model"
    toy.ran()
    assert toy.run(plan).executed == 0
    assert toy.ran() == []


def test_asks_again_when_only_refusals_are_left(toy, here, make_plan):
    plan = make_plan((1,), make={1: {"do": "refuse"}})
    for _ in range(2):
        with pytest.raises(StepError, match="level is not for this model"):
            toy.run(plan)
    assert toy.ran().count("make 1") == 2


def test_names_every_reason_when_no_candidate_can_be_made(toy, here, make_plan):
    plan = make_plan((1, 2), make={1: {"do": "refuse"}, 2: {"do": "raise"}})
    reasons = r"none of the 2 candidates could be made: c1: level .*; c2: ValueError \(toys.py"
    with pytest.raises(StepError, match=reasons):
        toy.run(plan)


def test_tells_a_users_exception_in_one_line_with_its_place_and_keeps_the_traceback(toy, make_plan, change):
    plan = make_plan((1, 2), make={1: {"do": "raise"}})
    record = toy.run(plan)
    because = record.candidates[0].because
    assert re.fullmatch(r"ValueError \(toys.py:\d+\)", because)
    log = (folder_of(toy, record) / "steps" / "02-c1" / "log.txt").read_text()
    assert "Traceback" in log
    assert log.splitlines()[-1] == "ValueError"
    assert "seven" not in log
    (failed,) = [event for event in toy.events if event["event"] == "failed"]
    assert failed["said"] == "seven is not even"
    assert "not even" not in (folder_of(toy, record) / "journal.jsonl").read_text()


@pytest.mark.parametrize(
    ("do", "cause"),
    [
        ("kill", "killed by the system (SIGKILL), most likely out of memory"),
        ("crash", "the worker crashed (SIGSEGV)"),
        ("exit", "the worker ended with exit code 3"),
        ("leave", "SystemExit: 4"),
    ],
)
def test_goes_on_with_the_other_candidates_when_the_worker_dies(toy, make_plan, do, cause):
    record = toy.run(make_plan((1, 2), make={1: {"do": do}}))
    assert cause in record.candidates[0].because
    assert record.released == ("c2",)


@pytest.mark.parametrize("asked", [True, False])
def test_keeps_what_a_killed_step_saved_until_it_is_finished(toy, make_plan, asked):
    plan = make_plan((1, 2), make={1: {"saves": True, "checkpoints": asked}})
    assert toy.run(plan).candidates[0].status == "rejected"
    (saved,) = (toy.home.path / "training").iterdir()
    assert [file.name for file in saved.iterdir()] == ["saved"]
    record = toy.run(plan)
    assert record.candidates[0].status != "rejected"
    assert not list((toy.home.path / "training").iterdir())
    kept = list(folder_of(toy, record).glob("steps/*/checkpoints/saved"))
    assert [file.read_text() for file in kept] == (["1"] if asked else [])
    assert bool([event for event in toy.events if "its checkpoints are in" in event.get("text", "")]) is asked


def test_fails_with_the_cause_when_a_shared_step_fails_and_releases_nothing(toy, here, make_plan):
    with pytest.raises(StepError, match="No such file or directory"):
        toy.run(make_plan(load={"opens": str(toy.folder / "missing")}))
    (folder,) = toy.home.runs.iterdir()
    assert list((folder / "outputs").iterdir()) == []
    assert not (folder / "record.json").exists()
    assert [event["event"] for event in read(folder / "journal.jsonl")][-1] == "closed"


def test_tells_what_a_step_prints_and_keeps_only_how_much(toy, make_plan):
    record = toy.run(make_plan((1,), make={1: {"do": "print"}}))
    folder = folder_of(toy, record)
    log = (folder / "steps" / "02-c1" / "log.txt").read_text()
    assert log.startswith("2 lines (26 bytes) were printed and are not kept")
    (printed,) = [event for event in toy.events if event["event"] == "printed"]
    assert printed["text"] == "said in python\nsaid below\n"
    assert not any("said below" in path.read_text("utf-8", "replace") for path in folder.rglob("*") if path.is_file())


def test_keeps_where_native_code_crashed(toy, make_plan):
    record = toy.run(make_plan((1, 2), make={1: {"do": "crash"}}))
    log = (folder_of(toy, record) / "steps" / "02-c1" / "log.txt").read_text()
    assert "Segmentation fault" in log
    assert "toys.py" in log


def test_tells_the_listener_what_the_journal_keeps_and_progress_besides(toy, here, make_plan):
    record = toy.run(make_plan((1,)))
    kept = read(folder_of(toy, record) / "journal.jsonl")
    told = [event for event in toy.events if event["event"] != "progress"]
    assert kept == told
    assert [event["event"] for event in kept[:3]] == ["planned", "started", "measured"]
    assert any(event["event"] == "progress" for event in toy.events)


def test_leaves_no_bytecode_in_the_recipes_folder(toy, make_plan):
    toy.run(make_plan((1,)))
    assert sorted(path.name for path in toy.folder.iterdir()) == ["toy_numbers.py", "toys.py"]


def test_refuses_a_file_that_changed_after_the_plan_was_made(toy, here, make_plan, tmp_path):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"one")
    given = {"path": str(file), "digest": digest_file(file)}
    file.write_bytes(b"two")
    with pytest.raises(StaleError, match=r"weights\.bin changed after the plan was made"):
        toy.run(make_plan((1,), load={"file": given}))
    file.write_bytes(b"one")
    assert toy.run(make_plan((1,), load={"file": given})).exit == 0


def test_keeps_no_result_of_a_file_that_changed_while_the_step_read_it(toy, here, make_plan, tmp_path):
    """It would be found again for the planned content, once that is back."""
    file = tmp_path / "weights.bin"
    file.write_bytes(b"one")
    plan = make_plan((1,), load={"file": {"path": str(file), "digest": digest_file(file)}})

    def rewrite(event):
        if event["event"] == "started" and event["step"] == "load":
            file.write_bytes(b"two")

    with pytest.raises(StaleError, match=r"weights\.bin changed while a step read it"):
        toy.run(plan, hear=rewrite)
    file.write_bytes(b"one")
    toy.ran()
    assert toy.run(plan).exit == 0
    assert "load" in toy.ran()


def test_names_the_run_that_gave_the_same_and_not_the_newest_of_this_plan(toy, make_plan):
    """A file of the user's changed and changed back: the plan is one, the results are two."""
    plan = make_plan()
    first = toy.run(plan)
    (toy.folder / "toy_numbers.py").write_text("PLUS = 2\n")
    second = toy.run(plan)
    assert (second.executed > 0, second.run != first.run) == (True, True)
    (toy.folder / "toy_numbers.py").write_text("PLUS = 1\n")
    again = toy.run(plan)
    assert (again.executed, again.run) == (0, first.run)
    assert [s.result.outputs for s in again.steps] == [s.result.outputs for s in first.steps]


def test_closes_a_new_run_when_no_earlier_one_gave_the_same(toy, ran, here, make_plan):
    plan = make_plan()
    first = ran(plan)
    path = folder_of(toy, first) / "record.json"
    record = json.loads(path.read_text())
    record["steps"][0]["result"]["outputs"]["rows"]["digest"] = "0" * 64
    path.write_text(json.dumps(record))
    again = toy.run(plan)
    assert (again.executed, again.run != first.run) == (0, True)
    assert (folder_of(toy, again) / "outputs" / "toy.json").exists()


def test_ships_nothing_when_the_run_cannot_be_closed(toy, here, make_plan, monkeypatch):
    def broken(path, value):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "write_json", _failing_at(files.write_json, "record.json", broken))
    with pytest.raises((OSError, StepError)):
        toy.run(make_plan())
    (folder,) = toy.home.runs.iterdir()
    assert list((folder / "outputs").iterdir()) == []
    assert not (folder / "record.json").exists()
    assert not list(folder.glob(".*"))


def test_ships_nothing_when_telling_the_end_fails(toy, here, make_plan):
    """The record and the outputs are in place already: both are taken back."""

    def listen(event):
        if event["event"] == "closed" and event["exit"] == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy.run(make_plan(), hear=listen)
    (folder,) = toy.home.runs.iterdir()
    assert list((folder / "outputs").iterdir()) == []
    assert not (folder / "record.json").exists()


def test_has_nothing_in_outputs_before_the_record_is_written(toy, here, make_plan, monkeypatch):
    seen = []
    write = files.write_json

    def watching(path, value):
        seen.extend(path.parent.joinpath("outputs").iterdir())
        write(path, value)

    monkeypatch.setattr(files, "write_json", _failing_at(write, "record.json", watching))
    record = toy.run(make_plan())
    assert seen == []
    assert (folder_of(toy, record) / "outputs" / "toy.json").exists()


def _failing_at(write, name, instead):
    return lambda path, value: (instead if path.name == name else write)(path, value)


@pytest.mark.parametrize("do", ["refuse", "raise"])
def test_releases_a_gentler_candidate_when_judging_a_later_one_fails(toy, here, make_plan, change, do):
    plan = change(make_plan((1, 2, 3)), "c2.contract", do=do)
    record = toy.run(plan)
    statuses = {c.candidate: c.status for c in record.candidates}
    assert statuses == {"c1": "released", "c2": "judged", "c3": "shortlisted"}
    assert (record.exit, record.verdict, record.released) == (0, "PASS", ("c1",))
    told = record.candidates[1]
    assert told.because.startswith("it could not be judged: c2.contract: ")
    assert told.judgement.verdict == "INCONCLUSIVE"
    assert [result.gate for result in told.judgement.results] == ["retention"]
    toy.ran()
    again = toy.run(plan)
    assert again.released == ("c1",)
    assert (again.run == record.run) == (do == "refuse")


def test_releases_nothing_when_the_only_candidate_cannot_be_judged(toy, here, make_plan, change):
    record = toy.run(change(make_plan((1,)), "c1.contract", do="refuse"))
    assert (record.exit, record.verdict, record.released) == (5, "INCONCLUSIVE", ())


def test_rejects_a_candidate_that_does_not_answer_the_same_twice_however_good_it_is(toy, here, make_plan):
    plan = make_plan((1, 2))
    refusing = replace(
        next(step for step in plan.steps if step.id == "c2"), id="c2.repeats", params={"level": 2, "do": "refuse"}
    )
    asked = tuple(
        replace(candidate, repeats="c2.repeats.model") if candidate.id == "c2" else candidate
        for candidate in plan.candidates
    )
    place = [step.id for step in plan.steps].index("latency")
    steps = (*plan.steps[:place], refusing, *plan.steps[place:])
    record = toy.run(replace(plan, steps=steps, candidates=asked))
    assert (record.candidates[1].status, record.candidates[1].because) == ("rejected", "level is not for this model")
    assert record.released == ("c1",)


def test_rejects_the_candidate_that_could_not_be_timed(toy, here, make_plan, change):
    record = toy.run(change(make_plan(), "latency", failed={"c2": "Invalid rank"}))
    assert (record.exit, record.released) == (0, ("c1",))
    assert (record.candidates[1].status, record.candidates[1].because) == (
        "rejected", "it could not be timed: Invalid rank",
    )  # fmt: skip


def test_fails_when_no_candidate_could_be_timed(toy, here, make_plan, change):
    plan = change(make_plan(), "latency", failed={"c1": "Invalid rank", "c2": "no kernel"})
    with pytest.raises(StepError, match="c1: it could not be timed: Invalid rank; c2: it could not be timed"):
        toy.run(plan)


def with_baseline(plan, change, original):
    gate = Gate("baseline", "baseline", "accuracy", "all", "at_least", 0.95, "exact_binomial", "recipe")
    gates = [{"id": "baseline", "preset": "baseline"}, {"id": "retention", "preset": "retention"}]
    for candidate in plan.candidates:
        plan = change(plan, f"{candidate.id}.contract", gates=gates, original=original)
    own = {"candidate": "original", "original": original, "gates": gates[:1]}
    inputs = {"original": "baseline.outputs", "candidate": "baseline.outputs", "model": plan.original}
    inputs |= {"rows": "load.rows", "point": "load.point"}
    judge = Step("original.contract", "toys:judge", 1, own, inputs, 7, "judge")
    return replace(
        plan,
        steps=(*plan.steps[:-1], judge, plan.steps[-1]),
        contract=replace(plan.contract, gates=(gate, *plan.contract.gates)),
        original_judgement="original.contract.judgement",
    )


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("verdict", ["FAIL", "INCONCLUSIVE"])
def test_judges_the_original_by_its_baseline_once_and_before_any_candidate_is_made(toy, make_plan, change, verdict):
    plan = with_baseline(make_plan(), change, verdict)
    record = toy.run(plan)
    ran = toy.ran()
    judged = [name for name in ran if name.startswith("judge")]
    assert (record.original.candidate, record.original.verdict) == ("original", verdict)
    if verdict == "INCONCLUSIVE":  # the contract asks for evidence, and the operator says that this is enough
        assert (judged, record.released) == (["judge c1", "judge c2", "judge original"], ("c2",))
        return
    assert ran == ["answer 0", "judge original", "load", "report"]
    assert (record.exit, record.verdict, record.released) == (5, "FAIL", ())
    assert (record.missed, {c.status for c in record.candidates}) == (True, {"not made"})
    assert all("the original itself misses the contract's baseline" in c.because for c in record.candidates)
    assert all(c.judgement is None for c in record.candidates)
    assert list((folder_of(toy, record) / "outputs").iterdir()) == []
    symbols, found = toy.previews(plan)
    assert (symbols["load"], symbols["c1"], symbols["report"]) == ("=", "?", "=")
    assert found["c1"].because == "the original itself misses the contract's baseline"
    again = toy.run(plan)
    assert (again.executed, again.run) == (0, record.run)
