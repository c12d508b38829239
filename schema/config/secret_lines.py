"""Take secrets out of a configuration's text, its lines and comments otherwise as they are."""

import re

from titrant.schema.config.secrets import REDACTED, names_a_secret, without_secrets

# `key: value` and `key=value`; a value runs to a comma, a bracket, a comment or the line's end.
_PAIR = re.compile(
    r"""(?P<key>[A-Za-z][\w.-]*)(?P<sign>["']?[ \t]*[:=][ \t]*)"""
    r"""(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s,\]}\[{"'#|>][^,\]}\n#]*)"""
)
_WORDS = ("none", "null", "true", "false", "auto")


def without_secret_lines(text: str) -> str:
    """Replace the values of keys that name a secret, as in `token: abc`, and what has the shape of one."""
    return without_secrets(_PAIR.sub(_replaced, text))


def _replaced(match: re.Match[str]) -> str:
    if not names_a_secret(match["key"]) or match["value"].strip().lower() in _WORDS:
        return match[0]
    return f"{match['key']}{match['sign']}{REDACTED}"
