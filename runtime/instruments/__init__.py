"""Instruments that work on live models and callables, each a folder or a file: measure, look inside, check."""
