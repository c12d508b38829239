"""The store, the journal, the worker and the executor."""
