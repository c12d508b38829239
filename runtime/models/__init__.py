"""Models: building them from a factory, loading weights, counting what they hold."""

from titrant.runtime.models.factory import build, source_digest

__all__ = ["build", "source_digest"]
