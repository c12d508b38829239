"""A lock's text: one fact a line, the same for the same lock, read back as it was written."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.schema.compare.locks import first_difference, planned_difference
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.lock import (
    Evaluation,
    HardwareClass,
    Lock,
    LockedCandidate,
    LockedGate,
    LockedSearch,
    LockedStep,
    LockEntry,
    lock_path,
    lock_text,
    read_lock,
    recipe_path,
    with_entry,
)

MACHINE = HardwareClass("linux", "x86_64", "3.11", ("avx", "avx2"), (), {"numpy": "2.4.0"})
ENTRY = LockEntry(
    recipe="1" * 64, model="2e5" + "0" * 61, data="d" * 64, evaluation=Evaluation("e" * 64, 3),
    run="20260101T000000Z-x-1", titrant="0.1.0", hardware=MACHINE,
    decisions={"level": "balanced", "target.threads": "1", "weights": "fitted: yes"},
    searches={"model": LockedSearch(("a", "b"), "b")},
    candidates={"a": LockedCandidate("judged", "it is", {"size": 10, "latency_p50": 0.00012345678}),
                "my_ops:b": LockedCandidate("released", "the best # so far", {})},
    gates={"a": {"retention": LockedGate("PASS", 1.0, 0.01), "latency.p95": LockedGate("PASS", 0.001, 0.5),
                 "size": LockedGate("INCONCLUSIVE", None, 0.01)}},
    steps={"load": LockedStep("a" * 64, {"tables": "b" * 64}),
           "fit": LockedStep("1e5".ljust(64, "0"), {"model": "c" * 64})},
)  # fmt: skip

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
figures = st.dictionaries(words, st.one_of(st.integers(-(2**53), 2**53), st.floats(-1e9, 1e9)), max_size=3)
entries = st.builds(
    replace,
    st.just(ENTRY),
    run=words,
    decisions=st.dictionaries(words, words, max_size=4),
    candidates=st.dictionaries(words, st.builds(LockedCandidate, words, words, figures), max_size=3),
)


def written(tmp_path, lock):
    path = tmp_path / "x.lock.yaml"
    path.write_text(lock_text(lock, "x.yaml"), "utf-8")
    return path


def test_stands_beside_its_recipe(tmp_path):
    assert lock_path(tmp_path / "x.yaml") == tmp_path / "x.lock.yaml"
    assert recipe_path(tmp_path / "x.lock.yaml") == tmp_path / "x.yaml"


def test_writes_one_fact_a_line_and_reads_it_back(tmp_path):
    lock = with_entry(Lock("x"), ENTRY)
    text = lock_text(lock, "x.yaml")
    assert "  linux-x86_64-avx2-" in text
    assert "          latency_p50: 0.000123457\n" in text
    assert '    recipe: "1111' in text
    assert read_lock(written(tmp_path, lock)).entries[MACHINE.name].steps == ENTRY.steps
    assert lock_text(read_lock(written(tmp_path, lock)), "x.yaml") == text


@settings(max_examples=60, deadline=None)
@given(entry=entries)
def test_reads_back_whatever_it_writes(entry, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lock")
    lock = with_entry(Lock("x"), entry)
    text = lock_text(lock, "x.yaml")
    assert lock_text(read_lock(written(folder, lock)), "x.yaml") == text


def test_replaces_only_the_entry_of_its_own_class(tmp_path):
    other = replace(ENTRY, hardware=replace(MACHINE, instructions=("avx512f",)), run="other")
    lock = with_entry(with_entry(Lock("x"), other), ENTRY)
    again = with_entry(read_lock(written(tmp_path, lock)), replace(ENTRY, run="new"))
    old, new = lock_text(lock, "x.yaml").splitlines(), lock_text(again, "x.yaml").splitlines()
    assert [line for line in new if line not in old] == ["    run: new"]
    assert list(again.entries) == sorted([MACHINE.name, other.hardware.name])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<<<<<<< HEAD\nname: x\n", "line 2"),
        ("titrant_lock: 2\nname: x\nentries: {}\n", "not a lock of form 1"),
        ("titrant_lock: 1\nname: x\nentries: {a: {}}\n", "entries.a"),
        ("titrant_lock: 1\nname: x\nname: y\n", "line 3"),
        ("titrant_lock: 1\nname: x\nother: y\n", "unknown key other"),
        ("- a\n", "not a mapping"),
        ("", "empty"),
    ],
)
def test_says_where_a_damaged_lock_is_wrong(tmp_path, text, why):
    path = tmp_path / "x.lock.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as raised:
        read_lock(path)
    assert raised.value.diagnostics[0].code == "P091"
    assert why in raised.value.diagnostics[0].message


def test_answers_none_where_there_is_no_lock(tmp_path):
    assert read_lock(tmp_path / "x.lock.yaml") is None


def changed_step(name, **changes):
    return {**ENTRY.steps, name: replace(ENTRY.steps[name], **changes)}


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (ENTRY, ""),
        (replace(ENTRY, run="other", titrant="0.2", candidates={}), ""),
        (replace(ENTRY, recipe="0" * 64), "the recipe changed"),
        (replace(ENTRY, model="0" * 64, data="0" * 64), "the model changed"),
        (replace(ENTRY, decisions={**ENTRY.decisions, "level": "minimal"}), "the decision level was balanced and"),
        (replace(ENTRY, searches={"model": LockedSearch(("a",), "a")}), "model: judged was a, b and is a"),
        (replace(ENTRY, steps=changed_step("fit", outputs={"model": "0" * 64})), "the output fit.model differs ("),
        (replace(ENTRY, steps=changed_step("load", key="0" * 64)), "the key of the step load differs"),
        (replace(ENTRY, steps={"load": ENTRY.steps["load"]}), "the step fit has no result any more"),
        (replace(ENTRY, searches={"model": LockedSearch(("a", "b"), "a")}), "model: released was b and is a"),
    ],
)  # fmt: skip
def test_names_the_first_difference_in_causal_order(new, said):
    assert first_difference(ENTRY, new).startswith(said)
    assert bool(first_difference(ENTRY, new)) == bool(said)


def test_lets_measurements_differ_but_not_the_metrics_beyond_their_tolerance():
    def with_gate(name, **changes):
        gates = {**ENTRY.gates["a"], name: replace(ENTRY.gates["a"][name], **changes)}
        return first_difference(ENTRY, replace(ENTRY, gates={"a": gates}))

    assert with_gate("latency.p95", verdict="FAIL", value=1.0) == ""
    assert with_gate("retention", value=0.995) == ""
    assert with_gate("retention", value=0.9) == "a: retention was 1.0 and is 0.9"
    assert "was PASS and is FAIL" in with_gate("retention", verdict="FAIL")


def test_compares_what_is_planned_before_anything_runs():
    given = (ENTRY.recipe, ENTRY.model, ENTRY.data)
    assert planned_difference(ENTRY, *given, ENTRY.decisions) == ""
    assert "weights was fitted: yes and is not there" in planned_difference(
        ENTRY, *given, {"level": "balanced", "target.threads": "1"}
    )
