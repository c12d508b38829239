"""How many cases prove something with a stated probability, with the standard library only."""
