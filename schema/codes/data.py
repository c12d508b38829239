"""Codes X100-X199: loading data and models."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = ()
