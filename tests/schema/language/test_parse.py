"""Parsing: places, overrides, `extends`, and what is refused before it is read."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.diagnostics.render import render_all
from titrant.schema.language.parse import parse, read
from titrant.schema.recipe.transform import Normalize, Standardize

BASE = (Path(__file__).parents[1] / "mistakes" / "base.yaml").read_text("utf-8")


def parsed(text=BASE, **options):
    return parse(text, "recipe.yaml", folder=Path("/recipes"), **options)


def errors(text=BASE, **options):
    with pytest.raises(RecipeError) as caught:
        parsed(text, **options)
    return caught.value.diagnostics


def test_holds_sizes_in_bytes_and_times_in_seconds():
    target = parsed(overrides=["target.size=200 KiB"]).recipe.target
    assert (target.size, target.latency.p95) == (204_800, 0.005)


def test_reads_a_transform_with_and_without_options():
    text = BASE.replace("  label:", "  transform: [standardize, {normalize: {mean: 0.5, std: [1, 2]}}]\n  label:")
    first, second = parsed(text).recipe.data.transform
    assert isinstance(first, Standardize)
    assert isinstance(second, Normalize)
    assert (second.mean, second.std) == ((0.5,), (1, 2))


def test_gives_the_default_shares_to_a_split_without_roles():
    text = BASE.replace("split: {train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3}", "split: {by: patient}")
    split = parsed(text).recipe.data.split
    assert split.by == "patient"
    assert split.roles == {"train": 0.5, "tuning": 0.1, "calibration": 0.1, "evaluation": 0.3}


def test_gives_no_rows_to_a_role_left_out():
    text = BASE.replace("tuning: 0.1, ", "")
    assert parsed(text).recipe.data.split.tuning is None


def test_reads_values_of_a_subgroup_as_labels():
    text = BASE.replace("{column: age, bins: [40, 60]}", "{column: stage, values: [1, 2.0, late]}")
    assert parsed(text).recipe.data.subgroups["age"].values == {"1": (1,), "2": (2,), "late": ("late",)}


def test_keeps_yaml_words_of_other_versions_as_text():
    text = BASE.replace("positive: sick", "positive: no")
    assert parsed(text).recipe.data.positive == "no"


def test_tells_a_preset_switched_off_from_one_not_written():
    recipe = parsed(overrides=["validation.safety=none"]).recipe
    assert (recipe.validation.safety, recipe.validation.bias) == ("none", None)


def test_does_not_build_what_is_not_written():
    recipe = parsed().recipe
    assert "memory" not in recipe.model_fields_set
    assert recipe.memory.offload_from == 0.8


def test_has_a_place_for_every_path_in_the_text():
    source = parsed().source
    lines = BASE.split("\n")
    for path in source.paths():
        for part in ("key", "value"):
            place = source.place(path, part)
            assert place.text == lines[place.line - 1]
            assert place.text[place.column - 1 : place.column - 1 + place.width].strip()
        if isinstance(path[-1], str):
            key = source.place(path)
            assert key.text[key.column - 1 : key.column - 1 + key.width] == path[-1]


def test_places_a_path_that_is_not_written_at_its_nearest_parent():
    source = parsed().source
    assert not source.has(("target", "size"))
    assert str(source.place(("target", "size"))) == "recipe.yaml:15:1"
    assert str(source.place(("target", "latency", "p95"), "value")) == "recipe.yaml:15:25"


def test_counts_wide_letters_as_one_column():
    (one,) = errors(BASE.replace("name: demo", "name: demo\ndescription: {日本: 1}"))
    assert (one.where.line, one.where.column) == (3, 14)


# --- overrides


def test_types_an_override_as_yaml():
    recipe = parsed(
        overrides=["train.epochs=7", "train.find_learning_rate=true", "export=[{format: torchscript}]"]
    ).recipe
    assert (recipe.train.epochs, recipe.train.find_learning_rate) == (7, True)
    assert recipe.export[0].format == "torchscript"


def test_makes_the_sections_that_an_override_needs():
    assert parsed(overrides=["search.budget.minutes=3"]).recipe.search.budget.minutes == 3


def test_lets_the_last_override_win():
    assert parsed(overrides=["seed=1", "seed=2"]).recipe.seed == 2


def test_reaches_into_lists_and_quoted_names():
    parsed_recipe = parsed(overrides=["export[0].opset=17", 'model.args."a.b"=1'])
    assert parsed_recipe.recipe.export[0].opset == 17
    assert parsed_recipe.recipe.model.args["a.b"] == 1


def test_points_at_the_flag():
    source = parsed(overrides=["train.epochs=7"]).source
    assert str(source.place(("train", "epochs"), "value")) == "--set:1:14"
    assert source.place(("train", "epochs")).text == "train.epochs=7"


FLAGS = {
    "train.epohcs=3": """\
error[R012]: unknown option `epohcs` in `train`
  --> --set:1:7 (train.epohcs)
  |
  | train.epohcs=3
  |       ^^^^^^
  help: did you mean `epochs`?""",
    "train.epochs=many": """\
error[R014]: `epochs` is a whole number, 1 or more, not the text `many`
  --> --set:1:14 (train.epochs)
  |
  | train.epochs=many
  |              ^^^^""",
    "train.epochs": """\
error[R024]: an override is a path, `=` and a value
  --> --set:1:1
  |
  | train.epochs
  | ^^^^^^^^^^^^
  help: such as `--set target.threads=2`""",
    "seed=": """\
error[R024]: `seed` is given no value
  --> --set:1:5
  |
  | seed=
  |     ^
  help: write it after the `=`""",
    "name.deep=1": """\
error[R024]: `name` is a single value and has no key `deep`
  --> --set:1:6 (name.deep)
  |
  | name.deep=1
  |      ^^^^
  help: override it as a whole""",
    "export[3].format=onnx": """\
error[R024]: there is no entry 3: the list has 1, counted from 0
  --> --set:1:7 (export[3].format)
  |
  | export[3].format=onnx
  |       ^^^
  help: override the list""",
    "export.format=onnx": """\
error[R024]: `export` is a list and has no key `format`
  --> --set:1:8 (export.format)
  |
  | export.format=onnx
  |        ^^^^^^
  help: name an entry by its position, such as `[0]`""",
    "export=[onnx": """\
error[R026]: this bracket is not closed with `]`
  --> --set:1:8
  |
  | export=[onnx
  |        ^
  help: add `,` or `]` before line 1, column 13""",
    "=3": """\
error[R024]: this flag names no key
  --> --set:1:1
  |
  | =3
  | ^
  help: such as `--set target.threads=2`""",
    "a..b=3": """\
error[R024]: this is not a path
  --> --set:1:1
  |
  | a..b=3
  | ^^^^
  help: such as `target.threads` or `export[0].format`""",
    "extends=other.yaml": """\
error[R024]: `extends` cannot be overridden
  --> --set:1:1
  |
  | extends=other.yaml
  | ^^^^^^^
  help: make a recipe that extends it""",
    "target.size=5": """\
error[R015]: a size needs a unit, and `5` has none
  --> --set:1:13 (target.size)
  |
  | target.size=5
  |             ^
  help: such as `5 MiB`""",
}


@pytest.mark.parametrize("flag", FLAGS)
def test_says_what_is_wrong_with_a_flag(flag):
    assert render_all(errors(overrides=[flag])) == FLAGS[flag]


# --- extends


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "base.yaml").write_text(BASE, "utf-8")
    return tmp_path


def extending(folder, text, **options):
    (folder / "child.yaml").write_text("titrant: 1\nextends: shared/base.yaml\n" + text, "utf-8")
    return read(folder / "child.yaml", **options)


def test_merges_mappings_deeply_and_replaces_the_rest(folder):
    recipe = extending(folder, "train: {batch_size: 8}\nexport: [{format: torchscript}]\n").recipe
    assert (recipe.train.epochs, recipe.train.batch_size) == (30, 8)
    assert [one.format for one in recipe.export] == ["torchscript"]


def test_removes_what_the_base_has_with_none(folder):
    recipe = extending(folder, "data: {positive: none, subgroups: none}\n").recipe
    assert recipe.data.positive is None
    assert recipe.data.subgroups == {}


def test_keeps_none_where_it_is_a_value(folder):
    assert extending(folder, "validation: {retention: none}\n").recipe.validation.retention == "none"


def test_keeps_the_place_and_folder_of_each_value(folder):
    source = extending(folder, "train: {batch_size: 8}\n").source
    assert source.place(("train", "epochs")).file == str(folder / "shared" / "base.yaml")
    assert source.place(("train", "batch_size")).file == str(folder / "child.yaml")
    assert source.folder(("data", "source", "csv")) == folder / "shared"
    assert source.folder(("train", "batch_size")) == folder


def test_applies_overrides_last(folder):
    assert extending(folder, "train: {epochs: 5}\n", overrides=["train.epochs=6"]).recipe.train.epochs == 6


def test_points_into_the_base(folder):
    (folder / "shared" / "base.yaml").write_text(BASE.replace("epochs", "epohcs"), "utf-8")
    with pytest.raises(RecipeError) as caught:
        extending(folder, "sede: 1\n")
    child, base = caught.value.diagnostics
    assert Path(child.where.file).name == "child.yaml"
    assert (Path(base.where.file).name, base.where.line) == ("base.yaml", 14)


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("extends: other.yaml\n" + BASE, "only one level"),
        ("", "holds no recipe"),
        ("titrant: 2\n", "speaks language 2"),
        ("a: [\n", "not closed"),
    ],
)
def test_refuses_a_base_that_is_none(folder, base, words):
    (folder / "shared" / "base.yaml").write_text(base, "utf-8")
    with pytest.raises(RecipeError, match=words):
        extending(folder, "")


@pytest.mark.parametrize(
    ("name", "words"), [("missing.yaml", "no such file"), ("child.yaml", "itself"), (".", "folder")]
)
def test_refuses_a_base_that_cannot_be_read(folder, name, words):
    (folder / "child.yaml").write_text(f"titrant: 1\nextends: {name}\n", "utf-8")
    with pytest.raises(RecipeError, match=words) as caught:
        read(folder / "child.yaml")
    assert caught.value.diagnostics[0].where.key == "extends"


# --- what is refused before it is read


def test_suggests_the_file_that_was_meant(tmp_path):
    (tmp_path / "digits.yaml").write_text(BASE, "utf-8")
    with pytest.raises(RecipeError, match=r"did you mean .*digits\.yaml"):
        read(tmp_path / "digit.yaml")


def test_refuses_a_folder_and_a_loop_of_links(tmp_path):
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    for name in ("loop.yaml", "."):
        with pytest.raises(RecipeError) as caught:
            read(tmp_path / name)
        assert caught.value.diagnostics[0].code == "R001"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(RecipeError, match="no regular file"):
        read(tmp_path / "pipe.yaml")


def test_points_at_the_first_byte_that_is_not_utf8(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(BASE.replace("sick", "Röntgen").encode("latin-1"))
    with pytest.raises(RecipeError) as caught:
        read(tmp_path / "latin.yaml")
    (one,) = caught.value.diagnostics
    assert (one.code, one.where.line, one.where.column) == ("R002", 11, 14)


def test_reads_a_file_with_a_byte_order_mark_and_windows_lines(tmp_path):
    (tmp_path / "windows.yaml").write_bytes(BASE.replace("\n", "\r\n").encode("utf-8-sig"))
    source = read(tmp_path / "windows.yaml").source
    assert source.place(("train",)).line == 14
    assert source.place(("train",)).text == "train: {epochs: 30}"


HOSTILE = {
    "50 MB": "a" * 50_000_000,
    "a million keys": "".join(f"k{i}: 1\n" for i in range(95_000)),
    "a key a hundred thousand times": "a: 1\n" * 100_000,
    "a long list": "a: [" + "1," * 500_000 + "]",
    "ten thousand levels": "[" * 10_000,
    "a thousand indented levels": "".join(" " * i + "a:\n" for i in range(1000)),
    "an alias bomb": "a: &a [x]\n" + "".join(f"b{i}: &b{i} [*a, *a, *a]\n" for i in range(1000)),
    "a hundred thousand aliases": "".join(f"k{i}: *x\n" for i in range(80_000)),
    "a long key": "k" * 1_000_000 + ": 1\n",
    "a long tag": "a: " + "!" * 1_000_000,
    "a long number": "seed: " + "1" * 1_000_000,
    "a long misspelt word": BASE.replace("level: balanced", "level: " + "balanced" * 100_000),
    "many wrong entries": BASE.replace("[{format: onnx}]", "[" + "{format: x}," * 20_000 + "]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses_hostile_text_quickly_and_in_few_words(name):
    begin = time.process_time()
    found = errors(HOSTILE[name])
    assert len(found) <= 101
    assert len(render_all(found)) < 60_000
    assert time.process_time() - begin < 20  # of work that a guard does not stop there are minutes


def test_reads_five_thousand_lines_with_as_much_work_for_each_as_for_one_of_five_hundred(lines_run):
    def read_many(count):
        groups = "".join(f"    g{i}:\n      column: c{i}\n      bins: [1, 2, 3]\n" for i in range(count))
        text = BASE.replace(" {age: {column: age, bins: [40, 60]}}", "\n" + groups.rstrip("\n"))
        assert text.count("\n") > 3 * count
        assert len(parsed(text).recipe.data.subgroups) == count

    read_many(1)
    assert lines_run(lambda: read_many(1700)) < 11 * lines_run(lambda: read_many(170))


def test_imports_nothing_heavy():
    code = (
        "import sys; from titrant.schema.language.parse import parse;"
        "print(sorted({'torch', 'numpy', 'ruamel', 'ruamel.yaml', 'rich'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_lets_no_flag_change_the_language():
    for flag in ("titrant=0", "titrant=1", "titrant=7"):
        with pytest.raises(RecipeError, match="R024: `titrant` cannot be overridden"):
            parse(BASE, "x.yaml", folder=Path(), overrides=(flag,))


def test_asks_a_recipe_that_extends_another_for_its_own_version(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "child.yaml").write_text("extends: base.yaml\nname: child\n")
    with pytest.raises(RecipeError) as caught:
        read(tmp_path / "child.yaml")
    assert [(one.code, one.where.line) for one in caught.value.diagnostics] == [("R020", 1)]


def test_holds_no_long_whole_number_as_a_fraction():
    digits = "9" * 41
    args = parse(BASE.replace("{features: 30}", f"{{features: {digits}}}"), "x", folder=Path()).recipe.model.args
    assert args["features"] == digits
