"""Plain values: canonical JSON and digests, units, files, text, versions of distributions."""
