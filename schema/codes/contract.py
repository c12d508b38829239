"""Codes X400-X499: predicting, timing and judging."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = ()
