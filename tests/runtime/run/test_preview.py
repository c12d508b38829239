"""What would run, and why, without running anything."""

import shutil
from dataclasses import replace

from titrant.runtime.run.preview import difference
from titrant.schema.values.files import digest_file


def test_calls_everything_new_before_the_first_run(toy, make_plan):
    symbols, _ = toy.previews(make_plan((1,)))
    assert set(symbols.values()) == {"+", "?"}
    assert symbols["c1.contract"] == "?"
    assert toy.ran() == []


def test_calls_everything_reused_after_a_run_but_what_the_search_did_not_ask_for(toy, ran, make_plan):
    plan = make_plan((1, 2, 3), verdicts={2: "FAIL"})
    ran(plan)
    symbols, _ = toy.previews(plan)
    assert [name for name, symbol in symbols.items() if symbol != "="] == ["c3.contract"]
    assert symbols["c3.contract"] == "?"


def test_names_the_changed_parameter_and_what_has_to_wait_for_it(toy, ran, make_plan, change):
    plan = make_plan((1, 2))
    ran(plan)
    symbols, found = toy.previews(change(plan, "c2", padding=33))
    assert symbols["c2"] == "~"
    assert found["c2"].because == "because params.padding changed from 50 to 33"
    assert found["c2.tuning"].because == "because c2 runs again"
    assert symbols["c1"] == symbols["load"] == "="
    assert symbols["c1.contract"] == "?"


def test_names_the_changed_module_of_a_user(toy, ran, make_plan):
    plan = make_plan((1,))
    ran(plan)
    (toy.folder / "toy_numbers.py").write_text("PLUS = 2\n")
    _, found = toy.previews(plan)
    assert found["load"].symbol == "~"


def test_names_the_gate_and_the_number_that_changed_in_it():
    def parts(threshold, supplied=False, **more):
        gates = [{"id": "size", "threshold": 9}, {"id": "retention", "threshold": threshold, "supplied": supplied}]
        return {"params": {"candidate": "c1", "gates": gates + [{"id": name} for name in more]}}

    told = "the threshold of the gate retention changed from 0.9 to 0.91"
    assert difference(parts(0.9), parts(0.91)) == told
    assert difference(parts(0.9), parts(0.95, supplied=True)) == "the level supplies the gate retention now"
    assert difference(parts(0.9, supplied=True), parts(0.9)) == "the recipe writes the gate retention now"
    assert difference(parts(0.9), parts(0.9, safety=True)) == "the contract has the gate safety now"
    assert difference(parts(0.9, safety=True), parts(0.9)) == "the contract has no gate safety now"
    assert difference({"params": {"batches": [1, 8]}}, {"params": {"batches": [1]}}) == (
        "params.batches changed from [1, 8] to [1]"
    )


def test_names_the_operators_version_before_all_else():
    old = {"operator": "train.fit", "params": {"epochs": 3}, "version": 1}
    told = "the version of train.fit changed from 1 to 2"
    assert difference(old, {**old, "params": {"epochs": 30}, "version": 2}) == told


def test_names_a_changed_library_and_a_changed_file(toy, ran, make_plan, change, tmp_path):
    (tmp_path / "a").write_text("1")
    plan = make_plan((1,), load={"file": {"path": str(tmp_path / "a"), "digest": digest_file(tmp_path / "a")}})
    ran(plan)
    _, found = toy.previews(change(plan, "load", file={"path": "/a", "digest": "2"}))
    assert found["load"].because == "because the file file changed"
    _, found = toy.previews(replace(plan, threads=2))
    assert found["load"].because == "because threads changed from 1 to 2"


def test_names_a_damaged_output(toy, ran, here, make_plan):
    plan = make_plan((1,))
    record = ran(plan)
    artifact = next(s.result.outputs["model"] for s in record.steps if s.step == "c1")
    path = toy.home.store / "blake3" / artifact.digest[:2] / artifact.digest
    path.unlink()
    _, found = toy.previews(plan)
    assert found["c1"].because == "because its output is missing or damaged in the store"
    assert toy.run(plan).executed == 2


def test_answers_as_executing_would_where_nothing_would_run(toy, ran, here, make_plan):
    plan = make_plan((1, 2, 3), verdicts={2: "FAIL"})
    first = ran(plan)
    answer, executed = toy.preview(plan).answer, toy.run(plan)
    assert replace(answer, seconds=0.0) == replace(executed, seconds=0.0)
    assert (answer.run, answer.executed, answer.reused) == (first.run, 0, executed.reused)


def test_answers_nothing_where_something_would_run(toy, ran, make_plan, change):
    plan = make_plan((1, 2))
    assert toy.preview(plan).answer is None
    ran(plan)
    assert toy.preview(change(plan, "c2", padding=33)).answer is None
    assert toy.preview(plan).answer is not None
    (toy.folder / "toy_numbers.py").write_text("PLUS = 2\n")
    assert toy.preview(plan).answer is None


def test_answers_nothing_once_what_was_released_is_gone_or_changed(toy, ran, make_plan):
    plan = make_plan((1,))
    run = toy.home.runs / ran(plan).run
    assert toy.preview(plan).answer is not None
    released = next(path for path in sorted((run / "outputs").rglob("*")) if path.is_file())
    released.chmod(0o644)
    released.write_bytes(b"something else")
    assert toy.preview(plan).answer is None


def test_says_that_a_result_counted_for_its_run_only(toy, ran, make_plan, change):
    plan = change(make_plan((1,)), "latency", passing="a file was busy")
    ran(plan)
    timed = toy.previews(plan)[1]["latency"]
    assert (timed.symbol, timed.because) == ("+", "because its result counted for that run only: a file was busy")


def test_says_that_a_step_failed_and_that_a_result_is_gone(toy, ran, make_plan):
    plan = make_plan((1, 2), make={2: {"do": "raise"}})
    record = ran(plan)
    shutil.rmtree(toy.home.results / next(step.key for step in record.steps if step.step == "c1"))
    _, found = toy.previews(plan)
    assert (found["c1"].symbol, found["c1"].because) == ("+", "because its result is no longer in the home")
    assert found["c2"].because.startswith("because it failed: ValueError (toys.py:")


def test_names_what_came_and_went_in_a_list_of_names():
    old = {"instructions": ["avx", "avx2"]}
    told = "instructions changed: now with ATEN_CPU_CAPABILITY=default, without avx2"
    assert difference(old, {"instructions": ["avx", "ATEN_CPU_CAPABILITY=default"]}) == told


def test_says_that_a_step_differs_from_one_of_which_nothing_was_kept(toy, ran, make_plan, change):
    plan = make_plan((1,))
    ran(plan)
    shutil.rmtree(toy.home.results)
    toy.home.results.mkdir()
    _, found = toy.previews(change(plan, "load", number=7))
    assert found["load"].symbol == "~"
    assert found["load"].because == "because it is not what ran last, of which no more is known"
