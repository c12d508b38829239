"""An installed factory is run only where its source says that it builds what it is named for."""

import builtins
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.compiler.bind import check_references
from titrant.compiler.bind.bind import bind
from titrant.compiler.bind.check_references import installed_file
from titrant.compiler.bind.factory_kind import KNOWN_BUILDERS, builds
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.language.parse import parse

RECIPE = """titrant: 1
name: a
level: balanced
task: binary_classification
model: {{factory: "{model}"{args}}}
data:
  source: {data}
  inputs: [x]
  label: y
  split: {{train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3}}
train: {{epochs: 1}}
quantization: {{method: ort.static}}
export: [{{format: onnx}}]
"""
STANDARD = (
    "runpy:run_path", "runpy:run_module", "os:system", "posix:system", "subprocess:run", "subprocess:Popen",
    "builtins:exec", "builtins:eval", "importlib:import_module", "pickle:load", "shutil:rmtree", "ctypes:CDLL",
    "code:interact", "timeit:timeit", "multiprocessing.connection:Client", "functools:partial", "collections:Counter",
)  # fmt: skip


@pytest.fixture
def codes(tmp_path):
    """Return the codes and messages of what binding says of a recipe."""
    (tmp_path / "net.py").write_text("import torch\nclass Net(torch.nn.Module): ...\ndef load(): ...\n", "utf-8")

    def of(model="net:Net", data='{factory: "net:load"}', args="", trust=False):
        try:
            bind(parse(RECIPE.format(model=model, data=data, args=args), "r.yaml", folder=tmp_path), trust=trust)
        except RecipeError as error:
            return [(found.code, found.message) for found in error.diagnostics]
        return []

    return of


@pytest.mark.parametrize("reference", STANDARD)
def test_runs_nothing_of_the_standard_library_unless_it_is_trusted(codes, reference):
    (model,) = codes(model=reference, args=", args: {path_name: evil.py}")
    (data,) = codes(data=f'{{factory: "{reference}", args: {{command: touch x}}}}')
    assert (model[0], data[0]) == ("R105", "R105")
    assert "standard library, of which nothing builds a model" in model[1]
    assert "of which nothing returns a data set" in data[1]
    assert codes(model=reference, trust=True) == []


@given(
    st.sampled_from(sorted(sys.stdlib_module_names - {"__main__", "antigravity", "this"})),
    st.sampled_from(dir(builtins)),
)
def test_takes_nothing_of_the_standard_library_for_a_builder_whatever_it_is_called(module, name):
    assert check_references.in_standard_library(module, installed_file(module))
    assert not builds("model", module, name, installed_file)


def test_knows_the_standard_library_by_another_name(codes, tmp_path):
    import runpy

    (tmp_path / "mine.py").symlink_to(runpy.__file__)
    ((code, message),) = codes(model="mine:run_path")
    assert (code, "standard library" in message) == ("R105", True)


def test_runs_titrants_models_and_none_of_its_other_functions(codes):
    assert codes(model="titrant.recipes.models:TabularNet") == []
    assert [code for code, _ in codes(model="titrant.runtime.backends.torch.factory:build")] == ["R105"]
    assert [code for code, _ in codes(data='{factory: "titrant.runtime.user_code:call"}')] == ["R105"]


@pytest.mark.parametrize("reference", ["torch.nn:Linear", "torch.nn:Transformer", "torch.nn.modules.linear:Linear"])
def test_runs_an_installed_module_class(codes, reference):
    assert codes(model=reference) == []


@pytest.mark.parametrize("reference", ["torch.hub:load", "torch:load", "torch.utils.cpp_extension:load", "numpy:load"])
def test_does_not_run_an_installed_function_that_does_not_say_what_it_builds(codes, reference):
    ((code, message),) = codes(model=reference)
    assert (code, f"the installed `{reference}` builds a model" in message) == ("R105", True)
    assert codes(model=reference, trust=True) == []


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install packages: name → text of each file."""
    folder, installed = tmp_path / "installed", check_references.environment()
    monkeypatch.setattr(check_references, "environment", lambda: (str(folder), *installed))

    def install(name, files):
        for file, text in files.items():
            place = folder / name / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, "utf-8")
        installed_file.cache_clear()

    yield install
    installed_file.cache_clear()


BASES = (
    ("import torch", "torch.nn.Module"), ("import torch.nn", "torch.nn.Module"), ("import torch as t", "t.nn.Module"),
    ("import torch.nn as nn", "nn.Module"), ("from torch import nn", "nn.Module"),
    ("from torch.nn import Module", "Module"), ("from torch.nn import Module as M", "M"),
    ("from torch.nn import *", "Sequential"), ("from torch.nn.modules.module import Module", "Module"),
    ("try:\n    from torch import nn\nexcept ImportError:\n    nn = None", "nn.Linear"),
)  # fmt: skip
EXPORTS = ("from ._made import {0}", "from .{1} import *", "from pkg{2}._made import {0} as {0}")
RETURNS = ("Net", "'Net'", "Net | Other", "nets.Net", "typing.Union[Net, Other]")
OTHERS = (
    "",
    "object",
    "None",
    "type[Net]",
    "Net | None",
    "typing.Any",
    "typing.Callable[..., Net]",
    "'Net['",
    "list[Net]",
)
count = iter(range(10**6))


def made(base, returns):
    imported, parent = base
    arrow = f" -> {returns}" if returns else ""
    return (
        f"import typing\n{imported}\nfrom . import _made as nets\n\nclass Base({parent}): ...\nclass Net(Base): ...\n"
        f"class Other(Net): ...\nclass Plain: ...\ndef build(**args){arrow}:\n    return run(**args)\n"
    )


SLOW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@SLOW
@given(st.sampled_from(BASES), st.sampled_from(EXPORTS), st.sampled_from(RETURNS), st.sampled_from(OTHERS))
def test_tells_builders_by_their_kind_however_they_are_imported_exported_and_annotated(
    package, base, export, returns, other
):
    number = next(count)
    name = f"pkg{number}"
    texts = {"_made.py": made(base, returns), "_other.py": made(base, other)}
    names = ("Net", "build")
    texts["__init__.py"] = "\n".join(export.format(one, "_made", number) for one in names)
    package(name, texts)
    assert builds("model", name, "Net", installed_file)
    assert builds("model", name, "build", installed_file)
    assert not builds("model", f"{name}._made", "Plain", installed_file)
    assert not builds("model", f"{name}._other", "build", installed_file)
    assert not builds("data", name, "build", installed_file)


@pytest.mark.parametrize(
    ("returns", "args", "runs"),
    [
        ("pd.DataFrame", "", True), ("'DataFrame'", "", True), ("dict[str, np.ndarray]", "{n: 3}", True),
        ("Mapping[str, np.ndarray]", "{deep: {n: [1, 2]}}", True), ("dict | pd.DataFrame", "", True),
        ("pd.DataFrame", "{path: x.pkl}", False), ("dict", "{deep: {names: [x.pkl]}}", False), ("", "", False),
        ("pd.DataFrame | None", "", False), ("object", "", False),
    ],
)  # fmt: skip
def test_runs_an_installed_data_factory_that_returns_a_data_set_and_is_given_nothing_to_run(
    codes, package, returns, args, runs
):
    name = f"sets{next(count)}"
    package(name, {"__init__.py": f"def load(**args){f' -> {returns}' if returns else ''}: ...\n"})
    data = f'{{factory: "{name}:load"{f", args: {args}" if args else ""}}}'
    assert [code for code, _ in codes(data=data)] == ([] if runs else ["R105"])
    assert codes(data=data, trust=True) == []


def test_runs_the_builders_that_say_what_they_build_in_their_documentation(codes, package):
    package("timm", {"__init__.py": "def create_model(name, **args): ...\ndef other(name): ...\n"})
    assert KNOWN_BUILDERS[0] == "timm:create_model"
    assert codes(model="timm:create_model", args=", args: {name: resnet18}") == []
    assert [code for code, _ in codes(model="timm:other")] == ["R105"]
