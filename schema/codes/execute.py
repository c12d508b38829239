"""Codes X300-X399: running, storing and reporting."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = ()
