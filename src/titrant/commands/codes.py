"""The exit codes that a verb itself gives; those of errors stand with the errors (schema/diagnostics.py)."""

OK, CONTRACT_NOT_KEPT, OUT_OF_DATE, DIFFERENT = 0, 5, 6, 7
