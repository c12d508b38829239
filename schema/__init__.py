"""The nouns of titrant: recipe language, diagnostics, facts, plan, record, canonical JSON and digests."""
