"""A user's own metric: how it declares itself, what it is called with, and how its gates are judged."""
