"""The recipe language: text in, places of every key, and what is wrong with it; recipes written and migrated."""
