"""Find secrets in a configuration by their key and their shape, and replace them in its values and its text.

Nothing else in a text changes: its lines and comments stay.
"""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from titrant.schema.language.spans import dotted

REDACTED = "<redacted>"
# Words that a key ends in when its value is a secret.
_SECRET = {"password", "passwd", "passphrase", "pwd", "secret", "secrets", "token", "credential", "credentials", "dsn"}
_SECRET |= {"authorization", "cookie", "apikey", "accesskey", "privatekey", "secretkey", "signingkey"}
_SECRET_PAIRS = frozenset(
    {(word, "key") for word in ("api", "access", "private", "secret", "account", "encryption", "signing", "auth")}
    | {("connection", "string"), ("auth", "header"), ("secret", "id"), ("secret", "value")}
)
# Tokens of a text, not of a login: `pad_token: <pad>`.
_OF_TEXT = frozenset(
    ("pad", "eos", "bos", "unk", "sep", "cls", "mask", "special", "start", "end", "next", "prefix", "suffix", "image")
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_NAMED = r"pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|account[_-]?key|auth|sig(?:nature)?"
_SHAPES = (
    # A login in an address: scheme://user:password@host, scheme://token@host.
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}://)[^\s/?#]{1,500}@"), rf"\1{REDACTED}@"),
    # …?token=…, …;AccountKey=…, password=…
    (
        re.compile(rf"(?i)((?:^|[?&;,\s])[\w.-]{{0,40}}?(?:{_NAMED})=)(?!{REDACTED})[^&;,\s'\"]+"),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9+/_.=~-]{8,}"), rf"\1{REDACTED}"),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        REDACTED,
    ),
    (
        re.compile(
            r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}"
            r"|sk-(?=[\w-]*\d)[\w-]{20,}|sk_live_\w{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{30,}|xox[abeprs]-[\w-]{10,}"
            r"|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,}|dckr_pat_[\w-]{20,}"
            r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})"
        ),
        REDACTED,
    ),
)


def redact(value: Any, keep: Collection[str] = ()) -> tuple[Any, tuple[str, ...]]:
    """Return plain JSON types with every secret replaced, and the dotted paths of what was replaced.

    A secret is text or a number under a key such as `password`, `api_key` or `accessToken`, a token of a known
    service, a private key, the login in an address, a `token=…` in text. What stands at, or below, a path in `keep`
    stays as it is.
    """
    redacted: list[str] = []
    return _redacted(value, (), False, frozenset(keep), redacted), tuple(redacted)


def names_a_secret(key: str) -> bool:
    """Whether what stands under a key is a secret, going by its name; `pad_token` and `max_tokens` are none."""
    words = [word.lower() for word in _WORDS.findall(key[:200])]
    if not words:
        return False
    if words[-1] == "token" and len(words) > 1 and words[-2] in _OF_TEXT:
        return False
    return words[-1] in _SECRET or tuple(words[-2:]) in _SECRET_PAIRS


def without_secrets(text: str) -> str:
    """Replace what looks like a secret inside a text."""
    for pattern, instead in _SHAPES:
        text = pattern.sub(instead, text)
    return text


@lru_cache(1024)
def _read_key(key: str) -> tuple[str, bool]:
    """Return a key without what looks like a secret, and whether it names one: the same ones come again and again."""
    return without_secrets(key), names_a_secret(key)


def _redacted(value: Any, path: tuple[str | int, ...], secret: bool, keep: frozenset[str], redacted: list[str]) -> Any:
    if keep and dotted(path) in keep:
        return value
    if isinstance(value, dict):
        shown_keys = {}
        for key, item in value.items():
            shown_key, named = _read_key(key)
            shown_keys[shown_key] = _redacted(item, (*path, key), secret or named, keep, redacted)
        return shown_keys
    if isinstance(value, list):
        return [_redacted(item, (*path, index), secret, keep, redacted) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool) or value == "":
        return value
    if secret:
        shown: Any = REDACTED
    else:
        shown = without_secrets(value) if isinstance(value, str) else value
    if shown != value:
        redacted.append(without_secrets(dotted(path)))
    return shown


# `key: value` and `key=value`; a value runs to a comma, a bracket, a comment or the line's end. A key is
# a whole word, taken at once: a long line without a sign would be read again from each of its letters.
_PAIR = re.compile(
    r"""(?<![\w.-])(?P<key>[\w.-]++)(?P<sign>["']?[ \t]*[:=][ \t]*)"""
    r"""(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s,\]}\[{"'#|>][^,\]}\n#]*)"""
)
_NAME = 200
_PLAIN_WORDS = ("none", "null", "true", "false", "auto")


def without_secret_lines(text: str) -> str:
    """Replace the values of keys that name a secret, as in `token: abc`, and what has the shape of one."""
    return without_secrets(_PAIR.sub(_replaced, text))


def _replaced(match: re.Match[str]) -> str:
    # The end of a name tells what it holds.
    if not names_a_secret(match["key"][-_NAME:]) or match["value"].strip().lower() in _PLAIN_WORDS:
        return match[0]
    return f"{match['key']}{match['sign']}{REDACTED}"
