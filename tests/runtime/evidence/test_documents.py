"""Every way that a run can end gives documents that say so, in form, with whatever names people give."""

import json
import re
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.evidence.hazards import EXPECTED, HAZARDS
from titrant.runtime.evidence.words import NO_CLAIM, NOT_KNOWN
from titrant.schema.release import DOCUMENTS

ENDINGS = ("released", "not_proven", "failed", "inconclusive", "unlabeled", "nothing_made", "bare")
OF_RELEASE = {name for name, document in DOCUMENTS.items() if document.of_release}
RESULTS = {"released": "PASSED", "not_proven": "WARNED", "failed": "FAILED", "inconclusive": "FAILED",
           "unlabeled": "PASSED", "nothing_made": "FAILED", "bare": "PASSED"}  # fmt: skip


def tables(text):
    """Yield every Markdown table as rows of cells; an escaped bar belongs to its cell."""
    rows = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("| "):
            rows.append(re.split(r"(?<!\\)\|", line)[1:-1])
        elif rows:
            yield rows
            rows = []


@pytest.mark.parametrize("ending", ENDINGS)
def test_writes_what_each_ending_allows(records, facts, texts, ending):
    made = facts(getattr(records, ending)())
    written = texts(made)
    wanted = {name for name in DOCUMENTS if made.run.released or name not in OF_RELEASE}
    assert set(written) == {file for name in wanted for file in DOCUMENTS[name].files}
    statement = json.loads(written["test-result.intoto.json"])
    assert statement["predicate"]["result"] == RESULTS[ending]
    assert statement["subject"][0]["name"] == ("report.json" if not made.run.released else made.placed[0].path)
    for name in written:
        if name.endswith(".md"):
            assert all(len({len(row) for row in rows}) == 1 for rows in tables(written[name])), name
    assert made.run.verdict in written["annex-iv.md"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_claims_no_conformity(records, facts, texts, ending):
    written = texts(facts(getattr(records, ending)()))
    for name, text in written.items():
        said = text.replace(NO_CLAIM, "")
        assert not re.search(r"\b(compliant|complies|conforms|certified|approved)\b", said, re.IGNORECASE), name
    for name in ("model-card.md", "hazards.md", "changes.md", "annex-iv.md", "third-party.md", "bom.cdx.json"):
        assert name not in written or NO_CLAIM in written[name]


def test_gives_the_same_bytes_for_the_same_record(records, facts, texts):
    assert texts(facts(records.released())) == texts(facts(records.released()))


def test_says_of_a_waiver_who_let_what_through_and_never_that_it_passed(records, facts, texts):
    made = records.released()
    released = next(one for one in made["run"]["candidates"] if one["candidate"] in made["run"]["released"])
    released["judgement"]["results"][0]["verdict"] = "FAIL"
    gate = released["judgement"]["results"][0]["gate"]
    waiver = {"gate": gate, "verdict": "FAIL", "reason": "old scanner", "by": "J. Doe", "until": "2027-01-01"}
    released["waived"], made["run"]["verdict"] = [waiver], "WAIVED"
    words = "waived by J. Doe until 2027-01-01: old scanner"
    written = texts(facts(made))
    tested = json.loads(written["test-result.intoto.json"])["predicate"]
    assert (tested["result"], tested["failedTests"]) == ("WARNED", [f"{released['candidate']}: {gate} ({words})"])
    assert not [name for name in tested["passedTests"] if name.endswith(gate)]
    for name in ("model-card.md", "hazards.md", "annex-iv.md"):
        assert "waived by J. Doe until 2027-01-01: old scanner" in written[name], name
        assert "WAIVED" in written[name] or name == "hazards.md"


@pytest.mark.parametrize("verdict", ["PASS", "NOT PROVEN", "FAIL"])
def test_takes_the_verdict_from_the_record(records, facts, texts, verdict):
    """Nothing is judged anew: a record that says otherwise than its gates is told as it is."""
    made = facts(records.released())
    written = texts(replace(made, run=replace(made.run, verdict=verdict)))
    expected = {"PASS": "PASSED", "NOT PROVEN": "WARNED", "FAIL": "FAILED"}[verdict]
    assert json.loads(written["test-result.intoto.json"])["predicate"]["result"] == expected
    assert f"{verdict}; released" in written["annex-iv.md"]
    assert json.loads(written["hazards.json"])["controlled"][0]["effectiveness"][0]["verdict"] == "PASS"


def test_maps_every_gate_to_a_hazard_and_lists_what_none_is_about(records, facts, texts):
    made = facts(records.inconclusive())
    value = json.loads(texts(made)["hazards.json"])
    assert [row["gate"] for row in value["controlled"]] == [gate.id for gate in made.plan.contract.gates]
    by_gate = {row["gate"]: row for row in value["controlled"]}
    assert by_gate["bias"]["hazard"] == HAZARDS["bias"].name
    present = {gate.preset for gate in made.plan.contract.gates}
    assert [row["preset"] for row in value["not_controlled"]] == [name for name in EXPECTED if name not in present]


def test_fills_every_field_of_a_card_that_a_run_can_know(records, facts, texts):
    """What stands as not known is what no run can know, and nothing else."""
    made = facts(records.released())
    card = texts(made)["model-card.md"]
    unknown = [line.partition(NOT_KNOWN)[0].strip("-* :") for line in card.splitlines() if NOT_KNOWN in line]
    assert unknown == [
        "Developed by", "Funded by", "License", "Repository, paper, demo", "", "What else it must not be used for",
        "Energy was not measured, carbon is not estimated.", "", "",
    ]  # fmt: skip
    sections = re.findall(r"^#+ (.+)$", card, re.MULTILINE)
    assert len(sections) == len(set(sections))
    empty = [name for name, body in re.findall(r"^### (.+)\n\n(.*)", card, re.MULTILINE) if not body.strip()]
    assert empty == []


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(str.strip)
HOSTILE = st.one_of(NAMES, st.sampled_from(["a|b", "<script>", "x: y", "`", "---", "@all", "ü“", "%0a", "a/b", "'\""]))


@settings(max_examples=25)
@given(recipe=HOSTILE, gate=HOSTILE)
def test_keeps_its_form_with_any_name(records, facts, texts, recipe, gate):
    made = records.released()
    made["plan"]["name"] = made["run"]["name"] = recipe
    for row in made["plan"]["contract"]["gates"]:
        row["id"] = gate + row["id"]
    for candidate in made["run"]["candidates"]:
        for result in (candidate["judgement"] or {"results": ()})["results"]:
            result["gate"] = gate + result["gate"]
    written = texts(facts(made))
    for name, text in written.items():
        if name.endswith(".json"):
            assert json.loads(text)
        else:
            assert all(len({len(row) for row in rows}) == 1 for rows in tables(text)), name
            body = text.split("\n---\n")[-1] if name == "model-card.md" else text
            assert not re.search(r"(?<!\\)<script", body), name
    head = written["model-card.md"].split("\n---\n")[0].removeprefix("---\n")
    assert yaml.safe_load(head)["model-index"][0]["name"] == recipe


@pytest.mark.parametrize(
    ("task", "shapes", "pipeline"),
    [
        ("binary_classification", [["batch", 30]], "tabular-classification"),
        ("regression", [["batch", 30]], "tabular-regression"),
        ("multiclass_classification", [["batch", 3, 224, 224]], "image-classification"),
        ("segmentation", [["batch", 1, 64, 64]], "image-segmentation"),
        ("language_modeling", [["batch", 128]], "text-generation"),
        ("binary_classification", [["batch", 12, 5000]], None),  # a series: the Hub has no word for it
        ("binary_classification", [["batch", 30], ["batch", 3, 8, 8]], None),
        ("unlabeled", [["batch", 30]], None),
    ],
)
def test_calls_a_task_as_the_hub_does_or_not_at_all(records, facts, task, shapes, pipeline):
    from titrant.runtime.evidence.model_card import front_matter

    made = records.released()
    made["plan"]["task"] = task
    for step in made["plan"]["steps"]:
        if step["operator"].startswith("model.load"):
            step["params"]["inputs"] = [{"name": "x", "dtype": "float32", "shape": shape} for shape in shapes]
        if step["operator"] == "data.load":
            step["params"]["sources"] = {"source": {"text": "x.txt"} if task == "language_modeling" else {}}
    assert front_matter(facts(made)).get("pipeline_tag") == pipeline


@pytest.mark.parametrize(
    ("layers", "method", "quantized"),
    [
        (("fp32", "int8"), "ort.static", True),
        (("fp32", "fp32"), "ort.static", False),  # the engine left all of them
        (("bf16",), "openvino.bf16", False),
        (("int4",), "ort.nbits", True),
        (("unknown",), "ort.static", True),  # what made it is known, where the engine does not tell
        ((), "none", False),
    ],
)
def test_says_quantized_where_it_is(records, facts, layers, method, quantized):
    from titrant.runtime.evidence.model_card import front_matter

    made = records.released()
    (released,) = made["run"]["released"]
    for candidate in made["run"]["candidates"]:
        if candidate["candidate"] == released:
            rows = [
                {"name": f"l{n}", "planned": "int8", "executed": name, "engine_op": "Gemm"}
                for n, name in enumerate(layers)
            ]
            candidate["layers"] = rows
    for step in made["plan"]["steps"]:
        if step["candidate"] == released and step["operator"].startswith("quantize.") and method == "none":
            step["operator"] = "export.onnx"
    assert front_matter(facts(made)).get("base_model_relation") == ("quantized" if quantized else None)


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ("model: {onnx: folder/resnet50-v2.onnx}\n", "resnet50-v2"),
        ("model:\n  torchscript: x.pt\n", "x"),
        ("model: {}\n", "breast-cancer-original"),
        ("- no recipe", "breast-cancer-original"),
        ("a: [", "breast-cancer-original"),
        ("", "breast-cancer-original"),
    ],
)
def test_names_the_original_by_its_file(records, facts, recipe, name):
    from titrant.runtime.evidence.words import original_name

    made = records.released() | {"recipe_text": recipe}
    for step in made["plan"]["steps"]:
        step["params"].pop("factory", None)
    assert original_name(facts(made)) == name


def test_leaves_the_folders_of_this_machine_out_of_a_change(records, facts, tmp_path):
    from titrant.runtime.evidence.changes import Earlier, changes
    from titrant.schema.compare.difference import Difference

    made = facts(records.released())
    place = str(tmp_path / "loader.py")
    found = (
        Difference("environment", "flags.PYTHONPATH", place, {"path": [place]}),
        Difference("inputs", place, "a", "b"),
    )
    written = changes(made, Earlier(made.run, "d" * 64, "named", differences=found))
    assert len(json.loads(written["changes.json"])["description_of_modifications"]["differences"]) == 2
    assert all("loader.py" in text and str(tmp_path) not in text for text in written.values())


def test_lists_no_change_that_follows_from_measurements(records, facts):
    from titrant.runtime.evidence.changes import Earlier, changes
    from titrant.schema.compare.difference import CAUSAL, Difference

    made = facts(records.released())
    found = [Difference(layer, "x", 1, 2, measured=measured) for layer in CAUSAL for measured in (False, True)]
    written = changes(made, Earlier(made.run, "d" * 64, "named", differences=tuple(found)))
    listed = json.loads(written["changes.json"])["description_of_modifications"]["differences"]
    assert [row["layer"] for row in listed] == ["recipe", "inputs", "environment", "decisions"]
