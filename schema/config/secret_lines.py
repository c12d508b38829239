"""Take secrets out of a configuration's text, its lines and comments otherwise as they are."""

import re

from titrant.schema.config.secrets import REDACTED, names_a_secret, without_secrets

# `key: value` and `key=value`; a value runs to a comma, a bracket, a comment or the line's end. A key is
# a whole word, taken at once: a long line without a sign would be read again from each of its letters.
_PAIR = re.compile(
    r"""(?<![\w.-])(?P<key>[\w.-]++)(?P<sign>["']?[ \t]*[:=][ \t]*)"""
    r"""(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s,\]}\[{"'#|>][^,\]}\n#]*)"""
)
_NAME = 200
_WORDS = ("none", "null", "true", "false", "auto")


def without_secret_lines(text: str) -> str:
    """Replace the values of keys that name a secret, as in `token: abc`, and what has the shape of one."""
    return without_secrets(_PAIR.sub(_replaced, text))


def _replaced(match: re.Match[str]) -> str:
    # What a name ends in tells.
    if not names_a_secret(match["key"][-_NAME:]) or match["value"].strip().lower() in _WORDS:
        return match[0]
    return f"{match['key']}{match['sign']}{REDACTED}"
