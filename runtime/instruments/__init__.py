"""Instruments that measure a machine or a model, apart from any plan."""
