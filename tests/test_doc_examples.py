"""What the docs show as right is right: recipes are accepted, wrong ones get their code, Python runs, options exist."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

import titrant
from titrant.cli.main import parser
from titrant.schema.diagnostics.diagnostics import all_codes
from titrant.schema.recipe.recipe import Recipe

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "docs" / "tutorial.md", *(ROOT / "docs" / "how-to").glob("*.md")])

# Tasks of which one class may be the critical one.
OF_CLASSES = ("binary_classification", "multiclass_classification", "multilabel_classification")
# What an example leaves out, because it is about something else.
BASE = {
    "titrant": 1,
    "name": "example",
    "task": "binary_classification",
    "model": {"factory": "titrant.recipes.models:TabularNet", "args": {"features": 30, "classes": 2}},
    "data": {"source": {"sklearn": "breast_cancer"}, "label": "target", "positive": "malignant"},
    "train": {"epochs": 1},
}
# Sections whose examples may begin below them.
BELOW = ("data", "model", "validation", "quantization")
# An example's files and modules are not there.
NOT_THERE = {"R102", "R104", "R106"}
# Wrong in what no recipe alone shows: bytes, sizes, files, the machine, the data or the model.
NOT_IN_THE_TEXT = {
    "R002", "R003", "R023", "R103", "R106", "R112", "R131", "R132", "R133", "R134", "R135", "R136", "R137", "R138",
    "R139", "R154", "R155", "R159", "R193", "R199", "R231", "R234", "R238", "R239", "R245",
}  # fmt: skip
# Wrong by what they leave out.
LEFT_OUT = {"R110": ("positive",)}
# About keys of a later version, as their page says.
LATER = {"R139": {"R101"}}
# Pages with YAML of other programs, and of a machine.
OTHER_YAML = {"ci.md", "plan-for-another-machine.md"}


def fragment(text):
    """Read an example that is (part of) a recipe, as a mapping with its sections; None for one that is none."""
    keys = set(re.findall(r"^([a-z_]+):", text, re.M))
    if keys and keys <= set(Recipe.model_fields):
        return text
    for section in BELOW:
        inner = getattr(Recipe.model_fields[section].annotation, "__args__", (Recipe.model_fields[section].annotation,))
        if keys and keys <= set(inner[0].model_fields):
            return f"{section}:\n" + "\n".join(f"  {line}" for line in text.splitlines())
    return None


def completed(text, left_out=()):
    """Add what an example leaves out, but for some keys of `data`."""
    given = YAML(typ="safe", pure=True).load(text)
    base = {section: dict(value) if isinstance(value, dict) else value for section, value in BASE.items()}
    files = {"onnx", "torchscript", "exported"}
    if {*files, "weights"} & set(given.get("model") or {}):
        base["model"] = {} if files & set(given["model"]) else base["model"]
        del base["train"]
    if "sources" in (given.get("data") or {}):
        del base["data"]["source"]
    if "unlabeled" in str(given.get("task")):
        base["data"] = {}
    if given.get("task", BASE["task"]) not in OF_CLASSES:
        base["data"].pop("positive", None)
    if given.get("task") in ("language_modeling", "embedding"):
        base["data"] = {"source": {"sklearn": "breast_cancer"}}
        base["model"]["weights"] = "included"
        base.pop("train", None)
    if "train" in given:
        base["model"].pop("weights", None)
    for key in left_out:
        base["data"].pop(key, None)
    for section, value in given.items():
        both = isinstance(value, dict) and isinstance(base.get(section), dict)
        base[section] = base[section] | value if both else value
    return yaml.safe_dump(base, allow_unicode=True)


def codes_of(text, folder):
    (folder / "recipe.yaml").write_text(text, "utf-8")
    try:
        found = titrant.check(folder / "recipe.yaml")
    except titrant.TitrantError as error:
        found = error.diagnostics
    return {diagnostic.code for diagnostic in found if diagnostic.severity == "error"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))
    (tmp_path / "recipes").mkdir()
    shutil.copy(ROOT / "recipes" / "breast_cancer.yaml", tmp_path / "recipes")
    return tmp_path


def recipes_of(side):
    return [
        pytest.param(code.code, text, id=code.code)
        for code in all_codes().values()
        if (text := fragment(getattr(code, side))) is not None
    ]


@pytest.mark.parametrize(("code", "text"), recipes_of("right"))
def test_accepts_what_a_page_of_errors_calls_right(code, text, folder):
    assert codes_of(completed(text), folder) - NOT_THERE - LATER.get(code, set()) == set()


def wrong_in_the_text():
    return [case for case in recipes_of("wrong") if case.values[0][0] == "R" and case.values[0] not in NOT_IN_THE_TEXT]


@pytest.mark.parametrize(("code", "text"), wrong_in_the_text())
def test_refuses_what_a_page_of_errors_calls_wrong_by_that_code(code, text, folder):
    sections = set(re.findall(r"^([a-z_]+):", text, re.M))
    try:
        whole = completed(text, LEFT_OUT.get(code, ()))
        same = not re.search(r"[&\t]|^(---|seed: 1)", text, re.M)
    except (YAMLError, AttributeError, TypeError):
        same = False
    if not same:  # what is wrong is in the text itself
        kept = {section: value for section, value in BASE.items() if section not in sections}
        whole = yaml.safe_dump(kept) + text + "\n"
    assert code in codes_of(whole, folder), whole


def yaml_blocks():
    return [
        pytest.param(block, id=f"{page.stem}-{place}")
        for page in PAGES
        if page.name not in OTHER_YAML
        for place, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.S))
    ]


@pytest.mark.parametrize("block", yaml_blocks())
def test_accepts_the_recipes_of_a_page(block, folder):
    text = fragment(block)
    assert text is not None, block
    assert codes_of(completed(text), folder) - NOT_THERE == set(), block


# A place for each value of a key, in a recipe.
PLACES = {
    "task": "task: {}",
    "target.engine": "target: {{engine: {}}}",
    "quantization.method": "quantization: {{method: {}}}",
    "validation.gates.metric": "validation: {{gates: [{{metric: {}, comparison: drop_at_most, threshold: 0.02}}]}}",
}


NO_LABEL = ("language_modeling", "embedding", "unlabeled")


@pytest.mark.parametrize("key", PLACES)
def test_marks_the_values_that_a_recipe_is_refused_for(key, folder):
    page = (ROOT / "docs" / "reference" / "language.md").read_text("utf-8")
    (cell,) = re.findall(rf"^\| `{re.escape(key)}` \| ([^|]*) \|", page, re.M)
    marks = dict(re.findall(r"`([^`]+)`( \*\(later\)\*)?", cell))
    assert marks
    for value, mark in marks.items():
        if ":" not in value:
            left_out = ("positive", "label") if value in NO_LABEL else ("positive",) if key == "task" else ()
            recipe = completed(PLACES[key].format(value), left_out)
            assert bool(codes_of(recipe, folder) & {"R101"}) == bool(mark), value


def commands():
    """List the commands that pages of errors show, each as a page writes it."""
    for code in all_codes().values():
        for side in ("wrong", "right"):
            for line in re.split(r"[\n;]|&&", getattr(code, side)):
                command = re.match(r"\s*(?:[A-Z_]+=\S+ )*titrant (.*)", re.sub(r"\s(#|\().*", "", line))
                if command is not None:
                    yield pytest.param(command[1], id=f"{code.code}-{side}")


@pytest.mark.parametrize("command", list(commands()))
def test_has_the_verbs_and_options_that_a_page_of_errors_shows(command):
    given = shlex.split(command)
    assert parser(given).parse_args(given).call is not None


# What a page's Python takes for granted.
BEFORE = {
    "README.md": "from sklearn.datasets import load_breast_cancer\nframe = load_breast_cancer(as_frame=True).data\n",
    "own-engine.md": "save = load = tensors = SNIPPET = open_session = executed = device_unmet = None\n",
    "save-configuration.md": "config = {'model': {'special': {'token': 'x'}}}\n",
    "start-a-recipe.md": (
        "import torch\nfrom pathlib import Path\n"
        "module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())\n"
        "torch.onnx.export(module, (torch.zeros(1, 3, 32, 32),), 'detector.onnx', dynamo=False)\n"
        "Path('nets.py').write_text('import torch\\nclass Net(torch.nn.Linear):\\n'\n"
        "                           '    def __init__(self): super().__init__(1, 2)\\n')\n"
        "import numpy\n"
        "rows = numpy.float32(numpy.random.default_rng(0).normal(size=(400, 4)))\n"
        "numpy.savez('rows.npz', x=rows, label=numpy.where(rows.sum(1) > 0, 'well', 'ill'))\n"
        "net = torch.nn.Linear(4, 2, bias=False)\n"
        "net.weight.data = torch.tensor([[-1.0] * 4, [1.0] * 4])\n"
        "torch.onnx.export(net, (torch.zeros(2, 4),), 'model.onnx', dynamo=False, input_names=['x'],\n"
        "                  output_names=['logits'], dynamic_axes={'x': {0: 'batch'}, 'logits': {0: 'batch'}})\n"
        "Path('patients.csv').write_text('age,sick\\n' + ''.join(f'{n},{n % 2}\\n' for n in range(60)))\n"
    ),
}
BEFORE["tutorial.md"] = BEFORE["README.md"]
# Pages that speak of a run of their own have it made, in a home of their own, by a file.
for made in (ROOT / "tests" / "docs" / "pages").glob("*.py"):
    BEFORE[f"{made.stem.replace('_', '-')}.md"] = made.read_text("utf-8")


# What a page's script calls where its work is done in workers, or in another process that has some.
IN_WORKERS = re.compile(r"\btitrant\.(init|optimize|plan|rerun|validate)\(|\bsubprocess\b")


def python_pages():
    return [page for page in PAGES if "```python\n" in page.read_text("utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("page", python_pages(), ids=lambda page: page.stem)
def test_runs_the_python_of_a_page(page, place_of_page, warm):
    place = place_of_page(page.stem)  # what a page runs is the latest for itself alone
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)
    script = place / f"{page.stem.replace('-', '_')}_page.py"
    text = BEFORE.get(page.name, "") + "\n".join(blocks)
    script.write_text(text, "utf-8")
    starts = 0 if IN_WORKERS.search(text) is None else 4 if "titrant.optimize(" in text else 2
    done = warm(script.name, cwd=place, env={"TITRANT_HOME": str(place / "home")}, starts=starts)
    assert done.returncode == 0, done.stderr
