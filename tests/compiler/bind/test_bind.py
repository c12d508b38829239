"""Bind finds what a recipe names and imports none of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from titrant.compiler.bind.availability import later_keys, later_values
from titrant.compiler.bind.bind import CHECKS, bind
from titrant.compiler.bind.check_references import find_module, top_level_names
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.language.parse import parse, read
from titrant.schema.recipe.recipe import Recipe

BASE = """\
titrant: 1
name: demo
task: unlabeled
model: {onnx: net.onnx, inputs: [{name: image, shape: [batch, 3, 8, 8]}]}
"""
CODE = """\
titrant: 1
name: demo
task: multiclass_classification
model: {factory: "%s", weights: included}
data: {source: {csv: rows.csv}, label: y}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"onnx")
    (tmp_path / "rows.csv").write_text("x,y\n1,0\n")
    (tmp_path / "nets.py").write_text("raise RuntimeError\nclass Net: ...\n")
    return tmp_path


def bound(text, folder, **options):
    return bind(parse(text, "x.yaml", folder=folder), **options)


def codes(text, folder, **options):
    with pytest.raises(RecipeError) as caught:
        bound(text, folder, **options)
    return [(one.code, one.where.line, one.where.column) for one in caught.value.diagnostics]


def test_gives_every_named_file_its_absolute_path(folder):
    assert bound(BASE, folder).files == {"model.onnx": folder / "net.onnx"}


def test_says_where_a_link_leads_that_leads_to_nothing(folder):
    """Its own name was the nearest that there is: "there is no file net.onnx; did you mean `net.onnx`?"."""
    (folder / "net.onnx").unlink()
    (folder / "net.onnx").symlink_to("gone.onnx")
    with pytest.raises(RecipeError) as caught:
        bound(BASE, folder)
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.help) == ("R102", "it is a link to gone.onnx, which leads to nothing")


def test_keeps_paths_of_a_base_relative_to_the_base(tmp_path):
    base = tmp_path / "shared"
    base.mkdir()
    (base / "net.onnx").write_bytes(b"onnx")
    (base / "base.yaml").write_text(BASE)
    recipe = tmp_path / "own.yaml"
    recipe.write_text("titrant: 1\nname: own\ntask: unlabeled\nextends: shared/base.yaml\n")
    assert bind(read(recipe)).files == {"model.onnx": base / "net.onnx"}


def test_names_every_file_of_a_factory_by_its_place(folder):
    (folder / "b.bin").write_bytes(b"b")
    text = CODE.replace("source: {csv: rows.csv}", 'source: {factory: "nets:Net", files: [rows.csv, b.bin]}')
    found = bound(text % "nets:Net", folder)
    assert found.files == {"data.source.files.0": folder / "rows.csv", "data.source.files.1": folder / "b.bin"}
    assert [one.key for one in found.user_references] == ["model.factory", "data.source.factory"]


def test_knows_the_users_code_from_titrants_own(folder):
    assert bound(CODE % "nets:Net", folder).user_code
    assert not bound(CODE % "titrant.recipes.models:TabularNet", folder).user_code


def test_tells_where_a_module_lives(folder):
    reference = bound(CODE % "nets:Net", folder).user_references[0]
    assert (reference.origin, reference.path) == ("recipe", folder / "nets.py")
    assert bound(CODE % "json.decoder:JSONDecoder", folder, trust=True).user_references[0].origin == "environment"


def test_runs_code_from_elsewhere_only_when_told_to_trust_it(folder, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "strange.py").write_text("class Net: ...\n")
    monkeypatch.syspath_prepend(str(elsewhere))
    assert codes(CODE % "strange:Net", folder) == [("R105", 4, 18)]
    found = bound(CODE % "strange:Net", folder, trust=True)
    assert found.user_references[0].origin == "outside"
    assert found.trusted


def test_does_not_take_a_link_out_of_the_folder_for_the_recipes_own_code(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "strange.py"
    elsewhere.write_text("class Net: ...\n")
    (folder / "linked.py").symlink_to(elsewhere)
    assert codes(CODE % "linked:Net", folder) == [("R105", 4, 18)]


def test_finds_modules_of_packages_without_importing_the_package(folder):
    package = folder / "deep" / "er"
    package.mkdir(parents=True)
    (folder / "deep" / "__init__.py").write_text("raise RuntimeError\n")
    (package / "nets.py").write_text("from somewhere import Net\n")
    assert find_module("deep.er.nets", folder).path == package / "nets.py"
    assert bound(CODE % "deep.er.nets:Net", folder).user_code
    assert find_module("deep.none", folder) is None


def test_reads_what_a_module_defines_in_any_branch(tmp_path):
    file = tmp_path / "m.py"
    file.write_text("import a.b\nx, (y, *z) = 1, 2\ntry:\n    import c as d\nexcept ImportError:\n    d = e = None\n")
    assert top_level_names(file) == ("a", "x", "y", "z", "d", "e")
    file.write_text("from a import *\n")
    assert top_level_names(file) is None


def test_binds_the_shipped_recipes():
    for file in sorted(Path("recipes").glob("*.yaml")):
        if not file.name.endswith(".lock.yaml"):
            assert bind(read(file)).recipe.titrant == 1


def test_imports_neither_torch_nor_numpy():
    program = (
        "import sys; from pathlib import Path; from titrant.compiler.bind.bind import bind; "
        "from titrant.schema.language.parse import read; bind(read(Path('recipes/digits_cnn.yaml'))); "
        "print([name for name in ('torch', 'numpy', 'onnx', 'onnxruntime', 'sklearn', 'scipy') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_accepts_later_keys_whose_value_asks_for_nothing(folder):
    asks_nothing = """\
reduction: none
tracking: none
search: {mix_layers: false}
quantization: {skip: [], only: []}
validation: {batch_invariance: none, accept: [], preset: none}
profile: {trace: false}
memory: {layout: auto}
"""
    assert bound(BASE + asks_nothing, folder)


def test_names_only_keys_that_the_language_has():
    for path in (*later_keys(), *later_values()):
        assert path[0] in Recipe.model_fields


def test_refuses_what_an_onnx_file_cannot_become(folder):
    assert codes(BASE + "export: [{format: torchscript}]\n", folder) == [("R108", 5, 19)]
    assert codes(BASE + "quantization: {method: torch.dynamic}\n", folder) == [("R108", 5, 24)]
    assert codes(BASE + "target: {engine: torch}\n", folder) == [("R108", 5, 18)]
    assert codes(BASE + "export: [{format: onnx, opset: 18}]\n", folder) == [("R108", 5, 25)]


@pytest.mark.parametrize("method", ["ort.nbits", "openvino.weights", "mlx.affine"])
def test_takes_the_width_of_a_method_in_one_place_only(method, folder):
    """Levels and the medical safeguards look at `quantization.bits`: four bits must not pass them as an option."""
    start = f"quantization: {{method: {method}, options: {{"
    assert codes(CODE % "nets:Net" + start + "bits: 4}}\n", folder) == [("R107", 6, len(start) + 1)]


def test_refuses_to_calibrate_on_random_inputs(folder):
    assert codes(BASE + "quantization: {method: ort.static}\n", folder) == [("R109", 5, 24)]


def test_refuses_labelled_gates_where_there_are_no_labels(folder):
    text = BASE + "validation: {bias: 0.9, gates: [{metric: accuracy, comparison: at_least, threshold: 0.9}]}\n"
    assert codes(text, folder) == [("R110", 5, 20), ("R111", 5, 42)]


def test_lists_the_findings_in_the_order_of_the_file(folder):
    text = CODE.replace("rows.csv", "row.csv") % "net:Net"
    assert [line for _, line, _ in codes(text + "batching: {size: 8}\n", folder)] == [4, 5, 6]


def test_has_a_sentence_for_every_check():
    assert all(check.__doc__ for check in CHECKS)


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        ("{measure: absolute}", "R112", "an absolute difference has no scale of its own"),
        ("{measure: same_class, tolerance: 0.1}", "R112", "`same_class` is the same or not, and takes no tolerance"),
        ("{tolerance: 0.1}", "R112",
         "what a tolerance means depends on the measure, which `auto` leaves to the kind of the output"),
        ("{measure: cosine, tolerance: 1.5}", "R113", "`1.5` is out of range: it is from 0 to 1"),
        ("{measure: cosine, at_least: 0.9}, retention: 0.9", "R112",
         "`at_least` and `retention` both say which share of the cases agrees"),
        ("{y: {measure: cosine, at_least: 0.9}}", "R112",
         "all outputs of a case must agree, so that one share holds for all of them"),
    ],
)  # fmt: skip
def test_refuses_an_agreement_that_says_too_little_or_too_much(folder, said, code, message):
    with pytest.raises(RecipeError) as caught:
        bound(BASE + f"validation: {{agreement: {said}}}\n", folder)
    assert [(one.code, one.message) for one in caught.value.diagnostics] == [(code, message)]


@pytest.mark.parametrize("place", ["", "data", "data/rows.csv"])
def test_refuses_a_folder_or_file_whose_name_no_text_can_hold_before_anything_else(folder, place):
    """A recipe is text, so a file of such a name can only be reached by a link; its folder is another matter."""
    import os

    own = folder / os.fsdecode(b"caf\xe9") / place
    own.mkdir(parents=True)
    for name in ("nets.py", "rows.csv"):
        (own / name).write_text("class Net: ...\n", "utf-8")
    assert codes(CODE % "nets:Net", own) == [("R129", 1, 1)]
    link = folder / "cafe"
    link.symlink_to(own)
    assert bound(CODE % "nets:Net", link).folder == link
