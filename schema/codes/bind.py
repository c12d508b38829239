"""Codes R100-R199: names, files and options that a recipe refers to."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = ()
