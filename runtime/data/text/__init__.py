"""Read documents of plain text, and turn text into tokens."""
