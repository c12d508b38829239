"""The recipe language, one section a file."""
