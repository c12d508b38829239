"""The operators, engines, store, journal, executor, contract statistics and report."""
