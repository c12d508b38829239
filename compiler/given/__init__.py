"""Judge one file that was optimized elsewhere: what is known of it, and the rules in place of those of a search."""
