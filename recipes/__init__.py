"""Shipped recipes and the small models that they use."""
