"""A secret in a line of YAML is taken out, and the line stays what it was otherwise."""

import pytest

from titrant.schema.config.secrets import without_secret_lines

TEXT = """\
titrant: 1  # token: abc
model:
  args: {features: 30, api_key: 'a, b', hub-token: hf_abcdefghijklmnopqrstuvwxyz}
data:
  source: {csv: "https://me:word@host/rows.csv"}
  transform: [{tokenize: {tokenizer: characters, pad_token: <pad>}}]
report: {tokens: true}
tracking: {wandb: {password: |
  none}}
"""


def test_takes_out_secrets_and_leaves_every_other_line():
    told = without_secret_lines(TEXT)
    for secret in ("abc", "a, b", "hf_a", "me:word"):
        assert secret not in told
    old, new = TEXT.splitlines(), told.splitlines()
    assert len(old) == len(new)
    assert [number for number, (left, right) in enumerate(zip(old, new, strict=True)) if left != right] == [0, 2, 4]


@pytest.mark.parametrize("override", ["tracking.wandb.api_key=abcd", "model.args.token='abcd'"])
def test_takes_the_value_out_of_an_override(override):
    assert "abcd" not in without_secret_lines(override)


@pytest.mark.parametrize("name", ["_secret", "1password", "x.y.token", "-password", "a" * 300 + "_token"])
def test_takes_a_name_whole_whatever_it_begins_with(name):
    assert without_secret_lines(f"{name}: abcdefgh") == f"{name}: <redacted>"


def test_leaves_an_ordinary_recipe_as_it_is():
    text = "titrant: 1\nname: x\ntrain: {epochs: 30}\nexport: [{format: onnx}]\n"
    assert without_secret_lines(text) == text
