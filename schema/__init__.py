"""The nouns of titrant: recipe language, diagnostics, facts, plan, record, canonical JSON and digests."""

# Of titrant as a whole: locks and records carry it.
__version__ = "0.1.0"
