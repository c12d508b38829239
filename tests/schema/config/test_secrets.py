"""Secrets are found by key and by shape; what only looks like one stays."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.schema.config.secrets import REDACTED, names_a_secret, redact, without_secrets


@pytest.mark.parametrize(
    "key",
    ["password", "API_KEY", "apiKey", "wandb_api_key", "accessToken", "aws-secret-access-key", "dsn", "auth_token",
     "client_secret", "HF_TOKEN", "credentials", "private_key"],
)  # fmt: skip
def test_knows_the_keys_of_secrets(key):
    assert names_a_secret(key)


@pytest.mark.parametrize(
    "key", ["pad_token", "eos_token", "max_tokens", "tokenizer", "key", "keys", "token_count", "secretary", "author"]
)
def test_leaves_keys_that_name_no_secret(key):
    assert not names_a_secret(key)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("postgres://me:p@ss@db:5432/x", f"postgres://{REDACTED}@db:5432/x"),
        ("https://ghp_token@github.com/a/b", f"https://{REDACTED}@github.com/a/b"),
        ("https://host/x?sig=abc&n=1", f"https://host/x?sig={REDACTED}&n=1"),
        ("run --password=hunter2 --n=3", f"run --password={REDACTED} --n=3"),
        ("Bearer abcdef123456", f"Bearer {REDACTED}"),
        ("a " + "ghp_" + "x1" * 15, f"a {REDACTED}"),
        ("AKIA" + "ABCD1234" * 2, REDACTED),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n", f"{REDACTED}\n"),
        ("Server=x;AccountKey=abc==;Port=1", f"Server=x;AccountKey={REDACTED};Port=1"),
    ],
)
def test_knows_the_shapes_of_secrets(text, left):
    assert without_secrets(text) == left


@pytest.mark.parametrize(
    "text",
    ["https://example.com/@me", "me@example.com", "0123456789abcdef" * 4, "sk-learn-extended-pipeline-name",
     "the token is expired", "a=1", "titrant.recipes.models:TabularNet"],
)  # fmt: skip
def test_leaves_text_that_holds_no_secret(text):
    assert without_secrets(text) == text


def test_redacts_all_that_lies_below_a_key_but_truth_values():
    value = {"credentials": {"user": "u", "list": ["a", 5], "on": True, "none": None, "empty": ""}}
    left, found = redact(value)
    assert left["credentials"] == {"user": REDACTED, "list": [REDACTED] * 2, "on": True, "none": None, "empty": ""}
    assert found == ("credentials.user", "credentials.list[0]", "credentials.list[1]")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_changes_nothing_the_second_time(text):
    once = without_secrets(f"https://{text}@h?token={text}")
    assert without_secrets(once) == once
