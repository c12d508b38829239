"""Engines and kinds: how artifacts are kept, loaded and run."""
