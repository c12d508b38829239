"""Operators that load, fuse and cast models."""
