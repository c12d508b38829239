"""The recipe language: one frozen, strict model a section."""
