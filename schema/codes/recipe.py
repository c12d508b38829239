"""Codes R001-R099: the recipe's text and shape."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = ()
