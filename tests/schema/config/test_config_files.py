"""Saving and loading configuration: what goes in comes out, or the error names the place."""

import json
import math
import os
import stat
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from titrant.schema.config.config import load_config, save_config
from titrant.schema.config.secrets import REDACTED
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.language.yaml_source import hidden


class Mode(Enum):
    FAST = "fast"


@dataclass(frozen=True)
class Layer:
    name: str
    sizes: tuple[int, ...] = ()


class Optimizer(BaseModel):
    lr: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Settings:
    mode: Mode
    optimizer: Optimizer
    layers: list[Layer] = field(default_factory=list)
    weights: Path | None = None
    day: date | None = None


WHOLE = Settings(Mode.FAST, Optimizer(), [Layer("a", (1, 2)), Layer("no")], Path("w.safetensors"), date(2026, 1, 2))


@pytest.mark.parametrize("name", ["config.json", "config.yaml", "deep/er/config.yml"])
def test_reads_back_what_was_saved(tmp_path, name):
    save_config(WHOLE, tmp_path / name)
    assert load_config(tmp_path / name, Settings) == WHOLE


def test_writes_json_with_two_spaces_and_yaml_that_a_person_reads(tmp_path):
    save_config({"a": {"b": [1, "no"]}}, tmp_path / "c.json")
    assert (tmp_path / "c.json").read_text() == '{\n  "a": {\n    "b": [\n      1,\n      "no"\n    ]\n  }\n}\n'
    save_config({"a": {"b": [1, "true"]}}, tmp_path / "c.yaml")
    assert (tmp_path / "c.yaml").read_text() == 'a:\n  b:\n    - 1\n    - "true"\n'


def test_takes_numpy_scalars_and_sets(tmp_path):
    save_config({"lr": np.float32(0.5), "n": np.int64(3), "on": np.bool_(True), "s": {"b", "a"}}, tmp_path / "c.json")
    assert load_config(tmp_path / "c.json") == {"lr": 0.5, "n": 3, "on": True, "s": ["a", "b"]}


LOOP: dict = {}
LOOP["inner"] = LOOP


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"model": {"layers": [0, 0, {"callback": print}]}}, "model.layers[2].callback cannot be written"),
        ({"a": [math.nan]}, "a[0] cannot be written: JSON has no nan"),
        ({"a": {1: "x"}}, "the key `1` is not text"),
        ({"a": np.zeros(3)}, "a cannot be written: JSON and YAML have no numpy.ndarray"),
        ({"a": "\ud800"}, "half a character"),
        (Settings(Mode.FAST, Optimizer(), [Layer("x", (object(),))]), "layers[0].sizes[0] cannot be written"),
        ({"a\x1b": 1}, "a· cannot be written: the key holds the invisible character U+001B"),
        (LOOP, "inner cannot be written: it holds itself"),
        (print, "the value cannot be written"),
    ],
)
def test_names_the_path_of_what_cannot_be_written(tmp_path, value, words):
    with pytest.raises(RecipeError) as caught:
        save_config(value, tmp_path / "c.yaml")
    assert words in caught.value.diagnostics[0].message
    assert list(tmp_path.iterdir()) == []


def test_leaves_the_old_file_where_the_new_value_cannot_be_written(tmp_path):
    save_config({"a": 1}, tmp_path / "c.json")
    with pytest.raises(RecipeError):
        save_config({"a": object()}, tmp_path / "c.json")
    assert load_config(tmp_path / "c.json") == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_keeps_the_umask_and_the_permissions_of_a_file_that_is_there(tmp_path):
    before = os.umask(0o027)
    try:
        save_config({"a": 1}, tmp_path / "c.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "c.json").stat().st_mode) == 0o640
    (tmp_path / "c.json").chmod(0o600)
    save_config({"a": 2}, tmp_path / "c.json")
    assert stat.S_IMODE((tmp_path / "c.json").stat().st_mode) == 0o600


def test_writes_through_a_link(tmp_path):
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "link.json").symlink_to("real.json")
    save_config({"a": 1}, tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert load_config(tmp_path / "real.json") == {"a": 1}


# --- secrets


def test_redacts_secrets_and_says_where(tmp_path):
    value = {"wandb": {"api_key": "abc", "project": "p"}, "url": "https://me:pw@host/x", "pad_token": "<pad>"}
    assert save_config(value, tmp_path / "c.yaml") == ("wandb.api_key", "url")
    assert load_config(tmp_path / "c.yaml") == {
        "wandb": {"api_key": REDACTED, "project": "p"}, "url": f"https://{REDACTED}@host/x", "pad_token": "<pad>",
    }  # fmt: skip


def test_keeps_what_it_is_told_to_keep(tmp_path):
    assert save_config({"a": {"token": "x"}, "password": "y"}, tmp_path / "c.json", keep=["a.token"]) == ("password",)
    assert load_config(tmp_path / "c.json") == {"a": {"token": "x"}, "password": REDACTED}
    with pytest.raises(RecipeError, match=r"no `a\.tokn`"):
        save_config({"a": {"token": "x"}}, tmp_path / "c.json", keep=["a.tokn"])


class Login(BaseModel):
    user: str
    word: SecretStr


def test_never_writes_pydantics_secrets(tmp_path):
    save_config(Login(user="u", word=SecretStr("hush")), tmp_path / "c.json")
    assert "hush" not in (tmp_path / "c.json").read_text()


# --- comments

TEXT = """\
# Settings of the run.
mode: 'fast'   # or slow
optimizer:
  lr: 0.1  # found by hand
  betas: [0.9, 0.99]
# the layers
layers:
  - {name: "a", sizes: [1]}  # first
  - name: b
"""


def test_keeps_the_comments_of_a_yaml_file(tmp_path):
    (tmp_path / "c.yaml").write_text(TEXT)
    value = load_config(tmp_path / "c.yaml")
    value["optimizer"]["lr"] = 0.2
    value["layers"][0]["sizes"] = [1, 2]
    value["extra"] = {"deep": ["on"]}
    save_config(value, tmp_path / "c.yaml")
    wanted = TEXT.replace("0.1", "0.2").replace("sizes: [1]}  #", "sizes: [1, 2]} #")
    assert (tmp_path / "c.yaml").read_text() == f"{wanted}extra:\n  deep:\n    - on\n"
    assert load_config(tmp_path / "c.yaml") == value


def test_does_not_touch_a_file_that_says_the_same(tmp_path):
    (tmp_path / "c.yaml").write_text(TEXT + "\n\n# end\n")
    save_config(load_config(tmp_path / "c.yaml"), tmp_path / "c.yaml")
    assert (tmp_path / "c.yaml").read_text() == TEXT + "\n\n# end\n"


def test_does_not_overwrite_a_yaml_file_that_it_cannot_read(tmp_path):
    (tmp_path / "c.yaml").write_text("a: &x [1]\nb: *x\n")
    with pytest.raises(RecipeError) as caught:
        save_config({"a": 1}, tmp_path / "c.yaml")
    assert caught.value.diagnostics[0].code == "R008"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ODD = st.sampled_from(["no", "1e5", "0o7", "<<", "# x", "- a"])
keys = texts.filter(lambda key: not hidden(key))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False) | texts | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
mappings = st.dictionaries(keys, values, max_size=4)
QUIET = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def same(one, other):
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@QUIET
@given(value=values, suffix=st.sampled_from([".json", ".yaml"]))
def test_reads_back_any_value(tmp_path, value, suffix):
    file = tmp_path / f"c{suffix}"
    file.unlink(missing_ok=True)
    redacted = save_config(value, file)
    assert redacted or same(load_config(file), value)


@QUIET
@given(before=mappings, after=mappings)
def test_reads_back_any_value_that_was_put_into_another(tmp_path, before, after):
    file = tmp_path / "c.yaml"
    file.unlink(missing_ok=True)
    save_config(before, file)
    file.write_text("# head\n" + file.read_text("utf-8"), "utf-8")
    redacted = save_config(after, file)
    assert redacted or same(load_config(file), after)


# --- loading

BAD = {
    "mode: fsat\noptimizer: {}\n": "`mode`",
    "mode: fast\noptimizer: {lr: '1'}\n": "`optimizer.lr`",
    "mode: fast\noptimizer: {rl: 1}\n": "nothing reads `optimizer.rl`",
    "mode: fast\n": "`optimizer`",
    "mode: fast\noptimizer: {}\nlayers: [{name: a}, {sizes: [1]}]\n": "`layers[1].name`",
}


@pytest.mark.parametrize("text", BAD)
def test_says_what_does_not_fit_and_where(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_config(tmp_path / "c.yaml", Settings)
    (one,) = caught.value.diagnostics
    assert BAD[text] in one.message
    assert one.where is not None or "missing" in one.message or "required" in one.message


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"a": 1, "a": 2}', "twice"), ('{"a": NaN}', "no NaN"), ('{"a": 1,}', "not JSON"), ("[" * 100_000, "levels")],
)
def test_refuses_json_that_is_none(tmp_path, text, words):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(RecipeError, match=words):
        load_config(tmp_path / "c.json")


def test_refuses_a_file_of_another_kind(tmp_path):
    with pytest.raises(RecipeError, match="neither JSON nor YAML"):
        load_config(tmp_path / "c.toml")
    with pytest.raises(RecipeError, match="no such file"):
        load_config(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1e999}', "`1e999` is too large"),
        ('{"a": -Infinity}', "JSON has no -Infinity"),
        ('{"a": %s}' % ("9" * 41), "more than 40 digits"),
        ('{"a": "\\ud800"}', "half a character"),
    ],
)
def test_refuses_json_that_it_could_not_save_again(tmp_path, text, words):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(RecipeError, match=words):
        load_config(tmp_path / "c.json")


def test_finds_a_key_that_stands_twice_among_very_many(tmp_path):
    keys = ", ".join(f'"k{number}": 0' for number in range(60_000))
    (tmp_path / "c.json").write_text(f'{{{keys}, "k59999": 1}}')
    with pytest.raises(RecipeError, match="`k59999` stands twice"):
        load_config(tmp_path / "c.json")


def test_keeps_the_ends_of_lines(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_bytes(b"# top\r\na: 1 # one\r\nb: [x]\r\n")
    save_config({"a": 2, "b": ["x", "y"], "c": {"d": "e"}}, file)
    assert file.read_bytes() == b"# top\r\na: 2 # one\r\nb: [x, y]\r\nc:\r\n  d: e\r\n"


def test_keeps_the_mark_of_utf_8_that_some_editors_ask_for(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_bytes(b"\xef\xbb\xbf# mine\na: 1\n")
    save_config({"a": 2}, file)
    assert file.read_bytes() == b"\xef\xbb\xbf# mine\na: 2\n"


def test_names_a_file_that_can_never_be(tmp_path):
    (tmp_path / "ring.yaml").symlink_to("ring.yaml")
    for name in ("ring.yaml", "a\0.yaml"):
        with pytest.raises(RecipeError, match="R030"):
            save_config({"a": 1}, tmp_path / name)


def test_takes_one_path_to_keep(tmp_path):
    assert save_config({"token": "x"}, tmp_path / "c.yaml", keep="token") == ()


@pytest.mark.parametrize("into", [5, np.ndarray], ids=str)
def test_refuses_what_no_file_can_be_read_into(tmp_path, into):
    save_config({"a": 1}, tmp_path / "c.yaml")
    with pytest.raises(RecipeError, match="cannot be read from a file"):
        load_config(tmp_path / "c.yaml", into)
