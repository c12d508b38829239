"""The evidence pack of real runs: judged by others' validators, held against bytes and measurements, signed, edited."""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import yaml

from titrant.runtime.store.home import newest_first
from titrant.schema.release import DOCUMENTS
from titrant.schema.values.text import inline
from titrant.schema.values.units import format_time

ASKED = ("export: [{format: onnx}]\n", "export: [{format: onnx}]\nreport: {evidence: true}\n")
INT8 = ("quantization: {method: none}", "quantization: {method: ort.dynamic}")
GROUPS = ("  label: sick\n", "  label: sick\n  subgroups: {side: {column: one, bins: [0]}}\n")


@pytest.fixture(scope="module")
def ran(shared_place):
    """A place in which two releases of a recipe ran, the later one with other epochs, and the folders of both."""
    place = shared_place
    first = place.titrant("run", place.recipe(ASKED, INT8, GROUPS))
    assert first.code == 0, first.all
    second = place.here("run", place.recipe(ASKED, INT8, GROUPS, ("epochs: 4", "epochs: 5")))
    assert second.code == 0, second.all
    return place, newest_first(place.home / "runs")[::-1], (first, second)


@pytest.fixture(scope="module")
def pack(ran):
    return ran[1][-1] / "evidence"


@pytest.fixture(scope="module")
def record(ran):
    return json.loads((ran[1][-1] / "report.json").read_text("utf-8"))["record"]


def document(pack, name):
    return json.loads((pack / name).read_text("utf-8"))


def released(record):
    return next(one for one in record["run"]["candidates"] if one["candidate"] == record["run"]["released"][0])


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_is_made_at_the_end_of_a_run_that_asks_for_it(ran, pack):
    _, runs, (first, second) = ran
    files = {file for one in DOCUMENTS.values() for file in one.files}
    assert {path.name for path in pack.iterdir()} == {*files, "index.json"}
    assert f"evidence: {runs[0] / 'evidence'}" in first.out
    assert f"evidence: {pack}" in second.out
    named = {
        "report.md": "`evidence/` documents for others",
        "report.html": "in the folder evidence beside this report",
    }
    for name, line in named.items():
        assert (runs[-1] / name).read_text("utf-8").count(line) == 1
    events = [json.loads(line) for line in (runs[-1] / "journal.jsonl").read_text("utf-8").splitlines()]
    assert [event["event"] for event in events[-3:]] == ["evidence", "placed", "closed"]
    index = document(pack, "index.json")
    assert index["files"] == {name: sha256(pack / name) for name in index["files"]}
    assert index["of_run"] == {name: sha256(runs[-1] / name) for name in index["of_run"]}


def test_is_a_bill_of_materials_by_the_schemas_of_cyclonedx(pack):
    from cyclonedx.model.bom import Bom
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    versions = {"bom.cdx.json": SchemaVersion.V1_6, "bom-1.7.cdx.json": SchemaVersion.V1_7}
    for name, version in versions.items():
        text = (pack / name).read_text("utf-8")
        validator = JsonStrictValidator(version)  # makes what it validates with when it is first asked
        assert validator.validate_str(text) is None
        assert json.loads(text)["specVersion"] == version.to_version()
        broken = text.replace('"machine-learning-model"', '"machine"')
        assert validator.validate_str(broken) is not None
    # What is referred to is there, which the schema does not ask.
    assert Bom.from_json(document(pack, "bom.cdx.json")).validate()


def test_is_an_spdx_document_with_an_ai_profile(pack):
    from spdx_python_model import v3_0_1 as spdx

    objects = spdx.SHACLObjectSet()
    with (pack / "ai.spdx.json").open("rb") as file:
        spdx.JSONLDDeserializer().read(file, objects)
    assert objects.missing_ids == set()
    (model,) = objects.foreach_type(spdx.ai_AIPackage)
    (data,) = objects.foreach_type(spdx.dataset_DatasetPackage)
    relations = {
        (one.relationshipType.rpartition("/")[2], one.from_) for one in objects.foreach_type(spdx.Relationship)
    }
    assert {("trainedOn", model), ("testedOn", model), ("descendantOf", model), ("contains", model)} <= relations
    assert data.dataset_datasetSize == 400


@pytest.mark.skipif("TITRANT_SPDX" not in os.environ, reason="a folder with the files of SPDX 3.0.1 is not named")
def test_is_valid_by_the_shapes_and_the_schema_of_spdx(pack, monkeypatch):
    """TITRANT_SPDX holds spdx-context.jsonld, spdx-model.ttl and schema.json of spdx.org/rdf/3.0.1."""
    import pyshacl
    import rdflib
    from rdflib.plugins.shared.jsonld import context
    from spdx3_validate import core

    files = Path(os.environ["TITRANT_SPDX"])
    local = (json.loads((files / "spdx-context.jsonld").read_text("utf-8")), None)
    monkeypatch.setattr(context, "source_to_json", lambda *_, **__: local)
    made = core.Document.load(str(pack / "ai.spdx.json"))
    schema = json.loads((files / "schema.json").read_text("utf-8"))
    assert list(core.schema_validator(schema).iter_errors(made.data)) == []
    shapes = rdflib.Graph().parse(files / "spdx-model.ttl")
    conforms, _, text = pyshacl.validate(made.graph, shacl_graph=shapes, ont_graph=shapes)
    assert conforms, text


def test_holds_statements_that_in_toto_reads(pack, record):
    from google.protobuf.json_format import ParseDict
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    run = pack.parent
    kinds = {"test-result": test_result_pb2.TestResult, "provenance": provenance_pb2.Provenance}
    for name, kind in kinds.items():
        value = document(pack, f"{name}.intoto.json")
        Statement.copy_from_pb(ParseDict(value, statement_pb2.Statement())).validate()
        ParseDict(value["predicate"], kind())
        subjects = {one["name"]: one["digest"]["sha256"] for one in value["subject"]}
        assert subjects == {
            path.relative_to(run).as_posix(): sha256(path) for path in (run / "outputs").rglob("*") if path.is_file()
        }
    tested = document(pack, "test-result.intoto.json")["predicate"]
    results = released(record)["judgement"]["results"]
    assert tested["passedTests"] == sorted(f"ort.dynamic: {one['gate']}" for one in results if one["verdict"] == "PASS")
    made = document(pack, "provenance.intoto.json")["predicate"]
    assert {one["name"]: one["digest"]["sha256"] for one in made["runDetails"]["byproducts"]} == {
        name: sha256(run / name)
        for name in ("report.json", "record.json", "plan.json", "hardware.json", "environment.json", "recipe.yaml")
    }
    assert made["buildDefinition"]["internalParameters"]["planDigest"] == record["run"]["plan_digest"]


def test_has_a_card_that_the_hub_reads_and_writes_back(pack):
    from huggingface_hub import ModelCard, ModelCardData

    text = (pack / "model-card.md").read_text("utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    card = ModelCard(text)
    assert card.data.to_dict() == head
    again = ModelCardData(model_name=card.data.model_name, eval_results=card.data.eval_results).to_dict()
    assert again["model-index"] == head["model-index"]
    assert card.data.base_model_relation == "quantized"


def test_says_in_its_card_what_was_measured(pack, record):
    head = yaml.safe_load((pack / "model-card.md").read_text("utf-8").split("---\n")[1])
    assert {name: head[name] for name in ("base_model", "base_model_relation", "library_name", "pipeline_tag")} == {
        "base_model": "Net", "base_model_relation": "quantized", "library_name": "onnxruntime",
        "pipeline_tag": "tabular-classification",
    }  # fmt: skip
    assert head["tags"] == ["titrant", "onnx", "onnxruntime", "ort.dynamic"]
    shown = {
        (f"{one['group']}: {one['value']}" if one["group"] else "all cases"): one["candidate"]
        for one in record["values"]["metrics"]["ort.dynamic"]
    }
    results = head["model-index"][0]["results"]
    assert {one["dataset"]["config"]: {item["type"]: item["value"] for item in one["metrics"]} for one in results} == {
        name: {metric: value for metric, value in figures.items() if value is not None}
        for name, figures in shown.items()
    }
    assert {one["dataset"]["revision"] for one in results} == {record["plan"]["data_digest"]}
    assert head["metrics"] == [name for name in head["metrics"] if shown["all cases"][name] is not None]


def test_says_in_its_text_what_was_measured(pack, record):
    """Digests, sizes, rows, versions, transforms and hyperparameters, each as the run has it."""
    text = (pack / "model-card.md").read_text("utf-8")
    model = pack.parent / "outputs" / "model.onnx"
    assert sha256(model) in text
    split = next(step["result"] for step in record["run"]["steps"] if step["step"] == "split")
    rows = {one["name"].removeprefix("rows."): int(one["value"]) for one in split["measurements"]}
    assert all(f"| {role} | {count} |" in text for role, count in rows.items())
    assert sum(rows.values()) == 400
    fit = next(step["params"] for step in record["plan"]["steps"] if step["operator"] == "train.fit")
    assert fit["epochs"] == 5
    assert all(f"{fit[name]}" in text for name in ("epochs", "batch_size", "learning_rate"))
    for name, version in record["hardware"]["packages"].items():
        assert f"- {inline(name)} {inline(version)}\n" in text
    timing = record["values"]["timings"]["ort.dynamic"]["1"]["p50"]
    assert f"| {format_time(timing)} |" in text
    for result in released(record)["judgement"]["results"]:
        assert f"| {result['verdict']} | {result['gate']}".replace("_", "\\_") in text
    for value in (record["plan"]["model_digest"], record["plan"]["recipe_digest"], record["run"]["plan_digest"]):
        assert value in text
    assert "- standardize" in text


def test_says_in_its_bill_of_materials_what_is_in_the_bytes(pack, record):
    import onnx

    bom = document(pack, "bom.cdx.json")
    parts = {one["bom-ref"]: one for one in bom["components"]}
    model, file = parts["model:ort.dynamic"], pack.parent / "outputs" / "model.onnx"
    assert model["hashes"] == [{"alg": "SHA-256", "content": sha256(file)}]
    properties = {one["name"]: one["value"] for one in model["properties"] if one["name"] != "titrant:layers"}
    assert properties == {"titrant:candidate": "ort.dynamic", "titrant:method": "ort.dynamic",
                          "titrant:engine": "onnxruntime", "titrant:format": "onnx",
                          "titrant:bytes": str(file.stat().st_size)}  # fmt: skip
    layers = [one["executed"] for one in released(record)["layers"]]
    told = [one["value"] for one in model["properties"] if one["name"] == "titrant:layers"]
    assert told == [f"{layers.count(name)} in {name}" for name in sorted(set(layers))]
    inputs = [one.name for one in onnx.load(file).graph.input]
    assert [one["format"].split(":")[0] for one in model["modelCard"]["modelParameters"]["inputs"]] == inputs
    metrics = {
        one["type"].split(" ")[0]: one for one in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    }
    for result in released(record)["judgement"]["results"]:
        one = metrics[result["gate"]]
        assert float(one["value"]) == result["estimate"]
        bounds = {"lowerBound": result["lower"], "upperBound": result["upper"]}
        assert {key: float(text) for key, text in one.get("confidenceInterval", {}).items()} == {
            key: value for key, value in bounds.items() if value is not None
        }
    original = {one["name"]: one["value"] for one in parts["model:original"]["properties"]}
    fit = next(step for step in record["run"]["steps"] if step["step"] == "fit")
    assert original["titrant:bytes"] == str(fit["result"]["outputs"]["model"]["size"])
    for one in bom["components"]:
        if one["type"] == "library" and "purl" in one:
            assert one["version"] == importlib.metadata.version(one["name"])
            assert one["scope"] == ("required" if one["name"] == "onnxruntime" else "excluded")
    libraries = {one["name"]: one.get("licenses") for one in bom["components"] if one["type"] == "library"}
    assert libraries["onnxruntime"][0]["license"]["name"] == importlib.metadata.metadata("onnxruntime")["License"]
    assert all(libraries[name] for name in ("numpy", "onnx", "torch", "scipy", "pandas"))


def test_describes_the_change_from_the_release_before(ran, pack):
    _, runs, _ = ran
    value = document(pack, "changes.json")
    assert value["against"] == {
        "run": runs[0].name, "verdict": value["against"]["verdict"], "released": ["ort.dynamic"],
        "record_sha256": sha256(runs[0] / "record.json"), "chosen": "the last release of this recipe before it",
        "unreadable": "",
    }  # fmt: skip
    changed = {(one["path"], str(one["old"]), str(one["new"])) for one in
               value["description_of_modifications"]["differences"] if one["layer"] == "recipe"}  # fmt: skip
    assert changed == {("train.epochs", "4", "5")}
    assert document(runs[0] / "evidence", "changes.json")["against"] is None


def test_gives_the_same_bytes_again_from_the_record_alone(ran, pack, tmp_path):
    from titrant.api import evidence

    place, _, _ = ran
    before = {path.name: path.read_bytes() for path in pack.iterdir() if path.is_file()}
    with mock.patch.dict(os.environ, {"TITRANT_HOME": str(place.home)}):
        evidence.make(str(pack.parent))
    assert {path.name: path.read_bytes() for path in pack.iterdir() if path.is_file()} == before


def test_writes_the_documents_that_are_named_against_the_run_that_is_named(ran, tmp_path):
    place, runs, _ = ran
    copy = shutil.copytree(runs[0], tmp_path / runs[0].name)
    answer = place.here("evidence", "make", copy, "--document", "changes", "--document", "bom", "--against", runs[1])
    assert answer.code == 0, answer.all
    assert {path.name for path in (copy / "evidence").iterdir()} == {
        "bom.cdx.json", "bom-1.7.cdx.json", "changes.json", "changes.md", "index.json"
    }  # fmt: skip
    assert document(copy / "evidence", "changes.json")["against"]["run"] == runs[1].name
    wrong = place.here("evidence", "make", copy, "--document", "bomm", "--json")
    assert (wrong.code, json.loads(wrong.out)[0]["code"]) == (2, "X590")


def test_is_made_anew_by_a_run_whose_evidence_is_gone(place_of_one):
    place, run = place_of_one
    assert "up to date" in place.here("run", "recipe.yaml").out
    shutil.rmtree(run / "evidence")
    assert place.here("run", "recipe.yaml").code == 0
    runs = newest_first(place.home / "runs")
    assert [bool(list(folder.glob("evidence/index.json"))) for folder in runs] == [True, False]


@pytest.fixture
def place_of_one(ran, tmp_path):
    """A place of the test's own with the later of the two runs in its home."""
    place, runs, _ = ran
    folder = shutil.copytree(place.folder, tmp_path / "user")
    home = shutil.copytree(place.home, tmp_path / "home")
    shutil.rmtree(home / "runs" / runs[0].name)
    (home / "answered.json").unlink(missing_ok=True)
    return type(place)(folder, home, place.warm), home / "runs" / runs[1].name


def test_fails_a_run_that_cannot_write_it_and_releases_nothing(place_of_one):
    place, run = place_of_one
    shutil.rmtree(run)
    whole = Path.write_text

    def full(path, *given, **named):
        if path.parent.name == ".evidence.unfinished":
            raise OSError(28, "No space left on device")
        return whole(path, *given, **named)

    with mock.patch.object(Path, "write_text", full):
        answer = place.here("run", "recipe.yaml")
    (failed,) = (place.home / "runs").iterdir()
    assert (answer.code, "X580" in answer.err) == (4, True)
    assert "cannot be written: no space left on device" in " ".join(answer.err.split())
    assert list((failed / "outputs").iterdir()) == []
    assert not (failed / "record.json").exists()
    assert not (failed / "evidence").exists()
    assert json.loads((failed / "journal.jsonl").read_text("utf-8").splitlines()[-1])["exit"] == 4
    assert place.here("run", "recipe.yaml").code == 0


def test_goes_with_a_run_that_fails_after_it_is_written(place_of_one):
    """Nothing vouches for a release that did not come about."""
    place, run = place_of_one
    shutil.rmtree(run)
    full = mock.patch("titrant.runtime.run.execute.place_outputs", side_effect=OSError(28, "No space left on device"))
    with full:
        assert place.here("run", "recipe.yaml").code != 0
    (failed,) = (place.home / "runs").iterdir()
    events = [json.loads(line)["event"] for line in (failed / "journal.jsonl").read_text("utf-8").splitlines()]
    assert "evidence" in events
    assert sorted(path.name for path in failed.iterdir() if "evidence" in path.name) == []


def test_says_of_a_run_that_released_nothing_what_it_can(place_of_one):
    place, _ = place_of_one
    strict = ("validation: {retention: 0.9}", "validation: {retention: 1.0, require: proof}")
    answer = place.here("run", place.recipe(ASKED, INT8, GROUPS, ("epochs: 4", "epochs: 5"), strict))
    assert answer.code == 5, answer.all
    run = max((place.home / "runs").iterdir())
    index = document(run / "evidence", "index.json")
    assert sorted(index["left_out"]) == ["bom", "model_card", "provenance", "spdx"]
    tested = document(run / "evidence", "test-result.intoto.json")
    assert tested["predicate"]["result"] == "FAILED"
    assert tested["subject"][0]["name"].startswith("quarantine/")
    assert "what stands in quarantine is not to be used" in (run / "evidence" / "annex-iv.md").read_text("utf-8")


def test_needs_no_heavy_library():
    """What runs at the end of a run, in the process that never loads torch, costs next to nothing to load."""
    heavy = ("torch", "numpy", "onnx", "jinja2", "matplotlib", "cryptography")
    loads = f"import sys, titrant.runtime.evidence.pack; print([name for name in {heavy} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A private and a public key, as files."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("keys")
    private = ec.generate_private_key(ec.SECP256R1())
    kind, locked = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(private.private_bytes(serialization.Encoding.PEM, kind, locked))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "key.pub").write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, form))
    return folder / "key.pem", folder / "key.pub"


def test_signs_and_verifies_from_the_command_line_and_from_python(place_of_one, keys):
    import titrant

    place, run = place_of_one
    private, public = keys
    signed = place.here("evidence", "sign", "latest", "--key", private, "--json")
    assert signed.code == 0, signed.all
    verified = place.here("evidence", "verify", "latest", "--public-key", public, "--json")
    assert json.loads(verified.out)["key"] == json.loads(signed.out)["key"]
    assert json.loads(verified.out)["files"] == json.loads(signed.out)["files"]
    assert titrant.evidence.verify(str(run), public).signatures == len(json.loads(signed.out)["signatures"]) == 4
    # A run that is answered from what is there is still signed; one that is made anew is not.
    assert "up to date" in place.here("run", "recipe.yaml").out
    assert place.here("evidence", "verify", run, "--public-key", public).code == 0
    assert place.here("evidence", "make", run).code == 0
    answer = place.here("evidence", "verify", run, "--public-key", public)
    assert (answer.code, "X585" in answer.err) == (4, True)


def test_names_the_file_that_was_changed_after_signing(place_of_one, keys):
    place, run = place_of_one
    private, public = keys
    assert place.here("evidence", "sign", run, "--key", private).code == 0
    model = run / "outputs" / "model.onnx"
    model.write_bytes(model.read_bytes() + b" ")
    answer = place.here("evidence", "verify", run, "--public-key", public)
    assert (answer.code, "X588" in answer.err, "outputs/model.onnx" in answer.err) == (4, True, True)
    again = place.here("evidence", "make", run)
    assert (again.code, "X589" in again.err, "model.onnx" in again.err) == (4, True, True)


def test_makes_none_over_a_file_that_the_run_did_not_put_out(place_of_one):
    place, run = place_of_one
    more = run / "outputs" / "transforms" / "more.bin"
    more.parent.mkdir(exist_ok=True)
    more.write_bytes(b"weights")
    answer = place.here("evidence", "make", run)
    more.unlink()
    assert (answer.code, "X589" in answer.err, "more.bin" in answer.err) == (4, True, True)
    assert place.here("evidence", "make", run).code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("sign", "latest"), "X591"),
        (("verify", "latest"), "X591"),
        (("sign", "latest", "--key", "none.pem"), "X583"),
        (("make", "latest", "--key", "key.pem"), "P014"),
        (("verify", "latest", "--public-key", "key.pub", "--against", "latest"), "P014"),
        (("make", "no-such-run"), "P007"),
        (("make", "latest", "--against", "no-such-run"), "P007"),
    ],
)
def test_refuses_what_it_cannot_act_on(ran, arguments, code):
    place, _, _ = ran
    answer = place.here("evidence", *arguments)
    assert (answer.code, code in answer.err) == (2, True), answer.all
