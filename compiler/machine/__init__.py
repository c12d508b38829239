"""The machine at hand, or the description of another."""
