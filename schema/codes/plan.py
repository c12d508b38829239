"""Codes P001-P099: decisions, feasibility and saved plans."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = ()
