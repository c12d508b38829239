"""The recipe language and the values that every stage hands on: facts, plan, gates, costs, record, lock."""

# Of titrant as a whole: locks and records carry it.
__version__ = "0.1.0"
