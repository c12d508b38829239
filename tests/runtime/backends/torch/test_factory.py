"""Factories: what they build, what they raise, and the digest of the source that defines them."""

import sys
import zipfile

import pytest
import torch  # noqa: TID253 - the tests compare weights

from titrant.runtime.backends.torch.factory import build, source_digest, source_files
from titrant.runtime.operators.model.load import ModelLoadParams, load_torch
from titrant.schema.diagnostics.diagnostics import StepError

TABULAR = "titrant.recipes.models:TabularNet"


@pytest.fixture
def user(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    (tmp_path / "user_part.py").write_text("import torch\nWIDTH = 4\n")
    (tmp_path / "user_net.py").write_text(
        "import user_part\nimport torch\n"
        "def net(): return torch.nn.Linear(user_part.WIDTH, 2)\n"
        "def fails(depth):\n    raise ValueError('depth must be odd')\n"
        "def nothing(): return 3\n"
    )
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("user_"):
            del sys.modules[name]


def test_builds_with_arguments():
    assert build(TABULAR, {"features": 3, "classes": 2})(torch.zeros(5, 3)).shape == (5, 2)


@pytest.mark.parametrize(
    ("reference", "args", "code", "message"),
    [
        ("user_net:fails", {"depth": 2}, "X108", r"\(depth=2\) raised ValueError \(user_net.py:5\)"),
        ("user_net:net", {"width": 2}, "X108", "unexpected keyword argument"),
        ("user_net:nothing", {}, "X151", "gave int"),
        ("user_net:nets", {}, "X150", "user_net has no nets"),
        ("user_gone:net", {}, "X150", "there is no module user_gone"),
    ],
)  # fmt: skip
def test_says_in_one_line_what_a_factory_did(user, reference, args, code, message):
    with pytest.raises(StepError, match=message) as caught:
        build(reference, args)
    assert caught.value.diagnostics[0].code == code
    assert "\n" not in caught.value.diagnostics[0].message


def test_digests_the_factorys_module_and_what_it_imports_of_the_user(user):
    assert list(source_files("user_net:net")) == ["user_net", "user_part"]
    before = source_digest("user_net:net")
    (user / "user_part.py").write_text("import torch\nWIDTH = 5\n")
    assert source_digest("user_net:net") != before


def test_digests_what_a_function_of_the_module_is_going_to_import_before_it_did(user):
    """Else the digest would depend on whether a forward had been called in this process."""
    (user / "user_parts").mkdir()
    for name in ("user_parts/__init__.py", "user_parts/late.py", "user_later.py"):
        (user / name).write_text("")
    (user / "user_parts" / "late.py").write_text("from ..user_gone import x\nimport user_later\nimport numpy.gone\n")
    (user / "user_net.py").write_text("def net():\n    from user_parts import late\n    import user_gone\n")
    before = source_digest("user_net:net")
    assert list(source_files("user_net:net")) == ["user_later", "user_net", "user_parts", "user_parts.late"]
    assert "user_later" not in sys.modules
    __import__("user_later")
    assert source_digest("user_net:net") == before


def test_takes_a_module_in_an_archive_for_the_archive(user, monkeypatch):
    archive = user / "parts.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("user_zipped.py", "WIDTH = 4\n")
    monkeypatch.syspath_prepend(archive)
    (user / "user_net.py").write_text("import user_zipped\ndef net(): return user_zipped.WIDTH\n")
    assert source_files("user_net:net") == {"user_net": user / "user_net.py", "user_zipped": archive}


def test_draws_initial_weights_from_the_seed_and_leaves_the_generators_alone():
    params = ModelLoadParams(factory=TABULAR, args={"features": 3, "classes": 2})
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    first, again, other = (load_torch(params, seed=seed)[0].module.state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])


def test_leaves_the_model_in_eval_mode_with_the_shapes_that_inspection_found():
    spec = {"name": "features", "shape": ["batch", 3], "dtype": "float32"}
    params = ModelLoadParams(
        factory=TABULAR, args={"features": 3, "classes": 2}, inputs=[spec], outputs=[{"name": "logits"}]
    )
    model, _ = load_torch(params, seed=0)
    assert not model.module.training
    assert model.inputs == (("features", ("batch", 3), "float32"),)
    assert model.outputs == ("logits",)
