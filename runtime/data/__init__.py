"""Read sources into columns, hash and group their rows, and fit and apply transforms."""
