"""What would run, and why, without running anything."""

from dataclasses import replace

from titrant.runtime.execution.blobs import digest_file


def test_calls_everything_new_before_the_first_run(toy, make_plan):
    symbols, _ = toy.forecast(make_plan((1,)))
    assert set(symbols.values()) == {"+", "?"}
    assert symbols["c1.contract"] == "?"
    assert toy.ran() == []


def test_calls_everything_reused_after_a_run_but_what_the_search_did_not_ask_for(toy, make_plan):
    plan = make_plan((1, 2, 3), verdicts={2: "FAIL"})
    toy.run(plan)
    symbols, _ = toy.forecast(plan)
    assert [name for name, symbol in symbols.items() if symbol != "="] == ["c3.contract"]
    assert symbols["c3.contract"] == "?"


def test_names_the_changed_parameter_and_what_has_to_wait_for_it(toy, make_plan, change):
    plan = make_plan((1, 2))
    toy.run(plan)
    symbols, found = toy.forecast(change(plan, "c2", padding=33))
    assert symbols["c2"] == "~"
    assert found["c2"].because == "because params.padding changed from 50 to 33"
    assert found["c2.tuning"].because == "because c2 runs again"
    assert symbols["c1"] == symbols["load"] == "="
    assert symbols["c1.contract"] == "?"


def test_names_the_changed_module_of_a_user(toy, make_plan):
    plan = make_plan((1,))
    toy.run(plan)
    (toy.folder / "toy_numbers.py").write_text("PLUS = 2\n")
    _, found = toy.forecast(plan)
    assert found["load"].symbol == "~"


def test_names_a_changed_library_and_a_changed_file(toy, make_plan, change, tmp_path):
    (tmp_path / "a").write_text("1")
    plan = make_plan((1,), load={"file": {"path": str(tmp_path / "a"), "digest": digest_file(tmp_path / "a")}})
    toy.run(plan)
    _, found = toy.forecast(change(plan, "load", file={"path": "/a", "digest": "2"}))
    assert found["load"].because == "because the file file changed"
    _, found = toy.forecast(replace(plan, threads=2))
    assert found["load"].because == "because threads changed from 1 to 2"


def test_names_a_damaged_output(toy, make_plan):
    plan = make_plan((1,))
    record = toy.run(plan)
    artifact = next(s.result.outputs["model"] for s in record.steps if s.step == "c1")
    path = toy.home.store / "blake3" / artifact.digest[:2] / artifact.digest
    path.unlink()
    _, found = toy.forecast(plan)
    assert found["c1"].because == "because its output is missing or damaged in the store"
    assert toy.run(plan).executed == 2
