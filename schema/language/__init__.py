"""The recipe language: parse a recipe with the place of every key, check, write and migrate it."""
