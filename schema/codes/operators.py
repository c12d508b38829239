"""Codes X200-X299: operators and engines."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = ()
