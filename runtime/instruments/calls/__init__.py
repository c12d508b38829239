"""One call of a live module, overheard layer by layer and operation by operation."""
