"""Read sources into columns, and fit and apply transforms."""
